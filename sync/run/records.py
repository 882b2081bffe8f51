"""The row of a run: opened at its start, closed at its end, or closed by the next run when it crashed."""

import os
import platform
import uuid
from collections import Counter
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Min, Q, QuerySet

from gisttracker import __version__
from gisttracker.common.database import lock_free, retried
from people.models import Gist, Person
from people.models.freshness import MAX_CLOCK_ERROR
from sync.models import COULD_NOT_BEGIN, ROUND_TRIGGERS, Alarm, Problem, SyncRun
from sync.push.attempts import delete_old_attempts
from sync.run.api_state import describe_limits, store_api_states, store_pause, store_trouble
from sync.run.claims import Clock
from sync.run.context import RunContext

Outcome = SyncRun.Outcome
KEEP_FOR = timedelta(days=90)
DEAD_AFTER = timedelta(minutes=2)  # without a heartbeat, of which there are several a minute
SILENT_AFTER = timedelta(seconds=30)  # It may have died.
TOKEN_LENGTH = 28  # characters; a lane adds its name, and a lease holder has room for 36


@retried
def open_run(clock: Clock, lease_seconds: int, trigger: str) -> SyncRun:
    """Create a run's row. Runs that have died are marked as crashed, and their people are free again.

    Overlapping runs for everyone share one round, so that each person is polled once in a round. A run for requested
    people continues the pushes of an interrupted one.
    """
    now = clock()
    _close_dead_runs(now, lease_seconds)
    running = SyncRun.objects.filter(outcome=Outcome.RUNNING)
    round_start = None
    if trigger in ROUND_TRIGGERS:
        round_start = running.filter(trigger__in=ROUND_TRIGGERS).aggregate(start=Min("round_started_at"))["start"]
    elif trigger == "requested" and (interrupted := find_interrupted(now, lease_seconds)):
        round_start = interrupted.round_started_at
    return SyncRun.objects.create(
        token=uuid.uuid4().hex[:TOKEN_LENGTH],
        started_at=now,
        round_started_at=round_start or now,
        heartbeat_at=now,
        trigger=trigger,
        host=platform.node()[:255],
        pid=os.getpid(),
        version=__version__,
    )


@retried
def find_interrupted(now: datetime, lease_seconds: int) -> SyncRun | None:
    """The last run that ended, if a signal or one of its limits has stopped it. None while one for everyone goes on.

    Nobody else pushes before the next round what it has polled. The last run only, so that an outage or a limit, which
    ends the run that continues, is not met again every few minutes.
    """
    if _alive(now, lease_seconds).filter(trigger__in=ROUND_TRIGGERS).exists():
        return None
    last = SyncRun.objects.exclude(outcome=Outcome.RUNNING).exclude(COULD_NOT_BEGIN).order_by("-id").first()
    return last if last and last.outcome == Outcome.STOPPED else None


@retried
def record_refused_start(clock: Clock, lease_seconds: int, trigger: str, message: str) -> None:
    """Create the row of a run that cannot begin because of a setting."""
    run = open_run(clock, lease_seconds, trigger)
    Problem.objects.create(run=run, code=Problem.Code.RUN, reason=message[:500])
    SyncRun.objects.filter(pk=run.pk).update(outcome=Outcome.MISCONFIGURED, finished_at=clock())


@retried
def count_running(run: SyncRun, now: datetime, lease_seconds: int) -> tuple[int, int]:
    """How many runs are alive, and how many of them share the people with this one; itself included."""
    triggers = list(_alive(now, lease_seconds).exclude(pk=run.pk).values_list("trigger", flat=True))
    kind = ROUND_TRIGGERS if run.trigger in ROUND_TRIGGERS else [run.trigger]
    return 1 + len(triggers), 1 + sum(trigger in kind for trigger in triggers)


def _alive(now: datetime, lease_seconds: int) -> QuerySet[SyncRun]:
    """A heartbeat in the future is wrong, and no sign of life."""
    oldest = now - min(DEAD_AFTER, timedelta(seconds=lease_seconds))
    heartbeat = (oldest, now + MAX_CLOCK_ERROR)
    return SyncRun.objects.filter(outcome=Outcome.RUNNING, heartbeat_at__range=heartbeat)


