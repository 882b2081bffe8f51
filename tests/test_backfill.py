"""Backfill choices: parsing, and which gists they include."""

from datetime import UTC, datetime, timedelta

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from gisttracker.common.backfill import includes, parse
from people.models import Gist, Person
from tests.conftest import Sync
from tests.factories import create_person
from tests.standins import GitHubStandIn, PipedriveStandIn, respond

ADDED = datetime(2026, 5, 10, 12, 0, 0, 700_000, tzinfo=UTC)


@pytest.mark.parametrize(("text", "choice"), [("ALL", "all"), (" none", "none"), ("2026-01-31", "2026-01-31")])
def test_a_choice_is_parsed(text: str, choice: str) -> None:
    assert parse(text) == choice


@pytest.mark.parametrize("text", ["", "some", "-1", "1.5", "7", "2026-1-1", "2026-02-30", "12345678", "²"])
def test_an_invalid_choice_is_rejected_with_the_rule(text: str) -> None:
    with pytest.raises(ValueError, match="must be all, none or a date"):
        parse(text)


@pytest.mark.parametrize(
    ("choice", "created", "expected"),
    [
        ("all", "1970-01-01 00:00:00", True),
        ("none", "2026-05-10 11:59:59", False),
        ("none", "2026-05-10 12:00:00", True),  # the same second, as GitHub shows it
        ("none", "2026-05-10 12:00:01", True),
        ("2026-05-01", "2026-04-30 23:59:59", False),
        ("2026-05-01", "2026-05-01 00:00:00", True),
        ("2030-01-01", "2026-05-10 11:59:59", False),
        ("2030-01-01", "2026-05-10 12:00:01", True),  # It is not old.
    ],
)
def test_a_choice_includes_these_gists(choice: str, created: str, expected: bool) -> None:
    assert includes(choice, datetime.fromisoformat(f"{created}+00:00"), ADDED) is expected


OPEN = {
    "added in the API": lambda api: api.post("/api/v1/people", {"username": "ada"}, format="json"),
    "added in bulk": lambda api: api.post("/api/v1/people/bulk", ["ada"], format="json"),
    "added in the database": lambda _: create_person(),
}


@pytest.mark.django_db
@pytest.mark.parametrize("how", OPEN)
def test_a_choice_left_open_is_the_setting_of_the_run(
    how: str, github: GitHubStandIn, sync: Sync, api: APIClient, configured: Settings
) -> None:
    github.add_account("ada")
    for _ in range(3):
        github.publish("ada")
    configured.BACKFILL = "all"
    OPEN[how](api)
    assert Person.objects.get().backfill == ""
    configured.BACKFILL = "none"

    assert sync().counts["gists_skipped"] == 3


@pytest.mark.django_db
def test_a_choice_of_the_person_goes_before_the_setting(
    ada: Person, github: GitHubStandIn, sync: Sync, configured: Settings
) -> None:
    Person.objects.update(backfill="all")
    for _ in range(3):
        github.publish("ada")
    configured.BACKFILL = "none"

    assert sync().counts["gists_pushed"] == 3
    assert Person.objects.get().backfill == "all"


def fail_first_lists(github: GitHubStandIn) -> None:
    github.fail("gists", respond(500), times=20)


def cut_first_list(github: GitHubStandIn) -> None:
    github.fail("gists", respond(500), nth=2, times=20)


def lose_first_list(github: GitHubStandIn) -> None:
    github.fail("gists", respond(200, "[]", {"etag": '"empty"'}), times=2)


def pause_first(github: GitHubStandIn) -> None:
    Person.objects.update(state="paused")


@pytest.mark.django_db
@pytest.mark.parametrize("prevent", [fail_first_lists, cut_first_list, lose_first_list, pause_first])
def test_a_gist_published_after_adding_is_exported_whatever_keeps_the_first_list_from_being_read(
    prevent: object, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    assert callable(prevent)
    Person.objects.update(backfill="none")
    for number in range(101):
        github.publish("ada", f"Old {number}")
    prevent(github)
    sync()
    new = github.publish(
        "ada", "New", created_at=format(datetime.now(UTC) + timedelta(seconds=2), "%Y-%m-%dT%H:%M:%SZ")
    )
    sync()
    github.heal()
    Person.objects.update(state="active")

    sync("--full")

    assert pipedrive.gist_ids() == [new]
    assert Gist.objects.filter(push_state="skipped").count() == 101


@pytest.mark.django_db
def test_the_flag_of_a_dry_run_decides_too(
    ada: Person, github: GitHubStandIn, sync: Sync, configured: Settings
) -> None:
    for _ in range(3):
        github.publish("ada")

    for choice, activities in (("none", 0), ("2026-01-02", 0), ("2026-01-01", 3), ("all", 3)):
        configured.BACKFILL = choice
        assert sync("--dry-run").json["cost"]["total"]["activities"] == activities
