"""Backfill choices: parsing, and which gists they include."""

from datetime import UTC, datetime

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from people.backfill import parse, select
from people.models import Person
from tests.conftest import Sync
from tests.factories import create_person
from tests.standins import GitHubStandIn, respond

DAYS = [datetime(2026, 1, day, 12, tzinfo=UTC) for day in (3, 1, 2)]


@pytest.mark.parametrize(("text", "choice"), [("ALL", "all"), (" none", "none"), ("007", "7"), ("2026-01-31",) * 2])
def test_a_choice_is_parsed(text: str, choice: str) -> None:
    assert parse(text) == choice


@pytest.mark.parametrize("text", ["", "some", "-1", "1.5", "2026-1-1", "2026-02-30", "12345678", "²"])
def test_an_invalid_choice_is_rejected_with_the_rule(text: str) -> None:
    with pytest.raises(ValueError, match="must be all, none"):
        parse(text)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("all", [True, True, True]),
        ("none", [False, False, False]),
        ("0", [False, False, False]),
        ("2", [True, False, True]),
        ("9", [True, True, True]),
        ("2026-01-02", [True, False, True]),
    ],
)
def test_a_choice_includes_these_gists(choice: str, expected: list[bool]) -> None:
    assert select(choice, DAYS) == expected


OPEN = {
    "added in the API": lambda api: api.post("/api/v1/people", {"username": "ada"}, format="json"),
    "added in bulk": lambda api: api.post("/api/v1/people/bulk", ["ada"], format="json"),
    "added in the database": lambda _: create_person(),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", OPEN)
def test_a_choice_left_open_is_decided_at_the_first_list(
    how: str, github: GitHubStandIn, sync: Sync, api: APIClient, configured: Settings
) -> None:
    """BACKFILL is set after the person was added, and before the first run."""
    github.add_account("ada")
    for _ in range(3):
        github.publish("ada")
    configured.BACKFILL = "all"
    OPEN[how](api)
    assert Person.objects.get().backfill == ""
    configured.BACKFILL = "none"

    first = sync()
    configured.BACKFILL = "all"  # too late for Ada
    github.publish("ada")
    second = sync("--full")

    assert (first.counts["gists_skipped"], second.counts["gists_pushed"]) == (3, 1)
    assert Person.objects.get().backfill == "none"


@pytest.mark.django_db(transaction=True)
def test_a_choice_of_the_person_goes_before_the_setting(
    ada: Person, github: GitHubStandIn, sync: Sync, configured: Settings
) -> None:
    Person.objects.update(backfill="1")
    for _ in range(3):
        github.publish("ada")
    configured.BACKFILL = "none"

    assert sync().counts["gists_pushed"] == 1
    assert Person.objects.get().backfill == "1"


@pytest.mark.django_db(transaction=True)
def test_an_incomplete_list_decides_nothing(
    ada: Person, github: GitHubStandIn, sync: Sync, configured: Settings
) -> None:
    for number in range(102):
        github.publish("ada", f"Gist {number}")
    configured.BACKFILL = "all"
    github.fail("gists", respond(500), nth=2, times=9)

    sync()
    github.heal()

    assert Person.objects.get().backfill == ""
    assert Person.objects.get().backfill_decided_at is None


@pytest.mark.django_db(transaction=True)
def test_the_flag_of_a_dry_run_decides_too(
    ada: Person, github: GitHubStandIn, sync: Sync, configured: Settings
) -> None:
    for _ in range(3):
        github.publish("ada")

    for choice, activities in (("none", 0), ("2", 2), ("all", 3)):
        configured.BACKFILL = choice
        assert sync("--dry-run").json["cost"]["total"]["activities"] == activities
