"""The row of a run: opened at its start, closed at its end, or closed by the next run when it crashed."""

import platform
import uuid
from datetime import datetime, timedelta

from django.db.models import Min, QuerySet

from gisttracker import __version__
from sync.claims import Clock
from sync.clients.github import GitHubClient
from sync.clients.pipedrive import PipedriveClient
from sync.context import RunContext
from sync.models import ROUND_TRIGGERS, ActivityDay, SyncRun

Outcome = SyncRun.Outcome
KEEP_FOR = timedelta(days=90)
TOKEN_LENGTH = 28  # characters; a lane adds its name, and a lease holder has room for 36


def open_run(clock: Clock, lease_seconds: int, trigger: str) -> SyncRun:
    """Create a run's row. Runs without a heartbeat for a full lease are marked as crashed.

    Overlapping runs for everyone share one round, so that nobody is polled twice in a round.
    """
    now = clock()
    running = SyncRun.objects.filter(outcome=Outcome.RUNNING)
    running.filter(heartbeat_at__lt=now - timedelta(seconds=lease_seconds)).update(
        outcome=Outcome.CRASHED, finished_at=now
    )
    round_start = None
    if trigger in ROUND_TRIGGERS:
        round_start = running.filter(trigger__in=ROUND_TRIGGERS).aggregate(start=Min("round_started_at"))["start"]
    return SyncRun.objects.create(
        token=uuid.uuid4().hex[:TOKEN_LENGTH],
        started_at=now,
        round_started_at=round_start or now,
        heartbeat_at=now,
        trigger=trigger,
        host=platform.node()[:255],
        version=__version__,
    )


def count_running(now: datetime, lease_seconds: int) -> int:
    """How many runs are alive; at least 1, the one that asks."""
    return max(_alive(now, lease_seconds).count(), 1)


def _alive(now: datetime, lease_seconds: int) -> QuerySet[SyncRun]:
    return SyncRun.objects.filter(outcome=Outcome.RUNNING, heartbeat_at__gte=now - timedelta(seconds=lease_seconds))


def write_heartbeat(run: SyncRun, context: RunContext) -> None:
    """Show that the run is alive and what it has done so far, also for the case that it crashes."""
    SyncRun.objects.filter(pk=run.pk).update(heartbeat_at=context.clock(), counts=context.summary.counts())


def close_run(run: SyncRun, context: RunContext, outcome: Outcome) -> None:
    """Write the run's outcome, counters, limits and problems. Then delete the oldest runs."""
    run.outcome, run.finished_at = outcome, context.clock()
    run.counts = context.summary.counts()
    run.limits = {client.api.name.lower(): _limits(client) for client in (context.github, context.pipedrive)}
    run.errors = "\n".join(line[:300] for line in context.summary.problems)
    run.save()
    oldest = context.clock() - KEEP_FOR
    SyncRun.objects.filter(started_at__lt=oldest).exclude(outcome=Outcome.RUNNING).delete()
    ActivityDay.objects.filter(day__lt=oldest.date()).delete()


def _limits(client: GitHubClient | PipedriveClient) -> dict[str, object]:
    """The last rate limits that an API reported, and why the run stopped calling it."""
    error = client.api.circuit.error
    return {
        "remaining": client.remaining.get("remaining"),
        "reset": client.remaining.get("reset"),
        "requests": client.api.request_count,
        "stopped": str(error) if error else "",
        "resets_at": error.resets_at.isoformat() if error and error.resets_at else None,
    }