def _close_dead_runs(now: datetime, lease_seconds: int) -> None:
    # The holders are read before the runs, so that the run of each holder is already visible. Only runs that were read
    # are closed: others may begin at any moment.
    holders = list(Person.objects.exclude(lease_holder="").order_by().values_list("lease_holder", flat=True).distinct())
    running = list(SyncRun.objects.filter(outcome=Outcome.RUNNING))
    alive_ids = set(_alive(now, lease_seconds).values_list("pk", flat=True))
    dead = [run.pk for run in running if run.pk not in alive_ids or _is_dead_here(run)]
    SyncRun.objects.filter(pk__in=dead, outcome=Outcome.RUNNING).update(outcome=Outcome.CRASHED, finished_at=now)
    tokens = tuple(run.token for run in running if run.pk not in dead)
    for holder in [holder for holder in holders if not holder.startswith(tokens)]:
        Person.objects.filter(lease_holder=holder).update(lease_holder="", leased_until=None)


def _is_dead_here(run: SyncRun) -> bool:
    """Was it a process of this machine that does not exist any more?"""
    if run.pid is None or run.host != platform.node()[:255]:
        return False
    if run.pid == os.getpid():
        return True  # In containers, each process has the same id as the one before.
    try:
        os.kill(run.pid, 0)  # Signal 0 only checks that the process exists.
    except ProcessLookupError:
        return True
    except PermissionError:
        return False  # It exists, and belongs to another user.
    return False


def count_held_by_others(run: SyncRun, due: Q, now: datetime) -> tuple[int, bool]:
    """How many due people other runs have claimed, and whether one of those runs has missed its last heartbeats."""
    held = Person.objects.filter(due).exclude(lease_holder="").exclude(lease_holder__startswith=run.token)
    running = SyncRun.objects.filter(outcome=Outcome.RUNNING).exclude(pk=run.pk)
    return held.count(), running.filter(heartbeat_at__lt=now - SILENT_AFTER).exists()


@retried
def write_heartbeat(run: SyncRun, context: RunContext) -> None:
    """Show that the run is alive, and what it has done and met so far, also for the case that it crashes."""
    store_pause(context.pipedrive, context.clock)
    store_trouble(run, context)
    _store_problems(run, context)
    SyncRun.objects.filter(pk=run.pk).update(heartbeat_at=context.clock(), counts=context.summary.counts())


@retried
def close_run(run: SyncRun, context: RunContext, outcome: Outcome) -> None:
    """Write the run's outcome, counters, limits and problems. Then delete the oldest runs."""
    run.outcome, run.finished_at = outcome, context.clock()
    run.counts = context.summary.counts()
    run.limits = {client.api.name.lower(): describe_limits(client) for client in (context.github, context.pipedrive)}
    _store_problems(run, context)
    run.save()
    store_pause(context.pipedrive, context.clock)
    store_api_states(run, context)
    oldest = context.clock() - KEEP_FOR
    SyncRun.objects.filter(started_at__lt=oldest).exclude(outcome=Outcome.RUNNING).delete()
    Alarm.objects.filter(resolved_at__lt=oldest).delete()
    delete_old_attempts(oldest)


@retried
def _store_problems(run: SyncRun, context: RunContext) -> None:
    """Write the problems that were met since the last time.

    What is about a row that is locked at the moment is left to the next time, and what is about a deleted row is lost.
    """
    met = context.summary.unwritten_problems()
    if not met:
        return
    with transaction.atomic():
        people = {None, *lock_free(Person.objects.filter(pk__in={person for _, person, _, _ in met if person}))}
        gists = {None, *lock_free(Gist.objects.filter(pk__in={gist for _, _, gist, _ in met if gist}))}
        written = Counter({key: count for key, count in met.items() if key[1] in people and key[2] in gists})
        rows = [
            Problem(run=run, code=code, person_id=person, gist_id=gist, reason=reason, count=count)
            for (code, person, gist, reason), count in written.items()
        ]
        Problem.objects.bulk_create(rows, batch_size=500)
    context.summary.drop_problems(written)
