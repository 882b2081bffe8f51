"""The lease: exactly one run works at a time.

It is one row. A run takes it with a conditional write, and its main thread renews it. It is over after LEASE_SECONDS,
or at once if its process died on this machine; then the next run takes it over. Each transaction in which a run writes
begins with `writing`: it locks the row and checks that the token is still this run's. So a process that was suspended
or cut off writes nothing after its successor has begun, and its threads, which look at `is_over`, send nothing.
"""

import os
import platform
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from threading import Event
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from gisttracker.common.database import retried
from people.models.freshness import MAX_CLOCK_ERROR
from sync.clients.boot_clock import boot_clock
from sync.clients.errors import LeaseLostError
from sync.clock import Clock
from sync.models import RunLease, SyncRun

ROW = 1
_own: set[str] = set()  # the tokens of this process


class LeaseTakenError(Exception):
    """Another process works. `lease` is its row, which may have a run."""

    def __init__(self, lease: RunLease) -> None:
        super().__init__(f"{lease} is going on")
        self.lease = lease


class Lease:
    """The lease of this process. `stopping` is set when it is lost, so that the threads send no more requests."""

    def __init__(self, clock: Clock, stopping: Event) -> None:
        self.token = uuid.uuid4().hex
        self._clock, self._stopping = clock, stopping
        self._ends_at = 0.0  # a time of boot_clock()

    @property
    def is_over(self) -> bool:
        """Could another run have taken it over? Without a request, by a clock that counts while suspended."""
        return boot_clock() >= self._ends_at

    @retried
    def take(self) -> None:
        """Take the lease if it is free. LeaseTakenError if another process has it.

        If it is taken over, from a process that has died or was silent for too long, the run of that one has crashed.
        """
        _own.add(self.token)
        now, begun = self._clock(), boot_clock()
        rows = RunLease.objects.filter(pk=ROW)
        taken: dict[str, Any] = {"token": self.token, "run_id": None, "expires_at": _end(now)}
        taken |= {"host": platform.node()[:255], "pid": os.getpid()}
        # This one statement decides: of several processes, one finds the row still free.
        if not rows.filter(token__in=["", self.token]).update(**taken):
            lease, is_new = RunLease.objects.get_or_create(pk=ROW, defaults=taken)
            is_over = Q(expires_at__lte=now) | Q(expires_at__gt=_end(now) + MAX_CLOCK_ERROR)
            if is_dead_here(lease):
                is_over |= Q(token=lease.token)
            if not is_new and not rows.filter(is_over | Q(token="")).update(**taken):
                _own.discard(self.token)
                raise LeaseTakenError(rows.get())
            _close_crashed(now)
        self._ends_at = begun + settings.LEASE_SECONDS

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction in which this process may write; it renews the lease. LeaseLostError if another one has it.

        The row stays locked until the commit, so a successor begins after it.
        """
        begun = boot_clock()
        with transaction.atomic():
            if not RunLease.objects.filter(pk=ROW, token=self.token).update(expires_at=_end(self._clock())):
                self._ends_at = 0.0
                self._stopping.set()
                raise LeaseLostError("Another run has taken over, because this process was silent for too long")
            yield
        self._ends_at = begun + settings.LEASE_SECONDS

    def renew(self) -> None:
        """Renew it, if half of its time is over. LeaseLostError as in `writing`."""
        if boot_clock() > self._ends_at - settings.LEASE_SECONDS / 2:
            retried(self._renew)()

    def _renew(self) -> None:
        with self.writing():
            pass

    @contextmanager
    def ending(self) -> Iterator[None]:
        """As `writing`, for the last time: the lease is free after the commit."""
        with self.writing():
            yield
            self._free()
        self._ends_at = 0.0

    @retried
    def release(self) -> None:
        """Free the lease, if this process still has it. A run that was not closed has crashed."""
        if self.token in _own:
            with transaction.atomic():
                if self._free():
                    _close_crashed(self._clock())
        self._ends_at = 0.0

    def _free(self) -> int:
        transaction.on_commit(partial(_own.discard, self.token))
        own = RunLease.objects.filter(pk=ROW, token=self.token)
        return own.update(token="", run_id=None, expires_at=self._clock())


def _close_crashed(now: datetime) -> None:
    """To be called with the lease, so no run goes on."""
    running = SyncRun.objects.filter(outcome=SyncRun.Outcome.RUNNING)
    running.update(outcome=SyncRun.Outcome.CRASHED, finished_at=now)


def is_dead_here(lease: RunLease) -> bool:
    """Was it a process of this machine that does not exist any more?"""
    if lease.pid is None or lease.host != platform.node()[:255]:
        return False
    if lease.pid == os.getpid():
        return lease.token not in _own  # In containers, each process has the same id as the one before.
    try:
        os.kill(lease.pid, 0)  # Signal 0 only checks that the process exists.
    except ProcessLookupError:
        return True
    except PermissionError:
        return False  # It exists, and belongs to another user.
    return False


def _end(now: datetime) -> datetime:
    return now + timedelta(seconds=settings.LEASE_SECONDS)
