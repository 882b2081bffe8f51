"""Pushes that do not simply succeed."""

from datetime import timedelta

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from people.models import Gist, Person
from tests.conftest import DuringRequest, Sync
from tests.factories import let_time_pass
from tests.standins import GitHubStandIn, PipedriveStandIn, respond

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_unknown_activity_type_is_reported_with_the_available_types(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> None:
    configured.PIPEDRIVE_ACTIVITY_TYPE = "lunch"  # It exists, but is switched off.
    github.publish("ada")

    summary = sync()

    assert (summary.code, Gist.objects.get().push_state) == (78, "pending")
    assert summary.problems == [
        "PIPEDRIVE_ACTIVITY_TYPE is 'lunch', which does not exist at Pipedrive. Available: call, meeting, task"
    ]
    assert pipedrive.persons == {}


@pytest.mark.slow("stores 1,449 gists")
def test_a_backfill_by_date_pushes_ten_of_1449_gists_and_the_rest_on_request(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> None:
    configured.BACKFILL = "2026-01-02"
    for number in range(1449):
        github.publish("ada", f"Gist {number}")
    first = sync()

    requeued = Gist.objects.push_again()
    second = sync("--max-activities", "40")

    assert (first.counts["gists_pushed"], first.counts["gists_skipped"], requeued) == (10, 1439, 1439)
    assert second.counts["gists_pushed"] == 40
    assert len(set(pipedrive.gist_ids())) == len(pipedrive.activities) == 50


def test_attempts_and_the_last_error_are_stored(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada")
    pipedrive.fail("create_activity", respond(400, '{"error": "odd"}'), times=2)
    sync()
    let_time_pass(timedelta(hours=1))
    sync()
    rejected = Gist.objects.get()

    Gist.objects.push_again()
    sync()

    pushed = Gist.objects.get()
    assert (rejected.push_state, rejected.push_attempts, rejected.push_error[-3:]) == ("rejected", 2, "odd")
    assert (pushed.push_state, pushed.push_attempts, pushed.push_error) == ("pushed", 3, "")


def test_a_pipedrive_id_set_during_the_run_is_kept(
    ada: Person,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    api: APIClient,
    during_request: DuringRequest,
) -> None:
    github.publish("ada")
    chosen = pipedrive.add_person("Chosen by a user")
    during_request(
        pipedrive,
        "search_persons",
        lambda: api.patch("/api/v1/people/ada", {"pipedrive_id": chosen}, format="json"),
    )

    sync()
    sync()

    ada.refresh_from_db()
    assert ada.pipedrive_id == chosen
    assert len(pipedrive.activities_of(chosen)) == len(pipedrive.activities) == 1


def test_a_person_relinked_between_two_pushes_is_continued_in_the_same_run(
    ada: Person,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    api: APIClient,
    during_request: DuringRequest,
) -> None:
    """The push that notices the new link is not sent, so it does not count for the limit."""
    for description in ("First", "Second"):
        github.publish("ada", description)
    chosen = pipedrive.add_person("Chosen by a user")
    during_request(
        pipedrive,
        "create_activity",
        lambda: api.patch("/api/v1/people/ada", {"pipedrive_id": chosen}, format="json"),
    )

    summary = sync("--max-activities", "2")

    assert (summary.code, summary.problems) == (0, [])
    assert [row["subject"] for row in pipedrive.activities_of(chosen)] == ["Second"]
    assert set(Gist.objects.values_list("push_state", flat=True)) == {"pushed"}


@pytest.mark.parametrize("nth", [1, 2], ids=["before the push", "during the push"])
def test_an_edit_stored_after_the_gist_was_read_reaches_the_activity(
    nth: int,
    ada: Person,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    configured: Settings,
    during_request: DuringRequest,
) -> None:
    configured.PUSH_EDITS = True
    github.publish("ada", "First")
    github.publish("ada", "Draft")

    def store_edit() -> None:  # As a poll of this run.
        gist = Gist.objects.get(description="Draft")
        gist.description, gist.github_updated_at = "Final", gist.github_updated_at + timedelta(hours=1)
        gist.activity_outdated = gist.push_state == "started"
        gist.save(update_fields=["description", "github_updated_at", "activity_outdated"])

    during_request(pipedrive, "create_activity", store_edit, nth=nth)
    sync()
    sync()

    assert [activity["subject"] for activity in pipedrive.activities.values()] == ["First", "Final"]
    assert not Gist.objects.filter(activity_outdated=True).exists()


def test_a_rejected_edit_is_tried_again_in_the_next_run(
    linked: int, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> None:
    configured.PUSH_EDITS = True
    github.edit("ada", Gist.objects.get().github_id, description="Final")
    pipedrive.fail("edit_activity", respond(400, '{"error": "odd"}'))

    rejected = sync()
    error = Gist.objects.get().push_error
    sync()

    (activity,) = pipedrive.activities.values()
    assert ("odd" in error, "odd" in rejected.problems[0]) == (True, True)
    assert (activity["subject"], Gist.objects.get().push_error) == ("Final", "")
