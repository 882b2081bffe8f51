"""Leases: who may work on a person now."""

from datetime import UTC, datetime, timedelta

import pytest

from people.models import Person
from sync.claims import Claims, database_clock, due_for_poll
from tests.factories import create_gists

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DUE = due_for_poll(NOW, NOW)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def track(*names: str, **fields: object) -> list[Person]:
    return [Person.objects.create(github_username=name, **fields) for name in names]


def test_a_second_run_cannot_claim_ada() -> None:
    track("ada", "ben")

    first = Claims("first", 600, Clock()).take(DUE, 1)
    second = Claims("second", 600, Clock()).take(DUE, 10)

    assert [person.github_username for person in first + second] == ["ada", "ben"]


def test_of_two_runs_that_saw_ada_free_one_gets_her(monkeypatch: pytest.MonkeyPatch) -> None:
    (ada,) = track("ada")
    late = Claims("late", 600, Clock())
    looks = iter([[ada.pk], []])
    monkeypatch.setattr(late, "_candidates", lambda due, most: next(looks))
    Claims("early", 600, Clock()).take(DUE, 1)

    assert late.take(DUE, 1) == []
    assert Person.objects.get().lease_holder == "early"


def test_who_was_done_by_another_run_meanwhile_is_not_claimed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    (ada,) = track("ada")
    late = Claims("late", 600, Clock())
    looks = iter([[ada.pk], []])
    monkeypatch.setattr(late, "_candidates", lambda due, most: next(looks))
    Person.objects.update(state="active", attempted_at=NOW)

    assert late.take(DUE, 1) == []


def test_a_killed_run_s_lease_ends_by_itself() -> None:
    track("ada")
    clock = Clock()
    Claims("killed", 600, clock).take(DUE, 1)
    heir = Claims("heir", 600, clock)

    clock.now = NOW + timedelta(seconds=599)
    too_early = heir.take(DUE, 1)
    clock.now = NOW + timedelta(seconds=601)
    in_time = heir.take(DUE, 1)

    assert too_early == []
    assert [person.github_username for person in in_time] == ["ada"]


def test_a_renewed_lease_lasts_longer() -> None:
    (ada,) = track("ada")
    clock = Clock()
    claims = Claims("alive", 600, clock)
    claims.take(DUE, 1)
    clock.now = NOW + timedelta(seconds=500)
    claims.renew([ada.pk])
    clock.now = NOW + timedelta(seconds=900)

    assert Claims("other", 600, clock).take(DUE, 1) == []


def test_a_run_sees_that_its_lease_was_taken_over() -> None:
    ada, ben = track("ada", "ben")
    claims = Claims("old", 600, Clock())
    claims.take(DUE, 2)
    Person.objects.filter(pk=ada.pk).update(lease_holder="new")

    with claims.lock([ada.pk, ben.pk]) as held:
        assert list(held) == [ben.pk]
    claims.release([ada.pk, ben.pk])
    ada.refresh_from_db()
    assert ada.lease_holder == "new"


def test_the_requested_come_first_then_the_longest_unattempted() -> None:
    track("recent", state="active", attempted_at=NOW - timedelta(hours=1))
    track("old", state="active", attempted_at=NOW - timedelta(hours=9))
    track("new")
    track("request", state="active", attempted_at=NOW - timedelta(minutes=1), sync_requested_at=NOW)

    taken = Claims("run", 600, Clock()).take(DUE, 10)

    assert [person.github_username for person in taken] == ["request", "new", "old", "recent"]


@pytest.mark.parametrize("state", ["gone", "conflict"])
def test_who_is_gone_is_asked_for_once_a_day(state: str) -> None:
    track("yesterday", state=state, attempted_at=NOW - timedelta(hours=25))
    track("today", state=state, attempted_at=NOW - timedelta(hours=23))

    taken = Claims("run", 600, Clock()).take(DUE, 10)

    assert [person.github_username for person in taken] == ["yesterday"]


def test_nobody_is_due_twice_in_a_round() -> None:
    track("done", state="active", attempted_at=NOW)

    assert Claims("run", 600, Clock()).take(DUE, 10) == []


def test_the_clock_is_the_database_s() -> None:
    (ada,) = track("ada")
    create_gists(ada, 1)

    difference = abs(database_clock()() - datetime.now(UTC))

    assert difference < timedelta(seconds=5)  # Both run on this machine.
