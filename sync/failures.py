"""The failures that are on the rows of people and gists. Each function reads up to MAX_READ rows."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import F, Q, QuerySet

from people.models import Gist, Person
from sync.claims import MAX_CLOCK_ERROR
from sync.reasons import Failure

MAX_READ = 1000
NOT_POLLED, NOT_PUSHED = "no run has polled them", "no run has pushed them"


def trouble_of(people: QuerySet[Person]) -> Iterator[Failure]:
    """Why the last poll of these people failed, or else their last push."""
    for person in people.order_by("-failures", "-push_failures", "pk")[:MAX_READ]:
        if person.failures:
            yield Failure(person.github_username, person.last_error, person.failing_since, person.attempted_at)
        else:
            since, last = person.push_failing_since, person.push_attempted_at
            yield Failure(person.github_username, person.push_error, since, last)


def is_stale(now: datetime, age: timedelta) -> Q:
    """People who were not polled for so long, since they were added or resumed.

    A time in the future is wrong, and counts as old.
    """
    oldest = now - age
    is_old = Q(polled_at__lt=oldest) | Q(polled_at__gt=now + MAX_CLOCK_ERROR) | Q(polled_at=None, created_at__lt=oldest)
    return is_old & (Q(state_changed_at=None) | Q(state_changed_at__lt=oldest))


def poll_failures(people: QuerySet[Person]) -> Iterator[Failure]:
    columns = ("github_username", "last_error", "failures", "failing_since", "attempted_at", "polled_at", "created_at")
    for row in people.order_by(F("polled_at").asc(nulls_first=True)).values(*columns)[:MAX_READ]:
        reason = row["last_error"] if row["failures"] else NOT_POLLED
        first = row["failing_since"] or row["polled_at"] or row["created_at"]
        yield Failure(row["github_username"], reason, first, row["attempted_at"] if row["failures"] else None)


def push_failures(gists: QuerySet[Gist]) -> Iterator[Failure]:
    own = ("push_error", "updated_at")
    of_person = ("github_username", "push_error", "push_failing_since", "push_attempted_at")
    columns = [*own, *(f"person__{name}" for name in of_person)]
    for row in gists.order_by("updated_at").values(*columns)[:MAX_READ]:
        reason = row["push_error"] or row["person__push_error"]
        last = row["person__push_attempted_at"] if reason else None
        first = row["person__push_failing_since"] or row["updated_at"]
        yield Failure(row["person__github_username"], reason or NOT_PUSHED, first, last, gists=1)


def gone_accounts(people: QuerySet[Person]) -> Iterator[Failure]:
    for row in people.order_by("state_changed_at").values("github_username", "last_error", "state_changed_at")[
        :MAX_READ
    ]:
        yield Failure(row["github_username"], row["last_error"], row["state_changed_at"])
