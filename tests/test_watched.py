"""Watched people are polled by the frequent run of requested people, too."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from people.models import Gist, Person
from tests.conftest import Sync, get_error
from tests.factories import create_person, track
from tests.standins import GitHubStandIn, PipedriveStandIn

pytestmark = pytest.mark.django_db


def test_a_watched_person_s_gist_is_pushed_by_the_frequent_run(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, api: APIClient
) -> None:
    track(github, "ben")
    sync()
    response = api.patch("/api/v1/people/ada", {"watched": True}, format="json")
    for login in ("ada", "ben"):
        github.publish(login, f"News of {login}")

    summary = sync("--requested")

    assert (response.status_code, response.json()["watched"]) == (200, True)
    assert (summary.code, summary.counts["people_polled"]) == (0, 1)
    assert [row["subject"] for row in pipedrive.activities.values()] == ["News of ada"]


def test_a_watched_person_is_polled_once_in_a_run_and_for_free(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    sync()
    Person.objects.update(watched=True)
    used = github.used[True]

    for _ in range(3):
        assert sync("--requested").counts["people_polled"] == 1

    assert github.used[True] == used  # 304 costs nothing with a token


@pytest.mark.parametrize("state", ["paused", "gone", "conflict"])
def test_watched_people_who_are_not_polled_are_not_polled(state: str, ada: Person, sync: Sync) -> None:
    Person.objects.update(watched=True, state=state)

    assert sync("--requested").counts["people_polled"] == 0


def test_the_backoff_holds_for_watched_people(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    sync()
    Person.objects.update(watched=True, next_attempt_at="2099-01-01T00:00:00Z", failures=3)
    assert sync("--requested").counts["people_polled"] == 1  # a pause beyond any is a mistake


def test_people_are_added_and_listed_as_watched(api: APIClient) -> None:
    added = api.post("/api/v1/people", {"username": "ada", "watched": True}, format="json")
    create_person("ben")

    assert (added.status_code, added.json()["watched"]) == (201, True)
    for wanted, expected in (("true", ["ada"]), ("false", ["ben"])):
        listed = api.get(f"/api/v1/people?watched={wanted}").json()["results"]
        assert [person["github_username"] for person in listed] == expected
    assert api.get("/api/v1/people?watched=maybe").status_code == 400


@pytest.mark.parametrize("value", ["true", "yes", 1, 0, None, [], {}])
def test_watched_is_true_or_false(value: Any, api: APIClient) -> None:
    create_person()

    response = api.patch("/api/v1/people/ada", {"watched": value}, format="json")

    assert (response.status_code, get_error(response)["attr"]) == (400, "watched")


def test_a_form_may_leave_watched_out(api: APIClient) -> None:
    create_person(watched=True)

    response = api.patch("/api/v1/people/ada", {"backfill": "none"}, format="multipart")

    assert (response.status_code, response.json()["watched"]) == (200, True)
    assert Gist.objects.count() == 0
