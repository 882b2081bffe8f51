"""The runs, read-only, in words."""

from collections.abc import Sequence

from django.contrib import admin
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from people.admin.base import Facts, FactsAdmin
from people.admin.markup import badge, duration_in_words, shorten, time_in_words
from sync.health.groups import load_groups
from sync.health.status import ApiLimit, RunLimits
from sync.models import SyncRun
from sync.reasons import Group
from sync.summary import format_counts

Outcome = SyncRun.Outcome
LEVELS = {
    Outcome.RUNNING: "quiet",
    Outcome.SUCCEEDED: "ok",
    Outcome.RATE_LIMITED: "warning",
    Outcome.FAILED: "error",
    Outcome.MISCONFIGURED: "error",
    Outcome.STOPPED: "warning",
    Outcome.CRASHED: "error",
}
API_NAMES = {"github": "GitHub", "pipedrive": "Pipedrive"}


@admin.register(SyncRun)
class SyncRunAdmin(FactsAdmin):
    list_display = ["number", "outcome_badge", "trigger", "started", "duration", "counts_in_words", "problems"]
    list_filter = ["outcome", "trigger"]

    def prepare_rows(self, rows: Sequence[SyncRun]) -> None:
        load_groups(*rows)

    @admin.display(description="run")
    def number(self, run: SyncRun) -> str:
        return f"run {run.pk}"

    @admin.display(description="outcome")
    def outcome_badge(self, run: SyncRun) -> SafeString:
        return badge(run.outcome.replace("_", " "), LEVELS[Outcome(run.outcome)])

    @admin.display(description="started")
    def started(self, run: SyncRun) -> SafeString:
        return time_in_words(run.started_at)

    @admin.display(description="duration")
    def duration(self, run: SyncRun) -> str:
        return get_duration(run)

    @admin.display(description="counts")
    def counts_in_words(self, run: SyncRun) -> str:
        return describe_counts(run)

    @admin.display(description="problems")
    def problems(self, run: SyncRun) -> SafeString:
        text = summarize_problems(run)
        return format_html('<span class="reason">{}</span>', text) if text else SafeString("")

    def get_facts(self, run: SyncRun) -> Facts:
        load_groups(run)
        limits = RunLimits.from_json(run.limits).by_api()
        return [
            ("Outcome", self.outcome_badge(run)),
            ("Trigger", run.trigger),
            ("Started", time_in_words(run.started_at)),
            ("Finished", time_in_words(run.finished_at) if run.finished_at else "not yet"),
            ("Last heartbeat", time_in_words(run.heartbeat_at)),
            ("Duration", get_duration(run)),
            ("Counts", self.counts_in_words(run)),
            *((f"{API_NAMES[api]}'s limit", describe_limit(limit)) for api, limit in limits.items()),
            ("Problems", list_problems(run)),
            ("Process", f"{run.pid or 'unknown'} on {run.host}, gisttracker {run.version or 'unknown'}"),
        ]


def describe_counts(run: SyncRun) -> str:
    """A run that has no counts yet, or has died, may have done something since its last heartbeat."""
    nothing = {
        Outcome.SUCCEEDED: "nothing to do",
        Outcome.RUNNING: "counts follow at its end",
        Outcome.CRASHED: "counts are unknown",
    }
    return format_counts(run.counts) or nothing.get(Outcome(run.outcome), "nothing was done")


def get_duration(run: SyncRun) -> str:
    """Of a run that has not ended: until now, if it is running."""
    if run.finished_at is None and run.outcome != Outcome.RUNNING:
        return "unknown"
    end = run.finished_at or timezone.now()
    return duration_in_words(end - run.started_at) + ("" if run.finished_at else " so far")


def describe_limit(limit: ApiLimit) -> str:
    """ "3 requests sent; 4,997 remaining; stopped: ...; possible again at 14:20 UTC"; or tokens instead of 4,997."""
    parts = [f"{limit.requests:,} request{'' if limit.requests == 1 else 's'} sent"]
    parts += [f"{limit.remaining:,.0f} remaining"] if limit.remaining is not None else []
    parts += [limit.daily_tokens.describe(timezone.now())] if limit.daily_tokens else []
    parts += [f"stopped: {limit.stopped}"] if limit.stopped else []
    parts += [f"requests are possible again at {limit.resets_at:%Y-%m-%d %H:%M} UTC"] if limit.resets_at else []
    return "; ".join(parts)


def summarize_problems(run: SyncRun) -> str:
    """The most frequent reason, and how many others there are. Empty without problems."""
    if not run.groups:
        return ""
    more = len(run.groups) - 1
    others = f" (and {more} other reasons)" if more > 1 else " (and 1 other reason)"
    return shorten(run.groups[0].text) + (others if more else "")


def list_problems(run: SyncRun) -> SafeString:
    if not run.groups:
        return format_html("{}", "none")
    rows = [(group.text, link_people(group)) for group in run.groups]
    return format_html("<ul>{}</ul>", format_html_join("", "<li>{}{}</li>", rows))


def link_people(group: Group) -> SafeString:
    """ " (@ada, @ben and 6 more)", with links; empty if no person is concerned."""
    if not group.names:
        return SafeString("")
    links = [(reverse("admin:people_person_change", args=[key]), login) for key, login in group.names.items()]
    more = group.people - len(links)
    end = f" and {more} more" if more else ""
    return format_html(" ({}{})", format_html_join(", ", '<a href="{}">@{}</a>', links), end)
