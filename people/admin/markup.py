"""What the pages of the admin share: badges, links, and times in words. Everything is escaped."""

from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.timesince import timesince, timeuntil

MAX_REASON_LENGTH = 90  # characters of a reason in a list; the page of the row shows all of it


def badge(text: str, level: str) -> SafeString:
    """`level`: ok, warning, error or quiet. The text has the same meaning as the colour."""
    return format_html('<span class="badge badge-{}">{}</span>', level, text)


def external_link(url: str, text: str) -> SafeString:
    return format_html('<a href="{}" rel="noopener noreferrer" target="_blank">{}</a>', url, text)


def is_web_url(url: str) -> bool:
    """Only such a URL may become a link: others can hold a script."""
    return url.startswith(("https://", "http://"))


def shorten(text: str, length: int = MAX_REASON_LENGTH) -> str:
    return str(Truncator(text).chars(length))


def with_reason(state: SafeString, reason: str) -> SafeString:
    """A badge, and below it the reason in a few words."""
    if not reason:
        return state
    return format_html('{} <span class="reason" title="{}">{}</span>', state, reason, shorten(reason))


def in_words(moment: datetime) -> str:
    """ "3 hours ago" or "in 3 hours"."""
    now = timezone.now()
    if moment > now:
        return f"in {timeuntil(moment, now, depth=1)}"
    return f"{timesince(moment, now, depth=1)} ago" if now - moment >= timedelta(minutes=1) else "just now"


def time_in_words(moment: datetime | None, level: str = "") -> SafeString:
    """A time in words, with the exact time as its title; `level` colours it as a badge."""
    if moment is None:
        return badge("never", level) if level else SafeString("never")
    exact = f"{moment:%Y-%m-%d %H:%M:%S} UTC"
    css = f"badge badge-{level}" if level else ""
    return format_html(
        '<time datetime="{}" title="{}" class="{}">{}</time>', moment.isoformat(), exact, css, in_words(moment)
    )


def duration_in_words(duration: timedelta) -> str:
    """ "2 h 5 min", "5 min 12 s" or "0.4 s": the two largest units."""
    seconds = max(duration.total_seconds(), 0.0)
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next(index for index, (number, _) in enumerate(parts) if number)
    return " ".join(f"{number} {unit}" for number, unit in parts[first : first + 2] if number)
