"""The panel on the index page of the admin: is the service healthy, and if not, why, since when, and which people?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django import template
from django.core.cache import cache
from django.urls import reverse
from django.utils.html import format_html

from people.admin.markup import badge, duration_in_words, time_in_words
from people.models import Gist, Person
from people.models.freshness import max_age
from sync.admin.charts import chart_gists, chart_runs
from sync.admin.runs import LEVELS, describe_counts, describe_limit, link_people, summarize_problems
from sync.clock import database_clock
from sync.health.discovery import StreamStatus, describe_discovery
from sync.health.problems import HealthProblem, HealthState
from sync.health.status import Status, get_status
from sync.models import Alarm, SyncRun
from sync.reasons import Group

register = template.Library()
RUNS_CACHE_SECONDS, GISTS_CACHE_SECONDS = 30, 600  # The days of many gists take a second to count.
MAX_GROUPS = 5  # reasons shown for each problem
STATE_LEVELS = {HealthState.HEALTHY: "ok", HealthState.DEGRADED: "warning", HealthState.UNHEALTHY: "error"}
PEOPLE_LEVELS = {Person.State.GONE: "warning", Person.State.CONFLICT: "warning", Person.State.PAUSED: "quiet"}


@dataclass(frozen=True)
class Fact:
    """A row of the panel. `badge`, `time` and the texts of `links` are safe HTML."""

    heading: str
    text: str = ""
    url: str = ""
    badge: str = ""
    time: str = ""
    note: str = ""
    links: Sequence[tuple[str, str]] = ()


@register.inclusion_tag("admin/sync/panel.html", takes_context=True)
def operations_panel(context: dict[str, Any]) -> dict[str, Any]:
    """Empty for users who may not see people and runs."""
    user = context["request"].user
    if not user.has_perms(["people.view_person", "sync.view_syncrun"]):
        return {}
    status = get_status(database_clock(), use_cache=True)
    return {
        "state": badge(status.health.state, STATE_LEVELS[status.health.state]),
        "headline": get_headline(status),
        "problems": [describe_problem(problem) for problem in status.health.problems],
        "facts": get_facts(status),
        "charts": [
            cache.get_or_set("sync.charts.runs", chart_runs, RUNS_CACHE_SECONDS),
            cache.get_or_set("sync.charts.gists", lambda: chart_gists(status.now), GISTS_CACHE_SECONDS),
        ],
    }


def get_headline(status: Status) -> str:
    if status.health.problems:
        pages = sum(problem.severity == Alarm.Severity.PAGE for problem in status.health.problems)
        count = len(status.health.problems)
        problems = "1 problem" if count == 1 else f"{count} problems"
        return f"{problems}: act now." if pages else f"{problems}, not urgent."
    if status.last_run is None:
        return "No run has begun yet. The scheduler starts the first one, or: manage.py sync_gists"
    return "No person waits too long for a poll, and no gist for its activity."


def describe_problem(problem: HealthProblem) -> dict[str, Any]:
    level = "error" if problem.severity == Alarm.Severity.PAGE else "warning"
    return {
        "level": level,
        "badge": badge(problem.code.replace("_", " "), level),
        "since": time_in_words(problem.since) if problem.since else "",
        "summary": problem.summary,
        "action": problem.action,
        "groups": [describe_group(group) for group in problem.groups[:MAX_GROUPS]],
        "more": max(len(problem.groups) - MAX_GROUPS, 0),
    }


def describe_group(group: Group) -> dict[str, Any]:
    """The reason in words, and links to the people."""
    return {
        "gists": group.gists,
        "people": group.people,
        "reason": group.reason,
        "since": time_in_words(group.first) if group.first else "",
        "last": time_in_words(group.last) if group.last else "",
        "links": link_people(group),
    }


def get_facts(status: Status) -> list[Fact]:
    late = badge("overdue", "warning") if status.next_run_at < status.now else ""
    oldest = status.counts.oldest_poll_at
    is_stale = oldest is not None and status.now - oldest > max_age()
    token_end = status.github_token_expires_at
    return [
        describe_run("Last successful run", status.last_successful_run),
        describe_run("Last run", status.last_run),
        Fact(
            "Next run",
            time=time_in_words(status.next_run_at),
            badge=late,
            note="" if status.last_run else "the first one, at the latest",
        ),
        _describe_backlog(status),
        _describe_people(status),
        Fact("Oldest poll", time=time_in_words(oldest, "error" if is_stale else "")),
        _describe_stream(status.counts.stream),
        Fact("GitHub", describe_limit(status.limits.github)),
        Fact("Pipedrive", describe_limit(status.limits.pipedrive)),
        *([Fact("GITHUB_TOKEN", "ends", time=time_in_words(token_end))] if token_end else []),
    ]


def describe_run(heading: str, run: SyncRun | None) -> Fact:
    if run is None:
        return Fact(heading, "none yet")
    end = run.finished_at or run.heartbeat_at
    cause = summarize_problems(run) if run.outcome != SyncRun.Outcome.SUCCEEDED else ""
    note = f"{duration_in_words(end - run.started_at)}, {describe_counts(run)}"
    return Fact(
        heading,
        f"run {run.pk}",
        url=reverse("admin:sync_syncrun_change", args=[run.pk]),
        badge=badge(run.outcome.replace("_", " "), LEVELS[SyncRun.Outcome(run.outcome)]),
        time=time_in_words(run.started_at),
        note=f"{note}: {cause}" if cause else note,
    )


def _describe_backlog(status: Status) -> Fact:
    rejected = status.counts.gists[Gist.PushState.REJECTED]
    oldest = status.counts.oldest_backlog_at
    return Fact(
        "Backlog",
        "1 gist waits" if status.backlog == 1 else f"{status.backlog:,} gists wait",
        url=reverse("admin:people_gist_changelist") + "?push_state__exact=pending",
        time=format_html("the first since {}", time_in_words(oldest)) if oldest else "",
        badge=badge(f"{rejected:,} rejected", "warning") if rejected else "",
    )


def _describe_stream(stream: StreamStatus) -> Fact:
    heading = "GitHub's stream"
    if not stream.is_on:
        return Fact(heading, "off", note="GITHUB_STREAM is false, so new gists are found by polls")
    return Fact(
        heading,
        describe_discovery(stream),
        time=format_html("· stream read {}", time_in_words(stream.read_at)) if stream.read_at else "",
        badge=badge("problem", "warning") if stream.problem else "",
        note=stream.problem or ("" if stream.read_at else "the stream was not read yet"),
    )


def _describe_people(status: Status) -> Fact:
    url = reverse("admin:people_person_changelist")
    states = {state: count for state, count in status.counts.people.items() if count}
    links = [
        (f"{url}?state__exact={state}", badge(f"{count:,} {state}", PEOPLE_LEVELS.get(Person.State(state), "ok")))
        for state, count in states.items()
    ]
    note = f"{status.counts.in_trouble:,} in trouble" if status.counts.in_trouble else ""
    return Fact("People", "" if states else "none yet", links=links, note=note)
