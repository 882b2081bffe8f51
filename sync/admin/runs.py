"""The runs, read-only, in words."""

import re

from django.contrib import admin
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from people.admin.base import Facts, FactsAdmin
from people.admin.markup import badge, duration_in_words, shorten, time_in_words
from sync.models import SyncRun
from sync.reasons import reason_key, without_login
from sync.status import ApiLimit, RunLimits
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
# As sync.summary.Summary.problem writes lines: "@ada, gist 5f: reason", "@ada: reason", "gist 5f: reason" or "reason".
PROBLEM = re.compile(r"(?:(?P<subject>@\S+?(?:[,:] gist \S+)?|gist \S+): )?(?P<reason>.*)", re.DOTALL)
MAX_SUBJECTS = 3  # people and gists that are named for each reason


@admin.register(SyncRun)
class SyncRunAdmin(FactsAdmin):
    list_display = ["number", "outcome_badge", "trigger", "started", "duration", "counts_in_words", "problems"]
    list_filter = ["outcome", "trigger"]

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
        text = summarize_problems(run.errors)
        return format_html('<span class="reason">{}</span>', text) if text else SafeString("")

    def get_facts(self, run: SyncRun) -> Facts:
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
            ("Problems", list_problems(run.errors)),
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
    """ "3 requests sent; 4,997 remaining; stopped: ...; possible again at 14:20 UTC"."""
    parts = [f"{limit.requests:,} request{'' if limit.requests == 1 else 's'} sent"]
    parts += [f"{limit.remaining:,.0f} remaining"] if limit.remaining is not None else []
    parts += [f"stopped: {limit.stopped}"] if limit.stopped else []
    parts += [f"requests are possible again at {limit.resets_at:%Y-%m-%d %H:%M} UTC"] if limit.resets_at else []
    return "; ".join(parts)


def group_problems(errors: str) -> list[tuple[int, str, list[str]]]:
    """The reasons with the number of their lines, the most frequent first, and the people and gists they are about."""
    groups: dict[tuple[str, str], tuple[str, list[str]]] = {}
    for line in errors.splitlines():
        found = PROBLEM.fullmatch(line)
        subject, reason = (found["subject"] or "", found["reason"]) if found else ("", line)
        if subject.startswith("@"):
            reason = without_login(reason, re.split("[,:]", subject.removeprefix("@"))[0])
        groups.setdefault(reason_key(reason), (reason, []))[1].append(subject)
    rows = [
        (len(subjects), reason, [subject for subject in subjects if subject]) for reason, subjects in groups.values()
    ]
    return sorted(rows, key=lambda row: -row[0])


def summarize_problems(errors: str) -> str:
    """The most frequent reason, and how many others there are. Empty without problems."""
    groups = group_problems(errors)
    if not groups:
        return ""
    more = f" (and {len(groups) - 1} other reasons)" if len(groups) > 2 else " (and 1 other reason)"
    return shorten(_describe_group(groups[0][0], groups[0][1])) + (more if len(groups) > 1 else "")


def list_problems(errors: str) -> SafeString:
    groups = group_problems(errors)
    if not groups:
        return format_html("{}", "none")
    rows = [(_describe_group(count, reason), _name_subjects(subjects)) for count, reason, subjects in groups]
    return format_html("<ul>{}</ul>", format_html_join("", "<li>{}{}</li>", rows))


def _describe_group(count: int, reason: str) -> str:
    return f"{count} × {reason}" if count > 1 else reason


def _name_subjects(subjects: list[str]) -> str:
    if not subjects:
        return ""
    more = len(subjects) - MAX_SUBJECTS
    return f" ({'; '.join(subjects[:MAX_SUBJECTS])}{f' and {more} more' if more > 0 else ''})"
