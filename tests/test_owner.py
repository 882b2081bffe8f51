"""Who owns the activities: PIPEDRIVE_ACTIVITY_OWNER."""

from datetime import timedelta

import pytest
from pytest_django import Settings

from gisttracker.config.parsers import owner
from people.models import Gist, Person
from tests.conftest import Sync
from tests.factories import let_time_pass, track
from tests.standins import GitHubStandIn, PipedriveStandIn, respond

pytestmark = pytest.mark.django_db
TOKEN_USER, COLLEAGUE = 1, 7


@pytest.fixture
def contact(ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn) -> int:
    """Ada's Pipedrive person, who belongs to a colleague; she has two gists."""
    contact = pipedrive.add_person("Countess", email="ada@example.com")
    pipedrive.persons[contact]["owner_id"] = COLLEAGUE
    pipedrive.users[COLLEAGUE] = True
    for number in range(2):
        github.publish("ada", f"Gist {number}")
    return contact


@pytest.mark.parametrize(
    ("setting", "expected"), [("token", TOKEN_USER), ("person", COLLEAGUE), ("7", COLLEAGUE), ("1", TOKEN_USER)]
)
def test_the_owner_of_the_activities(
    setting: str, expected: int, contact: int, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> None:
    configured.PIPEDRIVE_ACTIVITY_OWNER = setting

    assert sync().code == 0
    assert [row["owner_id"] for row in pipedrive.activities.values()] == [expected] * 2


@pytest.mark.parametrize("setting", ["person", "7", "4711"])
def test_a_deactivated_owner_falls_back_to_the_token_s_user_with_one_message(
    setting: str, contact: int, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> None:
    configured.PIPEDRIVE_ACTIVITY_OWNER = setting
    pipedrive.users[COLLEAGUE] = False

    summary = sync("--concurrency", "1")

    assert summary.code == 0
    assert [row["owner_id"] for row in pipedrive.activities.values()] == [TOKEN_USER] * 2
    (problem,) = summary.problems
    assert "refused user" in problem
    assert "PIPEDRIVE_ACTIVITY_OWNER" in problem
    assert pipedrive.counts["create_activity"] == 3


def test_a_gist_that_is_refused_for_another_reason_does_not_blame_the_owner(
    contact: int, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> None:
    configured.PIPEDRIVE_ACTIVITY_OWNER = "person"
    track(github, "ben", gists=1)
    pipedrive.refused_subjects = {"Gist 0"}

    problems = sync("--concurrency", "1").problems
    let_time_pass(timedelta(hours=1))
    problems += sync("--concurrency", "1").problems

    assert not any("refused user" in problem for problem in problems)
    assert Gist.objects.get(description="Gist 0").push_state == "rejected"


def test_the_owner_cannot_be_read(contact: int, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings) -> None:
    configured.PIPEDRIVE_ACTIVITY_OWNER = "person"
    sync("--max-activities", "1")
    pipedrive.fail("get_person", respond(403, '{"success": false, "error": "no"}'))

    assert sync().counts["gists_pushed"] == 1


@pytest.mark.parametrize("value", ["Token", "0", "-1", "1.5", "ada", "1" * 19])
def test_an_invalid_owner_is_rejected(value: str) -> None:
    with pytest.raises(ValueError, match="must be token, person or the id"):
        owner(value)
