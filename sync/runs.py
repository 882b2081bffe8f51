"""The row of a run: opened at its start, closed at its end, or by the next run when it was killed."""

import platform
import uuid
from datetime import timedelta

from django.db.models import Min

from gisttracker import __version__
from sync.claims import Clock
from sync.models import ROUND_TRIGGERS, ActivityDay, SyncRun

Outcome = SyncRun.Outcome
KEPT = timedelta(days=90)


def open_record(clock: Clock, lease_seconds: int, trigger: str) -> SyncRun:
    """A new run's row. Runs whose heart stopped for a whole lease are closed as killed.

    Runs for everybody that overlap share one round, so that none of them polls whom another of them has polled.
    """
    now = clock()
    alive_since = now - timedelta(seconds=lease_seconds)
    running = SyncRun.objects.filter(outcome=Outcome.RUNNING)
    running.filter(heartbeat_at__lt=alive_since).update(outcome=Outcome.CRASHED, finished_at=now)
    shared = None
    if trigger in ROUND_TRIGGERS:
        shared = running.filter(trigger__in=ROUND_TRIGGERS).aggregate(start=Min("round_started_at"))["start"]
    return SyncRun.objects.create(
        token=str(uuid.uuid4()),
        started_at=now,
        round_started_at=shared or now,
        heartbeat_at=now,
        trigger=trigger,
        host=platform.node()[:255],
        version=__version__,
    )


def running(clock: Clock, lease_seconds: int) -> int:
    """How many runs there are now."""
    alive_since = clock() - timedelta(seconds=lease_seconds)
    return SyncRun.objects.filter(outcome=Outcome.RUNNING, heartbeat_at__gte=alive_since).count()


def close_record(record: SyncRun, clock: Clock, outcome: Outcome, problems: list[str]) -> None:
    """Write how the run ended; `counts` and `limits` are taken from the record. Then forget the oldest runs."""
    record.outcome, record.finished_at = outcome, clock()
    record.errors = "\n".join(line[:300] for line in problems)
    record.save()
    SyncRun.objects.filter(started_at__lt=clock() - KEPT).exclude(outcome=Outcome.RUNNING).delete()
    ActivityDay.objects.filter(day__lt=(clock() - KEPT).date()).delete()
