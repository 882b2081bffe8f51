"""Leases: only one run at a time works on a person, and only for a limited time.

A run claims people by writing its token into their rows; the lease ends when it is released or not renewed in time.
All times come from the database's clock, so that runs on machines with different clocks can share the people.

A round is what must happen once every three hours: every due person is attempted once. Runs that overlap share one
round, so its start is the start of the oldest of them.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import OperationalError, connection, transaction
from django.db.models import F, Q, QuerySet

from gisttracker.common.database import LOCK_TIMEOUT, error_code, retried
from people.models import Gist, GistQuerySet, Person
from people.models.freshness import MAX_CLOCK_ERROR
from people.models.github_names import login_key
from sync.clients.boot_clock import boot_clock
from sync.clients.errors import LeaseLostError

Clock = Callable[[], datetime]
UNAVAILABLE_RECHECK_EVERY = timedelta(days=1)
MIN_FAILURES_TO_PAUSE = 3  # in a row; before, a person is tried again in the next round
FIRST_PAUSE, MAX_PAUSE = timedelta(hours=6), timedelta(days=1)  # doubled with each failure


def database_clock() -> Clock:
    """Returns a clock that shows the database's time: read once, and continued without this machine's time of day."""
    # As text with microseconds, which does not depend on how the driver converts times.
    sql = "STRFTIME('%Y-%m-%d %H:%M:%f', 'NOW')" if connection.vendor == "sqlite" else "CAST(UTC_TIMESTAMP(6) AS CHAR)"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {sql}")  # one of the two constants above
        (text,) = cursor.fetchone()
    now, measured_at = datetime.fromisoformat(text).replace(tzinfo=UTC), boot_clock()
    return lambda: now + timedelta(seconds=boot_clock() - measured_at)


def next_attempt(failures: int, now: datetime) -> datetime | None:
    """When a person is due again after this many failures in a row. None: in the next round."""
    if failures < MIN_FAILURES_TO_PAUSE:
        return None
    doublings = min(failures - MIN_FAILURES_TO_PAUSE, 10)
    return now + min(FIRST_PAUSE * (1 << doublings), MAX_PAUSE)


def due_for_poll(round_start: datetime, now: datetime) -> Q:
    """People not attempted in this round, requested people, and once a day those whose account is unavailable.

    People who failed repeatedly are due when their pause is over.
    """
    tracked = Q(state__in=[Person.State.NEW, Person.State.ACTIVE])
    unavailable = Q(state__in=[Person.State.GONE, Person.State.CONFLICT])
    return (
        (tracked & attempted_before(round_start, now) & is_over("next_attempt_at", now))
        | (unavailable & attempted_before(min(now - UNAVAILABLE_RECHECK_EVERY, round_start), now))
        | requested(now)
    )


def requested(now: datetime) -> Q:
    """New people, and people whose sync was requested after their last attempt."""
    is_requested = Q(sync_requested_at__lte=now + MAX_CLOCK_ERROR) & (
        Q(attempted_at=None) | Q(attempted_at__lt=F("sync_requested_at"))
    )
    return Q(state=Person.State.NEW, attempted_at=None) | (is_requested & ~Q(state=Person.State.PAUSED))


def watched(run_start: datetime, now: datetime) -> Q:
    """Watched people, once in this run."""
    tracked = Q(watched=True, state=Person.State.ACTIVE)
    return tracked & attempted_before(run_start, now) & is_over("next_attempt_at", now)


def due_by_login(logins: Iterable[str], run_start: datetime, now: datetime) -> Q:
    """These people, once in this run, even if their account is unavailable."""
    return has_login(logins) & attempted_before(run_start, now) & ~Q(state=Person.State.PAUSED)


def has_login(logins: Iterable[str]) -> Q:
    return Q(username_key__in=[login_key(login) for login in logins])


def attempted_before(moment: datetime, now: datetime) -> Q:
    """A time in the future is wrong and counts as old: a wrong clock must not hide people."""
    return Q(attempted_at=None) | Q(attempted_at__lt=moment) | Q(attempted_at__gt=now + MAX_CLOCK_ERROR)


def is_over(column: str, now: datetime) -> Q:
    """Is the pause over that ends at this column's time? One that is too long is a mistake of a clock."""
    return (
        Q(**{column: None}) | Q(**{f"{column}__lte": now}) | Q(**{f"{column}__gt": now + MAX_PAUSE + MAX_CLOCK_ERROR})
    )


