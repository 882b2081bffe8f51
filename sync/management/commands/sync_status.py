"""`manage.py sync_status`: how the sync is doing; exit code 1 when it has not been well for too long."""

import argparse
import json
import re
import sys
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from people.models import Gist
from sync.claims import database_clock
from sync.models import SyncRun
from sync.status import Status, status

DURATION = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,4})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?")


def duration(text: str) -> timedelta:
    """An argparse type: 6h30m, 45m, 2d."""
    found = DURATION.fullmatch(text.strip().lower())
    if not found or not any(found.groups()):
        raise argparse.ArgumentTypeError("must be a time such as 6h30m, 45m or 2d")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


class Command(BaseCommand):
    help = "Say how the sync is doing. Exit code 1 when the last good run is older than --max-age."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--max-age",
            type=duration,
            default=timedelta(hours=6, minutes=30),
            metavar="TIME",
            help="how old the last good run may be (default 6h30m: two runs missed)",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        now = status(database_clock())
        healthy = now.age is not None and now.age <= options["max_age"]
        if options["json"]:
            self.stdout.write(json.dumps({"healthy": healthy, **now.as_json()}))
        else:
            for line in told(now, options["max_age"]):
                self.stdout.write(line)
        if not healthy:
            sys.exit(1)


def told(now: Status, max_age: timedelta) -> list[str]:
    """The status in lines for a person."""
    lines = [_last_run(now.last_run), _age(now.age, max_age)]
    lines.append("people: " + _numbers(now.counted.people))
    lines.append("gists: " + _numbers(now.counted.gists))
    since = (
        f", the oldest first seen {now.counted.oldest_backlog_at:%Y-%m-%d %H:%M} UTC"
        if now.counted.oldest_backlog_at
        else ""
    )
    lines.append(f"backlog: {now.backlog} activities to be made or looked for{since}")
    for api, limits in (now.last_run.limits if now.last_run else {}).items():
        left = "unknown" if limits.get("remaining") is None else f"{limits['remaining']:.0f}"
        lines.append(
            f"{api}: {left} requests left at the last answer" + (f"; {limits['ended']}" if limits["ended"] else "")
        )
    lines += [
        f"rejected: @{gist.person.github_username}, gist {gist.github_id}: {gist.push_error}" for gist in now.rejected
    ]
    if now.counted.gists[Gist.PushState.REJECTED] > len(now.rejected):
        lines.append(f"rejected: and {now.counted.gists[Gist.PushState.REJECTED] - len(now.rejected)} more")
    return lines


def _last_run(run: SyncRun | None) -> str:
    if run is None:
        return "last run: none yet"
    end = f", ended {run.finished_at:%H:%M}" if run.finished_at else ""
    problems = "".join(f"\n  {line}" for line in run.errors.splitlines()[:10])
    return f"last run: {run.pk} ({run.trigger}) {run.outcome}, began {run.started_at:%Y-%m-%d %H:%M}{end} UTC{problems}"


def _age(age: timedelta | None, max_age: timedelta) -> str:
    if age is None:
        return "last good run: none yet"
    late = f" - too long: {_short(max_age)} is allowed" if age > max_age else ""
    return f"last good run: {_short(age)} ago{late}"


def _short(time: timedelta) -> str:
    minutes = int(time.total_seconds() // 60)
    return f"{minutes // 60}h{minutes % 60:02}m"


def _numbers(counted: dict[str, int]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in counted.items() if number) or "none"
