"""The row of a run: opened when it has the lease, closed at its end, or by the next run when it crashed."""

import os
import platform
from collections import Counter
from datetime import datetime, timedelta

from django.db import transaction

from gisttracker import __version__
from gisttracker.common.database import lock_free, retried
from people.models import Gist, Person
from people.models.freshness import MAX_CLOCK_ERROR, max_age
from sync.clients.errors import LeaseLostError
from sync.clock import Clock
from sync.context import RunContext
from sync.models import COULD_NOT_BEGIN, ROUND_TRIGGERS, Alarm, Hint, Problem, RunLease, StreamGap, SyncRun
from sync.push.attempts import delete_old_attempts
from sync.push.pauses import store_pause
from sync.run.api_state import describe_limits, store_api_states, store_trouble
from sync.run.lease import ROW, Lease

Outcome = SyncRun.Outcome
KEEP_FOR = timedelta(days=90)


@retried
def open_run(lease: Lease, clock: Clock, trigger: str) -> SyncRun:
    """Take the lease, and create the run's row. LeaseTakenError if another process has it.

    A run for requested people continues the pushes of an interrupted one.
    """
    now = clock()
    with transaction.atomic():
        lease.take()
        interrupted = find_interrupted() if trigger == "requested" else None
        run = SyncRun.objects.create(
            started_at=now,
            heartbeat_at=now,
            trigger=trigger,
            host=platform.node()[:255],
            pid=os.getpid(),
            version=__version__,
        )
        RunLease.objects.filter(pk=ROW).update(run_id=run.pk)
    run.continues_from = interrupted.started_at if interrupted else now
    return run


@retried
def find_interrupted() -> SyncRun | None:
    """The last run that ended, if a signal or one of its limits has stopped it; if it has continued one, that one.

    No other run pushes, before the next one for all, what it has polled. The last run only, so that an outage or
    a limit, which ends the run that continues, is not met again every few minutes.
    """
    ended = SyncRun.objects.exclude(outcome=Outcome.RUNNING).exclude(COULD_NOT_BEGIN).order_by("-id")
    last = ended.first()
    if last is None or last.outcome != Outcome.STOPPED:
        return None
    while last.trigger == "requested":
        before = ended.filter(pk__lt=last.pk).first()
        if before is None or before.outcome != Outcome.STOPPED:
            break
        last = before
    return last


@retried
def find_last_round() -> SyncRun | None:
    """The last run for all people."""
    return SyncRun.objects.filter(trigger__in=ROUND_TRIGGERS).order_by("-id").first()


def is_healthy(last: SyncRun | None, now: datetime) -> bool:
    """Has this run ended, and not begun long ago? Else its trouble is reported before the next one."""
    ended = (Outcome.SUCCEEDED, Outcome.RATE_LIMITED, Outcome.FAILED, Outcome.STOPPED)
    return last is not None and last.outcome in ended and now - max_age() <= last.started_at <= now + MAX_CLOCK_ERROR


@retried
def record_refused_start(clock: Clock, trigger: str, message: str) -> None:
    """Create the row of a run that cannot begin because of a setting. It needs no lease: nothing else is written."""
    now = clock()
    run = SyncRun.objects.create(
        started_at=now,
        heartbeat_at=now,
        finished_at=now,
        outcome=Outcome.MISCONFIGURED,
        trigger=trigger,
        host=platform.node()[:255],
        version=__version__,
    )
    Problem.objects.create(run=run, code=Problem.Code.RUN, reason=message[:500])


@retried
def write_heartbeat(run: SyncRun, context: RunContext) -> None:
    """Renew the lease, and show what the run has done and met so far, also for the case that it crashes."""
    with context.writing():
        store_pause(context.pipedrive, context.clock)
        store_trouble(run, context)
        written = _store_problems(run, context)
        SyncRun.objects.filter(pk=run.pk).update(heartbeat_at=context.clock(), counts=context.summary.counts())
    context.summary.drop_problems(written)


@retried
def close_run(run: SyncRun, context: RunContext, lease: Lease, outcome: Outcome, *, cleans_up: bool) -> None:
    """Write the run's outcome, counters, limits and problems, and free the lease. `cleans_up`: delete what is old."""
    run.outcome, run.finished_at = outcome, context.clock()
    run.heartbeat_at, run.counts = run.finished_at, context.summary.counts()
    run.limits = {client.api.name.lower(): describe_limits(client) for client in (context.github, context.pipedrive)}
    try:
        with lease.ending():
            written = _store_problems(run, context)
            run.save()
            store_pause(context.pipedrive, context.clock)
            store_api_states(run, context)
            if cleans_up:
                _delete_old(context.clock() - KEEP_FOR)
    except LeaseLostError:
        # A commit whose response was lost is repeated: then the row is closed and the lease is free.
        if not SyncRun.objects.filter(pk=run.pk, outcome=outcome).exists():
            raise
        return
    context.summary.drop_problems(written)


def _delete_old(before: datetime) -> None:
    SyncRun.objects.filter(started_at__lt=before).exclude(outcome=Outcome.RUNNING).delete()
    Alarm.objects.filter(resolved_at__lt=before).delete()
    Hint.objects.filter(hinted_at__lt=before).delete()
    StreamGap.objects.filter(until__lt=before).delete()
    delete_old_attempts(before)


def _store_problems(run: SyncRun, context: RunContext) -> "Counter[tuple[Problem.Code, int | None, int | None, str]]":
    """Write the problems that were met since the last time. Returns those that were written.

    What is about a row that is locked at the moment is left to the next time, and what is about a deleted row is lost.
    """
    met = context.summary.unwritten_problems()
    if not met:
        return met
    people = {None, *lock_free(Person.objects.filter(pk__in={person for _, person, _, _ in met if person}))}
    gists = {None, *lock_free(Gist.objects.filter(pk__in={gist for _, _, gist, _ in met if gist}))}
    written = Counter({key: count for key, count in met.items() if key[1] in people and key[2] in gists})
    rows = [
        Problem(run=run, code=code, person_id=person, gist_id=gist, reason=reason, count=count)
        for (code, person, gist, reason), count in written.items()
    ]
    Problem.objects.bulk_create(rows, batch_size=500)
    return written
