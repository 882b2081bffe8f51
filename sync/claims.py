"""Who may work on a person now: one run at a time, by a lease that ends by itself.

All times are the database's clock, so that machines whose clocks differ share the people all the same.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from people.github_names import login_key
from people.models import Gist, GistQuerySet, Person

Clock = Callable[[], datetime]
ASK_GONE_AFTER = timedelta(days=1)


def database_clock() -> Clock:
    """A clock that shows the database's time: its difference to ours is measured once."""
    # Both as text with microseconds, which reads the same way whatever the driver makes of times.
    sql = "STRFTIME('%Y-%m-%d %H:%M:%f', 'NOW')" if connection.vendor == "sqlite" else "CAST(UTC_TIMESTAMP(6) AS CHAR)"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {sql}")  # one of the two constants above
        (told,) = cursor.fetchone()
    difference = datetime.fromisoformat(told).replace(tzinfo=UTC) - timezone.now()
    return lambda: timezone.now() + difference


def due_for_poll(round_start: datetime, now: datetime) -> Q:
    """People not attempted in this round, those somebody asked for, and once a day those that are gone."""
    living = Q(state__in=[Person.State.NEW, Person.State.ACTIVE])
    absent = Q(state__in=[Person.State.GONE, Person.State.CONFLICT])
    return (
        (living & before(round_start))
        | (absent & Q(attempted_at__lt=min(now - ASK_GONE_AFTER, round_start)))
        | requested()
    )


def requested() -> Q:
    """New people, and those somebody asked for since they were last attempted."""
    asked_for = Q(sync_requested_at__isnull=False) & (Q(attempted_at=None) | Q(attempted_at__lt=F("sync_requested_at")))
    return Q(state=Person.State.NEW, attempted_at=None) | (asked_for & ~Q(state=Person.State.PAUSED))


def named(logins: Iterable[str], run_start: datetime) -> Q:
    """These people, once in this run, also those that are gone."""
    return with_names(logins) & before(run_start) & ~Q(state=Person.State.PAUSED)


def with_names(logins: Iterable[str]) -> Q:
    return Q(username_key__in=[login_key(login) for login in logins])


def due_for_push(round_start: datetime, *, edits: bool) -> Q:
    """People with gists still to be pushed or reconciled, once in this round."""
    return Q(pk__in=to_be_pushed(edits=edits).values("person")) & (
        Q(push_attempted_at=None) | Q(push_attempted_at__lt=round_start)
    )


def to_be_pushed(*, edits: bool) -> GistQuerySet:
    """The gists for which Pipedrive has to be asked; `edits`: also those whose activity is out of date."""
    unfinished = Gist.objects.unfinished().order_by()
    outdated = Gist.objects.filter(push_state=Gist.PushState.PUSHED, activity_outdated=True).order_by()
    return unfinished | outdated if edits else unfinished


def before(moment: datetime) -> Q:
    return Q(attempted_at=None) | Q(attempted_at__lt=moment)


class Claims:
    """The leases of one run; `token` is its name as a lease holder."""

    def __init__(self, token: str, lease_seconds: int, clock: Clock) -> None:
        self.token = token
        self.lease_seconds = lease_seconds
        self._lease = timedelta(seconds=lease_seconds)
        self._clock = clock

    def take(self, due: Q, most: int) -> list[Person]:
        """Up to `most` people that are due and free: the requested first, then the longest unattempted."""
        while True:
            candidates = self._candidates(due, most)
            if not candidates:
                return []
            # The one statement that decides: of several runs that want a person, one finds the row still free. It
            # asks for `due` again, because another run may have done a person and let it go since the look above.
            self._free(due).filter(pk__in=candidates).update(**self._mine())
            mine = Person.objects.filter(lease_holder=self.token).in_bulk(candidates)
            if mine:
                return [mine[key] for key in candidates if key in mine]

    def _candidates(self, due: Q, most: int) -> list[int]:
        asked_for = self._free(due).filter(sync_requested_at__isnull=False).order_by("sync_requested_at", "pk")
        keys = list(asked_for.values_list("pk", flat=True)[:most])
        if len(keys) < most:
            others = self._free(due).filter(sync_requested_at=None).order_by("attempted_at", "pk")
            keys += others.values_list("pk", flat=True)[: most - len(keys)]
        return keys

    def _free(self, due: Q) -> QuerySet[Person]:
        return Person.objects.filter(due).filter(Q(leased_until=None) | Q(leased_until__lt=self._clock()))

    def _mine(self) -> dict[str, Any]:
        return {"lease_holder": self.token, "leased_until": self._clock() + self._lease}

    def renew(self) -> None:
        """Keep what is still ours for another lease."""
        Person.objects.filter(lease_holder=self.token, leased_until__isnull=False).update(**self._mine())

    def release(self, people: Iterable[int] | None = None) -> None:
        """Let these people go, or all that are ours."""
        mine = Person.objects.filter(lease_holder=self.token, leased_until__isnull=False)
        if people is not None:
            mine = mine.filter(pk__in=list(people))
        mine.update(lease_holder="", leased_until=None)

    @contextmanager
    def holding(self, people: Iterable[int]) -> Iterator[dict[int, Person]]:
        """A transaction with those of these people locked that are still ours; the others were taken or deleted."""
        with transaction.atomic():
            locked = Person.objects.select_for_update().order_by("pk").filter(lease_holder=self.token)
            yield locked.in_bulk(list(people))