def due_for_push(round_start: datetime, now: datetime, *, edits: bool) -> Q:
    """People with gists to push whose push was not attempted in this round, or not since their last poll."""
    latest = now + MAX_CLOCK_ERROR
    is_due = Q(push_attempted_at__lt=round_start) | not_pushed_since_poll() | Q(push_attempted_at__gt=latest)
    return has_gists_to_push(now, edits=edits) & is_due & is_over("next_push_at", now)


def due_for_push_since(moment: datetime, now: datetime, *, edits: bool) -> Q:
    """People with gists to push who were polled after `moment` and whose push was not attempted since that poll."""
    is_due = Q(attempted_at__gte=moment) & not_pushed_since_poll()
    return has_gists_to_push(now, edits=edits) & is_due & is_over("next_push_at", now)


def not_pushed_since_poll() -> Q:
    return Q(push_attempted_at=None) | Q(push_attempted_at__lt=F("attempted_at"))


def has_gists_to_push(now: datetime, *, edits: bool) -> Q:
    return Q(pk__in=gists_to_push(now, edits=edits).values("person"))


def gists_to_push(now: datetime, *, edits: bool) -> GistQuerySet:
    """The gists that need a request to Pipedrive; `edits`: also those whose activity is outdated."""
    unfinished = Gist.objects.unfinished().order_by()
    outdated = Gist.objects.filter(
        is_over("next_edit_at", now), push_state=Gist.PushState.PUSHED, activity_outdated=True
    ).order_by()
    return unfinished | outdated if edits else unfinished


