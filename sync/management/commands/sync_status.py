"""`manage.py sync_status`: show whether the service is healthy, and why not; exit code 1 when it is unhealthy."""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import ngettext

from gisttracker.management.command_line import GisttrackerCommand
from people.models import Gist
from people.models.freshness import MAX_CLOCK_ERROR, max_age
from sync.api.serializers import StatusSerializer
from sync.clock import database_clock
from sync.health.alarms import report_health
from sync.health.discovery import StreamStatus, describe_discovery
from sync.health.problems import Health, HealthState
from sync.health.status import Status, get_status
from sync.models import SyncRun
from sync.reasons import Group, cut_lines, format_duration, format_time

DURATION = re.compile(r"(?:([0-9]{1,4})d)?(?:([0-9]{1,4})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,8})s)?")
SHOW_KEYS_BEFORE = timedelta(days=14)  # that end until then
EX_UNHEALTHY = 1


def duration(text: str) -> timedelta:
    """Parse a duration such as 6h30m, 45m or 2d. A type for argparse."""
    match = DURATION.fullmatch(text.strip().lower())
    if not match or not any(match.groups()):
        raise argparse.ArgumentTypeError("must be a duration such as 6h30m, 45m or 2d")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


class Command(GisttrackerCommand):
    help = (
        "Show whether the service is healthy, and why not: people were not polled, or gists not pushed, for longer "
        "than --max-age, a token or setting was refused, or GITHUB_TOKEN ends within two days. It can be a probe. "
        "Single people in trouble, and what ends later, are listed, and do not make it unhealthy."
    )
    reads = ("GITHUB_STREAM", "SYNC_INTERVAL_MINUTES", "NOTIFY_URL", "ENVIRONMENT_NAME")
    exit_codes = {0: "healthy, or only with what can wait", EX_UNHEALTHY: "unhealthy"}
    examples = ("", "--max-age 2h", "--json", "--notify")
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        default = format_duration(max_age())
        parser.add_argument(
            "--max-age",
            type=duration,
            metavar="DURATION",
            help=f"greatest age of a poll, and of a gist that waits for its activity (default {default}: "
            "two intervals of SYNC_INTERVAL_MINUTES, and half an hour)",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument(
            "--notify", action="store_true", help="also send what has changed to NOTIFY_URL, as each run does"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        clock = database_clock()
        status = get_status(clock, age=options["max_age"])
        is_healthy = status.health.state != HealthState.UNHEALTHY
        if options["json"]:
            self.stdout.write(json.dumps({"healthy": is_healthy, **StatusSerializer(status).data}))
        else:
            self.stdout.write("\n".join(format_status(status)))
        if options["notify"]:
            report_health(clock)
        if not is_healthy:
            sys.exit(EX_UNHEALTHY)


def format_status(status: Status) -> list[str]:
    """Return the status as lines of text, what is wrong first."""
    return [
        f"health: {status.health.state}",
        *_format_problems(status.health),
        *_format_run(status.last_run),
        _format_success(status),
        _format_next_run(status),
        f"people: {_format_counts(status.counts.people)}",
        f"gists: {_format_counts(status.counts.gists)}",
        _format_backlog(status),
        *_format_stream(status.counts.stream),
        *(_format_limits(status) if status.last_run else []),
        *_format_field(status.github_field_problem),
        *_format_ends(status),
        *_format_trouble("in trouble", status.counts.trouble, status.counts.in_trouble),
        *_format_trouble("rejected", status.counts.rejections, status.counts.gists[Gist.PushState.REJECTED]),
    ]


def _format_problems(health: Health) -> list[str]:
    lines = []
    for problem in health.problems:
        since = f" (since {format_time(problem.since)})" if problem.since else ""
        lines += [f"{problem.severity}: {problem.code}{since}: {problem.summary}", *_format_groups(problem.groups)]
        lines += [f"  {problem.action}"] if problem.action else []
    return lines


def _format_run(run: SyncRun | None) -> list[str]:
    if run is None:
        return ["last run: none yet"]
    end = f", finished {run.finished_at:%H:%M}" if run.finished_at else ""
    line = f"last run: {run.pk} ({run.trigger}) {run.outcome}, started {run.started_at:%Y-%m-%d %H:%M}{end} UTC"
    return [line, *_format_groups(run.groups)]


def _format_success(status: Status) -> str:
    age = status.time_since_success
    if age is None:
        return "last successful run: none yet"
    if age < -MAX_CLOCK_ERROR:
        return "last successful run: in the future - check the clock of the database server"
    return f"last successful run: {format_duration(age)} ago"


def _format_next_run(status: Status) -> str:
    is_late = " (overdue)" if status.next_run_at < status.now else ""
    at = f"{format_time(status.next_run_at)}{is_late}"
    if status.last_run is None:
        return f"next run: the first, expected before {at}; to start it now: manage.py sync_gists"
    return f"next run: expected at {at}"


def _format_counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "none"


def _format_backlog(status: Status) -> str:
    oldest = status.counts.oldest_backlog_at
    since = f", the oldest stored {oldest:%Y-%m-%d %H:%M} UTC" if oldest else ""
    return "backlog: " + ngettext("%d gist", "%d gists", status.backlog) % status.backlog + since


def _format_limits(status: Status) -> list[str]:
    github, tokens = status.limits.github, status.limits.pipedrive.daily_tokens
    budgets = {
        "github": f"remaining budget {'unknown' if github.remaining is None else f'{github.remaining:.0f}'}",
        "pipedrive": tokens.describe(status.now) if tokens else "tokens of today unknown",
    }
    return [
        f"{api}: {budgets[api]}{f'; stopped: {limit.stopped}' if limit.stopped else ''}"
        for api, limit in status.limits.by_api().items()
    ]


def _format_stream(stream: StreamStatus) -> list[str]:
    if not stream.is_on:
        return ["stream: off (GITHUB_STREAM=false); new gists are found by polls"]
    read = f"read {format_time(stream.read_at)}" if stream.read_at else "not read yet"
    gap = f"; since {format_time(stream.problem_since)}: {stream.problem}" if stream.problem_since else ""
    return [f"stream: {read}, {describe_discovery(stream)}{gap}"]


def _format_field(problem: str) -> list[str]:
    if not problem:
        return []
    return [f"pipedrive: people are found by e-mail and name only, without the field for the GitHub id: {problem}"]


def _format_ends(status: Status) -> list[str]:
    token_end = status.github_token_expires_at
    ends = [(key, key.expiry_date) for key in status.expiring_keys if key.expiry_date]
    lines = [
        f"API key of {key.consumer.name} ({key.prefix}): ends {format_time(end)}; see rotate_api_key --expires"
        for key, end in ends
        if end < status.now + SHOW_KEYS_BEFORE
    ]
    return [f"GITHUB_TOKEN: ends {format_time(token_end)}", *lines] if token_end else lines


def _format_trouble(title: str, groups: Sequence[Group], count: int) -> list[str]:
    return [f"{title}: {count}", *_format_groups(groups)] if groups else []


def _format_groups(groups: Sequence[Group]) -> list[str]:
    return [f"  {line}" for line in cut_lines(list(map(str, groups)))]
