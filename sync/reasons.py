"""What is wrong, in words: problems with the same reason are one line, however many people and gists it is about."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.utils.translation import ngettext

MAX_NAMES = 5  # people named in a line
MAX_LINES = 10  # reasons in a text


@dataclass(frozen=True)
class Group:
    """Problems with the same code and reason (sync.health.groups). `people` and `gists` are how many it is about."""

    code: str  # see Problem.Code
    reason: str
    people: int = 0
    gists: int = 0
    count: int = 1  # how often it was met
    first: datetime | None = None
    last: datetime | None = None
    names: dict[int, str] = field(default_factory=dict)  # the logins of the first of these people, by key

    def __str__(self) -> str:
        """The text, with "(@ada, @ben and 6 more)" at its end."""
        names = [f"@{login}" for login in list(self.names.values())[:MAX_NAMES]]
        more = f" and {self.people - len(names)} more" if self.people > len(names) else ""
        return f"{self.text} ({', '.join(names)}{more})" if names else self.text

    @property
    def text(self) -> str:
        """ "25 gists of 8 people since 2026-11-26 18:08 UTC, last tried 2026-11-26 21:00 UTC: reason" """
        if not self.people:
            return f"{self.count} × {self.reason}" if self.count > 1 else self.reason
        people = ngettext("%d person", "%d people", self.people) % self.people
        gists = f"{ngettext('%d gist', '%d gists', self.gists) % self.gists} of " if self.gists else ""
        since = f" since {format_time(self.first)}" if self.first else ""
        last = f", last tried {format_time(self.last)}" if self.last and self.last != self.first else ""
        return f"{gists}{people}{since}{last}: {self.reason}"


def cut_lines(reasons: list[str]) -> list[str]:
    """The first of these reasons, and how many more there are."""
    more = len(reasons) - MAX_LINES
    end = [ngettext("and %d more reason", "and %d more reasons", more) % more] if more > 0 else []
    return reasons[:MAX_LINES] + end


def format_time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def format_duration(time: timedelta) -> str:
    """ "2 days 3 h", "6 h 30 min", "5 min" """
    minutes = max(round(time.total_seconds() / 60), 0)
    if minutes >= 48 * 60:
        return f"{minutes // 1440} days {minutes % 1440 // 60} h"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