class Claims:
    """The leases of one lane of a run (`token` is the holder), and the writes that need a lease."""

    def __init__(self, token: str, lease_seconds: int, clock: Clock, order_by: str = "attempted_at") -> None:
        """`order_by`: the column of the last attempt; who waits longest is claimed first."""
        self.token = token
        self._order_by = order_by
        self.lease_seconds = lease_seconds
        self._lease = timedelta(seconds=lease_seconds)
        self._clock = clock
        self._skips_locked = False  # since a row stayed locked

    def take(self, due: Q, limit: int) -> list[Person]:
        """Claim up to `limit` due and free people, a requested sync first, then by the time of the last attempt."""
        while True:
            candidates = self._candidates(due, limit)
            if not candidates:
                return []
            # This one statement decides: of several runs that want a person, one finds the row still free. It checks
            # `due` again, because another run may have finished and released a person since the query above.
            self._write(self._free(due).filter(pk__in=candidates), **self._new_lease())
            claimed = self._claimed(candidates)
            if claimed or self._skips_locked:
                return [claimed[key] for key in candidates if key in claimed]

    @retried
    def _claimed(self, candidates: list[int]) -> dict[int, Person]:
        return Person.objects.filter(lease_holder=self.token).in_bulk(candidates)

    @retried
    def _write(self, people: QuerySet[Person], **columns: Any) -> int:
        """One UPDATE. After the first timeout at a row that another connection has locked, locked rows are left out."""
        if not self._skips_locked:
            try:
                return people.update(**columns)
            except OperationalError as error:
                can_skip = connection.features.has_select_for_update_skip_locked
                if error_code(error) != LOCK_TIMEOUT or connection.in_atomic_block or not can_skip:
                    raise
                self._skips_locked = True
        with transaction.atomic():
            unlocked = list(people.select_for_update(skip_locked=True).order_by("pk").values_list("pk", flat=True))
            return Person.objects.filter(pk__in=unlocked).update(**columns)

    @retried
    def count_free(self, due: Q, limit: int | None = None) -> int:
        """How many people are due and free, counted up to `limit`."""
        return self._free(due).order_by()[:limit].count()

    @retried
    def count_due(self, due: Q, limit: int) -> int:
        """How many people are due, free or not, counted up to `limit`."""
        return Person.objects.filter(due).order_by()[:limit].count()

    @retried
    def _candidates(self, due: Q, limit: int) -> list[int]:
        free = self._free(due)
        with transaction.atomic() if self._skips_locked else nullcontext():
            if self._skips_locked:
                free = free.select_for_update(skip_locked=True)
            first = free.filter(sync_requested_at__isnull=False).order_by("sync_requested_at", "pk")
            keys = list(first.values_list("pk", flat=True)[:limit])
            if len(keys) < limit:
                others = free.filter(sync_requested_at=None).order_by(self._order_by, "pk")
                keys += others.values_list("pk", flat=True)[: limit - len(keys)]
            return keys

    def _free(self, due: Q) -> QuerySet[Person]:
        # Our own people are excluded: after a suspend or a clock step, a lease may have expired before it was renewed.
        free = Q(leased_until=None) | Q(leased_until__lt=self._clock())
        return Person.objects.filter(due).filter(free).exclude(lease_holder=self.token)

    def _new_lease(self) -> dict[str, Any]:
        return {"lease_holder": self.token, "leased_until": self._clock() + self._lease}

    def _held(self, person_ids: Iterable[int]) -> QuerySet[Person]:
        return Person.objects.filter(pk__in=list(person_ids), lease_holder=self.token)

    def renew(self, person_ids: Iterable[int]) -> None:
        """Extend the leases of these people that this lane still holds."""
        self._write(self._held(person_ids).filter(leased_until__isnull=False), **self._new_lease())

    def release(self, person_ids: Iterable[int], **columns: Any) -> int:
        """Write these columns and end the leases, in one statement. Returns how many of the people were still held."""
        return self._write(self._held(person_ids), lease_holder="", leased_until=None, **columns)

    def _as_read(self, person: Person) -> QuerySet[Person]:
        link = {"pipedrive_id": person.pipedrive_id, "pipedrive_linked_at": person.pipedrive_linked_at}
        return self._held([person.pk]).filter(**link)

    @retried
    def check(self, person: Person) -> None:
        """LeaseLostError unless this lane holds the person, and its Pipedrive person is the one that was read."""
        if not self._as_read(person).exists():
            raise _lost(person)

    @retried
    def update(self, person: Person, **columns: Any) -> None:
        """Write columns of a person. LeaseLostError as in `check`."""
        if not self._as_read(person).update(**columns):
            raise _lost(person)
        for name, value in columns.items():
            setattr(person, name, value)

    @retried
    def update_gist(self, person: Person, gist: Gist, **columns: Any) -> None:
        """Write columns of a pending gist, in one statement.

        LeaseLostError as in `check`, or if the gist is not pending any more or was edited since it was read.
        """
        pending = Gist.objects.filter(pk=gist.pk, push_state=Gist.PushState.PENDING, person__in=self._as_read(person))
        if not pending.filter(github_updated_at=gist.github_updated_at).update(**columns):
            raise _lost(person)

    @contextmanager
    def lock(self, person_ids: Iterable[int]) -> Iterator[dict[int, Person]]:
        """A transaction in which those of these people are locked that are still held; they are returned by id."""
        with transaction.atomic():
            yield self._held(person_ids).select_for_update().order_by("pk").in_bulk()

    @contextmanager
    def lock_linked(self, person: Person) -> Iterator[None]:
        """A transaction in which the person is locked. LeaseLostError as in `check`."""
        with self.lock([person.pk]) as held:
            read = held.get(person.pk)
            if read is None or (read.pipedrive_id, read.pipedrive_linked_at) != (
                person.pipedrive_id,
                person.pipedrive_linked_at,
            ):
                raise _lost(person)
            yield


def _lost(person: Person) -> LeaseLostError:
    return LeaseLostError(f"{person} was claimed by another run, relinked, edited or deleted")
