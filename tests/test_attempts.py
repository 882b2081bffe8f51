"""Each push attempt is a row, and each gist explains in one sentence why it is, or is not, in Pipedrive."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from people.models import Gist, Person
from sync.models import PushAttempt, SyncRun
from tests.conftest import Sync
from tests.factories import create_gist, create_gists, create_person
from tests.standins import Fault, GitHubStandIn, PipedriveStandIn, reset, respond

pytestmark = pytest.mark.django_db
OUTCOMES: dict[str, tuple[Fault | None, str, int | None]] = {
    # name: (what happens to the POST, the outcome, the HTTP status)
    "created": (None, "succeeded", None),
    "refused": (respond(400, '{"success": false, "error": "subject is odd"}'), "refused", 400),
    "refused with 200": (respond(200, '{"success": false, "error": "subject is odd"}'), "refused", 200),
    "lost": (reset(after=True), "unknown", None),
    "server error": (respond(500), "unknown", None),
    "blocked": (respond(403, "<html>blocked"), "not_sent", None),
}


def attempts_of(api: APIClient) -> list[dict[str, object]]:
    gist = Gist.objects.get()
    response = api.get(f"/api/v1/people/ada/gists/{gist.github_id}/attempts")
    assert response.status_code == 200
    results: list[dict[str, object]] = response.json()["results"]
    return results


@pytest.mark.parametrize("name", OUTCOMES)
def test_an_attempt_is_recorded_with_its_outcome(
    name: str, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, api: APIClient
) -> None:
    fault, outcome, status = OUTCOMES[name]
    github.publish("ada")
    if fault:
        pipedrive.fail("create_activity", fault)

    run = sync().json["run"]

    (attempt,) = attempts_of(api)
    assert (attempt["run"], attempt["kind"], attempt["outcome"], attempt["status"]) == (run, "create", outcome, status)
    assert bool(attempt["message"]) == (outcome != "succeeded")
    assert (attempt["activity_id"] is None) == (outcome != "succeeded")
    assert isinstance(attempt["duration"], float)


def test_attempts_are_listed_newest_first_with_edits_and_what_was_found(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, api: APIClient, configured: Settings
) -> None:
    configured.PUSH_EDITS = True
    github.publish("ada")
    pipedrive.fail("create_activity", reset(after=True))
    sync()
    sync()
    github.edit("ada", Gist.objects.get().github_id, description="Edited")
    sync()

    listed = [(attempt["kind"], attempt["outcome"]) for attempt in attempts_of(api)]
    assert listed == [("update", "succeeded"), ("create", "found"), ("create", "unknown")]


def test_a_push_costs_at_most_one_more_insert(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    for _ in range(5):
        github.publish("ada")

    sync("--concurrency", "1")

    assert PushAttempt.objects.count() == 5


def test_old_attempts_are_deleted_at_the_end_of_the_first_run_of_a_day(
    ada: Person, github: GitHubStandIn, sync: Sync
) -> None:
    github.publish("ada")
    sync()
    for days in (89, 91):
        PushAttempt.objects.create(gist=Gist.objects.get(), attempted_at=timezone.now() - timedelta(days=days))
    SyncRun.objects.update(started_at=timezone.now() - timedelta(days=1))  # The first run of a day deletes them.

    sync()

    assert PushAttempt.objects.count() == 2


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/people/ada/gists/nothing/attempts", 404),
        ("/api/v1/people/unknown/gists/nothing/attempts", 404),
        ("/api/v1/people/ada/gists/{id}/attempts/", 200),
        ("/api/v1/people/ADA/gists/{id}/attempts?page=1&page_size=1", 200),
        ("/api/v1/people/ada/gists/{id}/attempts?odd=1", 400),
        ("/api/v1/people/ada/gists/{id}/attempts?page=9", 404),
    ],
)
def test_attempts_in_the_api(path: str, status: int, api: APIClient) -> None:
    gist = create_gist(create_person())

    assert api.get(path.format(id=gist.github_id)).status_code == status
    assert api.post(path.format(id=gist.github_id)).status_code == 405


def test_the_attempts_go_with_their_gist(ada: Person, github: GitHubStandIn, sync: Sync, api: APIClient) -> None:
    github.publish("ada")
    sync()

    api.delete("/api/v1/people/ada")

    assert PushAttempt.objects.count() == 0


EXPLANATIONS: dict[str, tuple[dict[str, object], str]] = {
    "new": ({}, "It waits for the next run."),
    "failed": (
        {"push_error": "No connection."},
        "It waits for the next run, because the last one failed. No connection.",
    ),
    "started": ({"push_state": "started"}, "It was sent without a clear response."),
    "pushed": ({"push_state": "pushed", "pipedrive_activity_id": 7}, "It is in Pipedrive as activity 7."),
    "deleted": (
        {"push_state": "pushed", "pipedrive_activity_id": 7, "push_error": "The activity was deleted."},
        "Its activity in Pipedrive is 7. The activity was deleted.",
    ),
    "outdated": (
        {"push_state": "pushed", "pipedrive_activity_id": 7, "activity_outdated": True},
        "Its last edit may not be there yet.",
    ),
    "rejected": ({"push_state": "rejected", "push_error": "odd"}, "Pipedrive rejected it."),
    "skipped": ({"push_state": "skipped"}, "the backfill choice is none."),
    "undone": ({"push_state": "skipped", "push_error": "Undone: activity 7"}, "Undone: activity 7"),
}


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_a_gist_explains_itself_in_one_sentence(name: str, api: APIClient) -> None:
    columns, expected = EXPLANATIONS[name]
    create_gist(create_person(backfill="none"), **columns)

    (gist,) = api.get("/api/v1/people/ada/gists").json()["results"]

    assert expected in gist["push_explanation"]


def test_a_person_s_trouble_explains_the_waiting_gists(api: APIClient) -> None:
    create_gist(create_person(push_error="Pipedrive person 7 cannot be found (404)"))

    (gist,) = api.get("/api/v1/people/ada").json()["gists"]

    assert "Pipedrive person 7 cannot be found" in gist["push_explanation"]


@pytest.mark.parametrize("path", ["/api/v1/people/ada?getAllGists=true", "/api/v1/people/ada/gists"])
def test_the_explanations_cost_no_statements(path: str, api: APIClient) -> None:
    person = create_person()
    api.get(path)  # creates the consumer and its marker
    counts = []
    for number in (1, 30):
        create_gists(person, number, push_state="skipped")
        with CaptureQueriesContext(
            connection,
        ) as captured:
            api.get(path)
        counts.append(len(captured))

    assert counts[0] == counts[1]
