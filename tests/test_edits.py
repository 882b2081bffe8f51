"""PUSH_EDITS: edited gists reach their activities, whatever happens in between."""

import pytest
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from people.models import Gist, Person
from tests.conftest import Sync
from tests.factories import create_person, end_pauses, lose_database, track
from tests.standins import Fault, GitHubStandIn, PipedriveStandIn, reset, respond

pytestmark = pytest.mark.django_db


@pytest.fixture
def pushed(ada: Person, github: GitHubStandIn, sync: Sync, configured: Settings) -> str:
    """The id of Ada's gist, which has its activity."""
    configured.PUSH_EDITS = True
    gist_id = github.publish("ada", "Draft")
    sync()
    return gist_id


def notes(pipedrive: PipedriveStandIn) -> list[str]:
    return [row["subject"] for row in pipedrive.activities.values() if not row["is_deleted"]]


@pytest.mark.parametrize("reason", ["the database was lost", "the person was not tracked"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_edit_reaches_the_activity_that_is_found_again(
    when: str,
    reason: str,
    pushed: str,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    api: APIClient,
) -> None:
    """`when`: before or after an edit by a colleague, which moves the link to the gist down."""
    if when == "before":
        pipedrive.edit_activity(1 + max(pipedrive.persons), note=f"<p>Called</p>{next_note(pipedrive)}")
    github.edit("ada", pushed, description="Final")
    if reason == "the database was lost":
        lose_database()
    else:
        api.delete("/api/v1/people/ada")
    create_person("ada")

    for _ in range(2):
        summary = sync()

    assert (summary.code, notes(pipedrive)) == (0, ["Final"])
    assert not Gist.objects.filter(activity_outdated=True).exists()


def next_note(pipedrive: PipedriveStandIn) -> str:
    (row,) = pipedrive.activities.values()
    return str(row["note"])


def test_an_unchanged_gist_that_is_found_again_is_not_updated(
    pushed: str, pipedrive: PipedriveStandIn, sync: Sync, api: APIClient
) -> None:
    api.delete("/api/v1/people/ada")
    create_person("ada")

    sync()

    assert (Gist.objects.get().push_state, pipedrive.requests_to("edit_activity")) == ("pushed", [])


def test_an_edit_during_an_unknown_push_reaches_the_activity(
    pushed: str, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    second = github.publish("ada", "Second draft")
    pipedrive.fail("create_activity", reset(after=True))
    sync()
    github.edit("ada", second, description="Second final")

    for _ in range(2):
        sync()

    assert notes(pipedrive) == ["Draft", "Second final"]


def move_to(github: GitHubStandIn, company: str) -> None:
    """Ada works there now, and her profile is due."""
    next(iter(github.accounts.values())).company = company
    Person.objects.update(full_read_at=None)


def test_another_company_makes_no_activity_outdated(
    pushed: str, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    move_to(github, "Engines")
    github.publish("ada", "Second")

    sync()

    assert [row["note"].count("Company: Engines") for row in pipedrive.activities.values()] == [0, 1]
    assert pipedrive.requests_to("edit_activity") == []
    assert not Gist.objects.filter(activity_outdated=True).exists()


def test_an_edited_gist_shows_what_its_author_is_now(
    pushed: str, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    move_to(github, "Engines")
    github.edit("ada", pushed, description="Final")

    sync()

    assert notes(pipedrive) == ["Final"]
    assert "Company: Engines" in next_note(pipedrive)


@pytest.mark.parametrize("edit", ["none", "a colleague wrote into it", "the line of the author was removed"])
@pytest.mark.parametrize("reason", ["the database was lost", "the person was not tracked"])
def test_a_note_that_is_found_again_is_not_overwritten_for_another_company(
    reason: str,
    edit: str,
    pushed: str,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    api: APIClient,
) -> None:
    """Without the line: as activities from before there was one."""
    note = next_note(pipedrive)
    edits = {"none": note, "a colleague wrote into it": f"<p>Called</p>{note}<p>Will call again</p>"}
    note = edits.get(edit) or note[: note.index("<p>GitHub profile")]
    pipedrive.edit_activity(1 + max(pipedrive.persons), note=note)
    move_to(github, "Engines")
    if reason == "the database was lost":
        lose_database()
    else:
        api.delete("/api/v1/people/ada")
    create_person("ada")

    for _ in range(2):
        assert sync().code == 0

    assert (next_note(pipedrive), pipedrive.requests_to("edit_activity")) == (note, [])
    assert list(Gist.objects.values_list("push_state", "activity_outdated")) == [("pushed", False)]


FAULTS: dict[str, Fault] = {
    "404 of a gateway": respond(404, "<html>", {"content-type": "text/html"}),
    "404 of Pipedrive": respond(404, '{"success": false, "error": "Not found"}'),
    "400": respond(400, '{"success": false, "error": "odd"}'),
    "403": respond(403, '{"success": false, "error": "no"}'),
    "200 without success": respond(200, '{"success": false, "error": "odd"}'),
    "200 without a record": respond(200, '{"success": true, "data": null}'),
    "200 with another record": respond(200, '{"success": true, "data": {"id": 4711}}'),
    "204": respond(204),
    "500": respond(500),
    "reset": reset(),
    "block": respond(403, "<html>blocked", {"content-type": "text/html"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_edit_that_could_not_be_written_stays_outdated_until_it_is(
    fault: str, pushed: str, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.edit("ada", pushed, description="Final")
    pipedrive.fail("edit_activity", FAULTS[fault], times=9)

    sync()
    is_outdated = Gist.objects.get().activity_outdated
    pipedrive.heal()
    end_pauses()
    sync()

    assert is_outdated
    assert notes(pipedrive) == ["Final"]
    assert (Gist.objects.get().activity_outdated, Gist.objects.get().push_error) == (False, "")


def test_a_deleted_activity_is_not_updated_for_ever(
    pushed: str, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    pipedrive.delete_activity(max(pipedrive.activities))
    github.edit("ada", pushed, description="Final")

    for _ in range(3):
        assert sync().code == 0

    gist = Gist.objects.get()
    assert (gist.activity_outdated, len(pipedrive.requests_to("edit_activity"))) == (False, 1)
    assert "deleted in Pipedrive" in gist.push_explanation


def test_an_edit_that_always_fails_waits_longer_each_time(
    pushed: str, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.edit("ada", pushed, description="Final")
    pipedrive.fail("edit_activity", respond(400, '{"success": false, "error": "odd"}'), times=99)
    for _ in range(5):
        sync()

    gist = Gist.objects.get()
    assert len(pipedrive.requests_to("edit_activity")) == 3
    assert gist.activity_outdated
    assert gist.next_edit_at is not None
    assert gist.next_edit_at > timezone.now()

    github.publish("ada", "New")
    assert sync().counts["gists_pushed"] == 1


def test_a_missing_permission_for_updates_ends_this_part_only(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> None:
    configured.PUSH_EDITS = True
    ids = {f"person-{number}": track_with_gist(github, f"person-{number}") for number in range(12)}
    sync()
    for login, gist_id in ids.items():
        github.edit(login, gist_id, description="Final")
    pipedrive.forbidden.add("edit_activity")

    summary = sync("--concurrency", "1")

    assert summary.code == 78
    assert len(pipedrive.requests_to("edit_activity")) == 10
    pipedrive.forbidden.clear()
    assert sync().code == 0
    assert set(notes(pipedrive)) == {"Final"}


def track_with_gist(github: GitHubStandIn, login: str) -> str:
    track(github, login)
    return github.publish(login, "Draft")
