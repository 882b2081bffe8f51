"""What can happen to a push besides succeeding."""

import threading

import pytest
from django.db import connection
from pytest_django import Settings
from rest_framework.test import APIClient

from people.models import Gist, Person
from tests.conftest import Sync, wait_until
from tests.standins import GitHubStandIn, PipedriveStandIn, late, reset, respond

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def linked(ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync) -> int:
    """Ada has one activity; the id of her Pipedrive person."""
    github.publish("ada", "First")
    sync()
    ada.refresh_from_db()
    return ada.pipedrive_id or 0


def test_a_deleted_pipedrive_person_is_replaced_once(
    linked: int, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    pipedrive.delete_person(linked)
    ids = [github.publish("ada", "Second"), github.publish("ada", "Third")]

    summary = sync()

    ada.refresh_from_db()
    assert summary.code == 0, summary
    assert ada.pipedrive_id not in (None, linked)
    assert [row["subject"] for row in pipedrive.activities_of(ada.pipedrive_id or 0)] == ["Second", "Third"]
    assert pipedrive.gist_ids()[1:] == ids
    assert f"Pipedrive person {linked} was deleted or merged" in summary.json["problems"][0]


def test_the_activities_of_the_person_it_was_merged_into_are_recognised(
    linked: int, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    second = github.publish("ada", "Second")
    pipedrive.fail("create_activity", reset(after=True))
    sync("--max-activities", "1")
    merged_into = pipedrive.add_person("Countess", email="ada@example.com")
    pipedrive.delete_person(linked)
    for row in pipedrive.activities.values():
        row["person_id"] = merged_into

    sync()

    ada.refresh_from_db()
    assert ada.pipedrive_id == merged_into
    assert pipedrive.gist_ids().count(second) == 1
    assert set(Gist.objects.values_list("push_state", flat=True)) == {"pushed"}


def test_a_cut_off_push_is_looked_for_where_it_was_filed(
    linked: int, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada", "Second")
    pipedrive.fail("create_activity", reset(after=True))
    sync()
    Person.objects.update(pipedrive_id=pipedrive.add_person("Somebody chose another"))

    sync()

    assert len(pipedrive.activities) == 2
    assert set(Gist.objects.values_list("push_state", flat=True)) == {"pushed"}


def test_a_pipedrive_person_whom_the_token_may_not_see_rejects_nothing(
    linked: int, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada", "Second")
    for act in ("create_activity", "get_person"):
        pipedrive.fail(act, respond(403, '{"error": "Forbidden"}'))

    summary = sync()

    ada.refresh_from_db()
    assert (summary.code, ada.pipedrive_id) == (3, linked)
    assert "may the token's user see it?" in ada.last_error
    assert Gist.objects.latest("id").push_state == "pending"


def test_an_unknown_activity_type_is_told_with_the_types_there_are(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> None:
    configured.PIPEDRIVE_ACTIVITY_TYPE = "lunch"  # It exists, but is switched off.
    github.publish("ada")

    summary = sync()

    assert (summary.code, Gist.objects.get().push_state) == (78, "pending")
    assert summary.json["problems"] == [
        "PIPEDRIVE_ACTIVITY_TYPE is 'lunch', which does not exist at Pipedrive. Available: call, meeting, task"
    ]
    assert pipedrive.persons == {}


def test_1500_gists_with_a_backfill_of_ten_make_ten_and_the_rest_later(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> None:
    configured.BACKFILL = "10"
    for number in range(1500):
        github.publish("ada", f"Gist {number}")
    first = sync()

    put_back = Gist.objects.push_again()
    second = sync("--max-activities", "40")

    assert (first.counts["gists_pushed"], first.counts["gists_skipped"], put_back) == (10, 1490, 1490)
    assert second.counts["gists_pushed"] == 40
    assert len(set(pipedrive.gist_ids())) == len(pipedrive.activities) == 50


def test_attempts_and_reasons_are_kept(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada")
    pipedrive.fail("create_activity", respond(400, '{"error": "odd"}'))
    sync()
    rejected = Gist.objects.get()

    Gist.objects.push_again()
    sync()

    pushed = Gist.objects.get()
    assert (rejected.push_state, rejected.push_attempts, rejected.push_error[-3:]) == ("rejected", 1, "odd")
    assert (pushed.push_state, pushed.push_attempts, pushed.push_error) == ("pushed", 2, "")


def test_another_pipedrive_person_given_during_the_run_is_kept(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, api: APIClient
) -> None:
    github.publish("ada")
    chosen = pipedrive.add_person("Somebody chose this one")
    pipedrive.fail("search_persons", late(0.5))

    def choose() -> None:
        wait_until(lambda: pipedrive.counts["search_persons"] > 0)
        api.patch("/api/v1/people/ada", {"pipedrive_id": chosen}, format="json")
        connection.close()

    other = threading.Thread(target=choose)
    other.start()
    sync()
    other.join()
    sync()

    ada.refresh_from_db()
    assert ada.pipedrive_id == chosen
    assert len(pipedrive.activities_of(chosen)) == len(pipedrive.activities) == 1
