"""The attempts to push a gist, in words, on the pages of people and gists.

people/ does not know sync/, so its admin classes leave `get_attempts` to these subclasses, registered instead.
"""

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from people.admin.gists import GistAdmin
from people.admin.markup import badge, time_in_words
from people.admin.people import PersonAdmin
from people.models import Gist, Person
from sync.models import PushAttempt

MAX_SHOWN = 500  # attempts on a page, the newest
Outcome = PushAttempt.Outcome
LEVELS = {
    Outcome.SUCCEEDED: "ok",
    Outcome.FOUND: "ok",
    Outcome.REFUSED: "error",
    Outcome.UNKNOWN: "warning",
    Outcome.NOT_SENT: "quiet",
}


def get_attempts(gists: list[Gist]) -> dict[int, list[SafeString]]:
    """The attempts by the gist's key, newest first. One query."""
    found: dict[int, list[SafeString]] = {}
    for attempt in PushAttempt.objects.filter(gist__in=gists).order_by("-id")[:MAX_SHOWN]:
        found.setdefault(attempt.gist_id, []).append(_describe(attempt))
    return found


def _describe(attempt: PushAttempt) -> SafeString:
    run = SafeString("")
    if attempt.run_id is not None:
        url = reverse("admin:sync_syncrun_change", args=[attempt.run_id])
        run = format_html(', <a href="{}">run {}</a>', url, attempt.run_id)
    return format_html(
        "{}: {} {}{} in {} s{} {}",
        time_in_words(attempt.attempted_at),
        attempt.kind,
        badge(attempt.outcome.replace("_", " "), LEVELS[Outcome(attempt.outcome)]),
        f" (HTTP {attempt.status})" if attempt.status else "",
        f"{attempt.duration:.1f}",
        run,
        attempt.message,
    )


@admin.register(Person)
class PersonWithAttemptsAdmin(PersonAdmin):
    def get_attempts(self, gists: list[Gist]) -> dict[int, list[SafeString]]:
        return get_attempts(gists)


@admin.register(Gist)
class GistWithAttemptsAdmin(GistAdmin):
    def get_attempts(self, gists: list[Gist]) -> dict[int, list[SafeString]]:
        return get_attempts(gists)
