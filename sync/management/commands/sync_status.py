"""`manage.py sync_status`: show the state of the sync; exit code 1 when no run succeeded for too long."""

import argparse
import json
import re
import sys
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import ngettext

from gisttracker.commands import GisttrackerCommand
from people.models import Gist
from sync.api.serializers import StatusSerializer
from sync.claims import MAX_CLOCK_ERROR, database_clock
from sync.models import SyncRun
from sync.status import ApiLimit, Status, get_status

DURATION = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,4})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?")
DEFAULT_MAX_AGE = timedelta(hours=6, minutes=30)  # two intervals of the schedule, and time for the run itself
MAX_PROBLEMS = 10
EX_UNHEALTHY = 1


def duration(text: str) -> timedelta:
    """Parse a duration such as 6h30m, 45m or 2d. A type for argparse."""
    match = DURATION.fullmatch(text.strip().lower())
    if not match or not any(match.groups()):
        raise argparse.ArgumentTypeError("must be a duration such as 6h30m, 45m or 2d")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


class Command(GisttrackerCommand):
    help = "Show the state of the sync. It can be a probe: its exit code is that of the freshness."
    reads = ("SYNC_INTERVAL_MINUTES",)
    exit_codes = {0: "healthy", EX_UNHEALTHY: "the last successful run is older than --max-age"}
    examples = ("", "--max-age 2h", "--json")
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--max-age",
            type=duration,
            default=DEFAULT_MAX_AGE,
            metavar="DURATION",
            help="maximum age of the last successful run (default 6h30m: two missed runs)",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        status, max_age = get_status(database_clock()), options["max_age"]
        age = status.time_since_success
        is_healthy = age is not None and -MAX_CLOCK_ERROR <= age <= max_age
        if options["json"]:
            self.stdout.write(json.dumps({"healthy": is_healthy, **StatusSerializer(status).data}))
        else:
            self.stdout.write("\n".join(format_status(status, max_age)))
        if not is_healthy:
            sys.exit(EX_UNHEALTHY)


def format_status(status: Status, max_age: timedelta) -> list[str]:
    """Return the status as lines of text."""
    return [
        *_format_run(status.last_run),
        _format_age(status.time_since_success, max_age),
        f"people: {_format_counts(status.counts.people)}",
        f"gists: {_format_counts(status.counts.gists)}",
        _format_backlog(status),
        *[_format_limit(api, limit) for api, limit in status.limits.by_api().items() if status.last_run],
        *_format_field(status.github_field_problem),
        *_format_in_trouble(status),
        *_format_rejected(status),
    ]


def _format_run(run: SyncRun | None) -> list[str]:
    if run is None:
        return ["last run: none yet"]
    end = f", finished {run.finished_at:%H:%M}" if run.finished_at else ""
    line = f"last run: {run.pk} ({run.trigger}) {run.outcome}, started {run.started_at:%Y-%m-%d %H:%M}{end} UTC"
    return [line, *(f"  {problem}" for problem in run.errors.splitlines()[:MAX_PROBLEMS])]


def _format_age(age: timedelta | None, max_age: timedelta) -> str:
    if age is None:
        return "last successful run: none yet"
    if age < -MAX_CLOCK_ERROR:
        return "last successful run: in the future - check the clock of the database server"
    suffix = f" - older than the maximum of {_format_duration(max_age)}" if age > max_age else ""
    return f"last successful run: {_format_duration(age)} ago{suffix}"


def _format_duration(time: timedelta) -> str:
    minutes = int(time.total_seconds() // 60)
    return f"{minutes // 60}h{minutes % 60:02}m"


def _format_counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "none"


def _format_backlog(status: Status) -> str:
    oldest = status.counts.oldest_backlog_at
    since = f", the oldest stored {oldest:%Y-%m-%d %H:%M} UTC" if oldest else ""
    return "backlog: " + ngettext("%d gist", "%d gists", status.backlog) % status.backlog + since


def _format_limit(api: str, limit: ApiLimit) -> str:
    remaining = "unknown" if limit.remaining is None else f"{limit.remaining:.0f}"
    stopped = f"; stopped: {limit.stopped}" if limit.stopped else ""
    return f"{api}: remaining budget {remaining}{stopped}"


def _format_field(problem: str) -> list[str]:
    if not problem:
        return []
    return [f"pipedrive: people are found by e-mail and name only, without the field for the GitHub id: {problem}"]


def _format_in_trouble(status: Status) -> list[str]:
    lines = [
        f"in trouble: {person}: {person.last_error or person.push_error}" for person in status.counts.people_in_trouble
    ]
    more = status.counts.in_trouble - len(status.counts.people_in_trouble)
    return [*lines, f"in trouble: {more} more"] if more > 0 else lines


def _format_rejected(status: Status) -> list[str]:
    lines = [
        f"rejected: @{gist.person.github_username}, gist {gist.github_id}: {gist.push_error}"
        for gist in status.rejected
    ]
    more = status.counts.gists[Gist.PushState.REJECTED] - len(status.rejected)
    return [*lines, f"rejected: {more} more"] if more > 0 else lines
