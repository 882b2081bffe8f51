"""Leases: which run may work on a person."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from people.models import Gist, Person
from sync.clients.errors import LeaseLostError
from sync.clock import database_clock
from tests.factories import create_gist, create_person

pytestmark = [pytest.mark.django_db, pytest.mark.both]
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DUE = due_for_poll(NOW, NOW)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def ada(db: None) -> Person:
    return create_person("ada")


@pytest.fixture
def slow_claims(ada: Person, monkeypatch: pytest.MonkeyPatch) -> Claims:
    """Claims of a run that selected Ada as a candidate before the test began."""
    claims = Claims("slow", 600, Clock())
    candidates = iter([[ada.pk], []])
    monkeypatch.setattr(claims, "_candidates", lambda due, limit: next(candidates))
    return claims


def test_a_second_run_cannot_claim_ada() -> None:
    create_person("ada")
    create_person("ben")

    first = Claims("first", 600, Clock()).take(DUE, 1)
    second = Claims("second", 600, Clock()).take(DUE, 10)

    assert [person.github_username for person in first + second] == ["ada", "ben"]


def test_two_runs_with_the_same_candidate_cannot_both_claim_ada(ada: Person, slow_claims: Claims) -> None:
    Claims("fast", 600, Clock()).take(DUE, 1)

    assert slow_claims.take(DUE, 1) == []
    assert Person.objects.get().lease_holder == "fast"


def test_a_candidate_polled_by_another_run_in_the_meantime_is_not_claimed(ada: Person, slow_claims: Claims) -> None:
    Person.objects.update(state="active", attempted_at=NOW)

    assert slow_claims.take(DUE, 1) == []


def test_the_lease_of_a_crashed_run_expires(ada: Person) -> None:
    clock = Clock()
    Claims("crashed", 600, clock).take(DUE, 1)
    next_run = Claims("next", 600, clock)

    clock.now = NOW + timedelta(seconds=599)
    before_expiry = next_run.take(DUE, 1)
    clock.now = NOW + timedelta(seconds=601)
    after_expiry = next_run.take(DUE, 1)

    assert (before_expiry, after_expiry) == ([], [ada])


def test_a_renewed_lease_lasts_longer(ada: Person) -> None:
    clock = Clock()
    claims = Claims("running", 600, clock)
    claims.take(DUE, 1)
    clock.now = NOW + timedelta(seconds=500)
    claims.renew([ada.pk])
    clock.now = NOW + timedelta(seconds=900)

    assert Claims("other", 600, clock).take(DUE, 1) == []


def test_a_run_neither_locks_nor_releases_a_person_taken_over_by_another_run(ada: Person) -> None:
    ben = create_person("ben")
    claims = Claims("old", 600, Clock())
    claims.take(DUE, 2)
    Person.objects.filter(pk=ada.pk).update(lease_holder="new")

    with claims.lock([ada.pk, ben.pk]) as held:
        assert list(held) == [ben.pk]
    claims.release([ada.pk, ben.pk])
    ada.refresh_from_db()
    assert ada.lease_holder == "new"


def test_requested_people_come_first_then_the_longest_unattempted() -> None:
    create_person("recent", state="active", attempted_at=NOW - timedelta(hours=1))
    create_person("old", state="active", attempted_at=NOW - timedelta(hours=9))
    create_person("new")
    create_person("requested", state="active", attempted_at=NOW - timedelta(minutes=1), sync_requested_at=NOW)

    taken = Claims("run", 600, Clock()).take(DUE, 10)

    assert [person.github_username for person in taken] == ["requested", "new", "old", "recent"]


@pytest.mark.parametrize("state", ["gone", "conflict"])
def test_a_gone_account_or_a_conflict_is_rechecked_once_a_day(state: str) -> None:
    create_person("yesterday", state=state, attempted_at=NOW - timedelta(hours=25))
    create_person("today", state=state, attempted_at=NOW - timedelta(hours=23))

    taken = Claims("run", 600, Clock()).take(DUE, 10)

    assert [person.github_username for person in taken] == ["yesterday"]


def test_a_person_is_due_once_in_a_round() -> None:
    create_person("polled", state="active", attempted_at=NOW)

    assert Claims("run", 600, Clock()).take(DUE, 10) == []


@pytest.mark.parametrize(
    ("person_changes", "gist_changes"),
    [
        ({"lease_holder": "other"}, {}),
        ({"pipedrive_id": 2}, {}),
        ({"pipedrive_id": None}, {}),
        ({}, {"push_state": "pushed"}),
        ({}, {"push_state": "skipped"}),
        ({}, {"github_updated_at": NOW}),
    ],
)
def test_a_gist_is_written_only_while_it_is_pending_and_its_person_held_and_linked_as_read(
    person_changes: dict[str, Any], gist_changes: dict[str, Any]
) -> None:
    gist = create_gist(create_person("ada", pipedrive_id=1))
    claims = Claims("run", 600, Clock())
    (ada,) = claims.take(DUE, 1)
    claims.update_gist(ada, gist, push_error="written")
    Person.objects.update(**person_changes or {"name": "Ada"})
    Gist.objects.update(**gist_changes or {"description": "odd"})

    with pytest.raises(LeaseLostError):
        claims.update_gist(ada, gist, push_error="written again")

    assert Gist.objects.get().push_error == "written"


def test_the_clock_shows_the_database_s_time() -> None:
    difference = abs(database_clock()() - datetime.now(UTC))

    assert difference < timedelta(minutes=1)  # Both run on this machine; a wrong time zone differs by more.
