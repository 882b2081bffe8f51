"""The failures that are on the rows of people and gists. At most MAX_READ rows are read for a list of reasons."""

from collections.abc import Iterator

from django.db.models import F, QuerySet

from people.models import Gist, Person
from sync.reasons import Failure

MAX_READ = 1000
NOT_POLLED, NOT_PUSHED = "no run has polled them", "no run has pushed them"


def describe_trouble(person: Person) -> Failure:
    """Why the last poll of this person failed, or else the last push."""
    if person.failures:
        return Failure(person.github_username, person.last_error, person.failing_since, person.attempted_at)
    return Failure(person.github_username, person.push_error, person.push_failing_since, person.push_attempted_at)


def poll_failures(people: QuerySet[Person]) -> Iterator[Failure]:
    columns = ("github_username", "last_error", "failures", "failing_since", "attempted_at", "polled_at", "created_at")
    for row in people.order_by(F("polled_at").asc(nulls_first=True)).values(*columns)[:MAX_READ]:
        reason = row["last_error"] if row["failures"] else NOT_POLLED
        first = row["failing_since"] or row["polled_at"] or row["created_at"]
        yield Failure(row["github_username"], reason, first, row["attempted_at"] if row["failures"] else None)


def push_failures(gists: QuerySet[Gist]) -> Iterator[Failure]:
    own = ("push_error", "pending_since")
    of_person = ("github_username", "push_error", "push_failing_since", "push_attempted_at")
    columns = [*own, *(f"person__{name}" for name in of_person)]
    for row in gists.order_by("pending_since").values(*columns)[:MAX_READ]:
        reason = row["push_error"] or row["person__push_error"]
        last = row["person__push_attempted_at"] if reason else None
        first = row["person__push_failing_since"] or row["pending_since"]
        yield Failure(row["person__github_username"], reason or NOT_PUSHED, first, last, gists=1)


def gone_accounts(people: QuerySet[Person]) -> Iterator[Failure]:
    for row in people.order_by("state_changed_at").values("github_username", "last_error", "state_changed_at")[
        :MAX_READ
    ]:
        yield Failure(row["github_username"], row["last_error"], row["state_changed_at"])
