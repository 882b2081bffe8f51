"""The people API: tracking, visits, replays, deletion."""

import threading
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from people.models import Gist, Person, Visit
from tests.conftest import get_error, run_concurrently
from tests.factories import create_gist, create_gists, create_person


@pytest.fixture
def tracked(db: None) -> Person:
    return create_person("Ada", name="Ada Lovelace", state="active")


@pytest.mark.both
@pytest.mark.django_db
@pytest.mark.parametrize("slash", ["", "/"], ids=["bare", "slash"])
@pytest.mark.parametrize("kind", ["json", "multipart"])
def test_a_person_is_tracked(api: APIClient, slash: str, kind: str) -> None:
    response = api.post(f"/api/v1/people{slash}", {"username": "ada"}, format=kind)

    assert response.status_code == 201
    assert response["Location"] == "http://testserver/api/v1/people/ada"
    assert (response.json()["github_username"], response.json()["state"], response.json()["backfill"]) == (
        "ada",
        "new",
        "",
    )


@pytest.mark.django_db
def test_a_person_is_tracked_with_a_form(api: APIClient) -> None:
    response = api.post(
        "/api/v1/people", "username=ada&backfill=none", content_type="application/x-www-form-urlencoded"
    )

    assert (response.status_code, response.json()["backfill"]) == (201, "none")


@pytest.mark.both
@pytest.mark.django_db
@pytest.mark.parametrize("name", ["@Ada", "https://github.com/ADA", "gist.github.com/ada/", " ada "])
def test_a_login_is_accepted_in_each_notation(api: APIClient, tracked: Person, name: str) -> None:
    response = api.post("/api/v1/people", {"username": name}, format="json")

    assert response.status_code == 400
    assert get_error(response) == {
        "code": "already_tracked",
        "detail": "@Ada is already tracked.",
        "attr": "username",
        "person_url": "http://testserver/api/v1/people/Ada",
    }


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "username", "required"),
        ({"username": ""}, "username", "invalid_login"),
        ({"username": None}, "username", "null"),
        ({"username": "a b"}, "username", "invalid_login"),
        ({"username": "a" * 40}, "username", "invalid_login"),
        ({"username": "a" * 201}, "username", "invalid_login"),
        ({"username": ".."}, "username", "invalid_login"),
        ({"username": "a/b"}, "username", "invalid_login"),
        ({"username": "a%2eb"}, "username", "invalid_login"),
        ({"username": "a\0"}, "username", "invalid_login"),
        ({"username": "https://github.com/ada/repository"}, "username", "invalid_login"),
        ({"username": ["ada"]}, "username", "invalid_login"),
        ({"username": "ada", "pipedrive_id": -1}, "pipedrive_id", "min_value"),
        ({"username": "ada", "pipedrive_id": 2**63}, "pipedrive_id", "max_value"),
        ({"username": "ada", "pipedrive_id": "x"}, "pipedrive_id", "invalid"),
        ({"username": "ada", "backfill": "some"}, "backfill", "invalid_backfill"),
        ({"username": "ada", "backfill": "2026-02-30"}, "backfill", "invalid_backfill"),
        (["ada"], None, "invalid"),
    ],
    ids=str,
)
def test_invalid_input_is_rejected_with_the_field(api: APIClient, body: Any, field: str | None, code: str) -> None:
    response = api.post("/api/v1/people", body, format="json")

    assert response.status_code == 400
    assert (get_error(response)["attr"], get_error(response)["code"]) == (field, code)
    assert not Person.objects.exists()


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_concurrent_posts_create_one_person(db: None) -> None:
    ready, responses = threading.Barrier(8), []

    def post() -> None:
        ready.wait()
        responses.append(APIClient().post("/api/v1/people", {"username": "ada"}, format="json").status_code)

    run_concurrently(post, 8)

    assert sorted(responses) == [201] + [400] * 7
    assert Person.objects.count() == 1


@pytest.mark.both
def test_a_visit_returns_new_gists_and_moves_the_marker(api: APIClient, tracked: Person) -> None:
    first, second = create_gists(tracked, 2)
    before = api.get("/api/v1/people/ada").json()
    third = create_gist(tracked)

    after = api.get("/api/v1/people/ADA/").json()

    assert [gist["github_id"] for gist in before["gists"]] == [first.github_id, second.github_id]
    assert (before["last_visit"], before["cursor"]) == (None, second.id)
    assert [gist["github_id"] for gist in after["gists"]] == [third.github_id]
    assert after["last_visit"] is not None
    assert api.get("/api/v1/people/ada").json()["gists"] == []


@pytest.mark.parametrize("query", ["getAllGists=true", "since=0", "getAllGists=true&page_size=500"])
def test_a_replay_does_not_move_the_marker(api: APIClient, tracked: Person, query: str) -> None:
    create_gists(tracked, 2)
    api.get("/api/v1/people/ada?page_size=1")

    shown = api.get(f"/api/v1/people/ada?{query}").json()["gists"]

    assert len(shown) == 2
    assert len(api.get("/api/v1/people/ada").json()["gists"]) == 1


def test_head_does_not_move_the_marker(api: APIClient, tracked: Person) -> None:
    create_gists(tracked, 1)

    assert api.head("/api/v1/people/ada").status_code == 200
    assert len(api.get("/api/v1/people/ada").json()["gists"]) == 1
    assert Visit.objects.count() == 1


@pytest.mark.both
def test_a_visit_in_pages_returns_all_gists(api: APIClient, tracked: Person) -> None:
    gists = create_gists(tracked, 5)
    shown, address = [], "/api/v1/people/ada?page_size=2"
    while address:
        response = api.get(address).json()
        shown += [gist["id"] for gist in response["gists"]]
        address = response["next"]

    assert shown == [gist.id for gist in gists]


@pytest.mark.both
def test_a_replay_in_pages_returns_all_gists(api: APIClient, tracked: Person) -> None:
    gists = create_gists(tracked, 5)
    shown, address = [], "/api/v1/people/ada?getAllGists=true&page_size=2"
    while address:
        response = api.get(address).json()
        shown += [gist["id"] for gist in response["gists"]]
        address = response["next"]

    assert shown == [gist.id for gist in gists]
    assert not Visit.objects.exists()


@pytest.mark.parametrize("query", ["since=x", "since=-1", f"since={2**63}", "getAllGists=maybe", "page_size=0"])
def test_an_invalid_query_of_a_visit_is_rejected(api: APIClient, tracked: Person, query: str) -> None:
    response = api.get(f"/api/v1/people/ada?{query}")

    assert response.status_code == 400
    assert get_error(response)["attr"] == query.split("=")[0]


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_concurrent_visits_share_the_gists(db: None) -> None:
    person = create_person("ada")
    gists = create_gists(person, 60)
    shown: list[int] = []

    def visit() -> None:
        client = APIClient()
        while found := client.get("/api/v1/people/ada?page_size=5").json()["gists"]:
            shown.extend(gist["id"] for gist in found)

    run_concurrently(visit, 8)

    assert sorted(shown) == [gist.id for gist in gists]


def test_a_visit_has_the_fields_of_the_contract(api: APIClient, tracked: Person) -> None:
    create_gists(tracked, 1)

    response = api.get("/api/v1/people/ada").json()

    expected = "id github_username name email state pipedrive_id last_visit cursor created_at updated_at gists"
    assert set(expected.split()) <= set(response)
    assert set(response["gists"][0]) == {
        "id",
        "github_id",
        "description",
        "html_url",
        "pull_url",
        "truncated",
        "files",
        "github_created_at",
        "github_updated_at",
        "created_at",
        "updated_at",
        "removed_at",
        "push_state",
        "push_error",
        "push_explanation",
        "pipedrive_activity_id",
    }
    assert set(response["gists"][0]["files"][0]) == {"name", "raw_url", "language", "size"}


@pytest.mark.both
def test_deleting_a_person_deletes_gists_and_visits(api: APIClient, tracked: Person) -> None:
    create_gists(tracked, 1)
    api.get("/api/v1/people/ada")

    assert api.delete("/api/v1/people/ada/").status_code == 204
    assert (Person.objects.count(), Gist.objects.count(), Visit.objects.count()) == (0, 0, 0)


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["bob", "..", "a%00b", "%F0%9F%98%80", "a" * 500])
@pytest.mark.parametrize("method", ["get", "delete"])
def test_a_person_who_is_not_tracked_is_404(api: APIClient, method: str, name: str) -> None:
    response = getattr(api, method)(f"/api/v1/people/{name}")

    assert response.status_code == 404
    assert "is not tracked. Add it with POST /api/v1/people." in get_error(response)["detail"]


@pytest.mark.both
@pytest.mark.django_db
def test_people_are_listed_newest_first_with_counts_in_four_queries(
    api: APIClient, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(25):
        create_gists(create_person(f"person-{number}"), 2)

    with django_assert_max_num_queries(4):
        page = api.get("/api/v1/people?page_size=20").json()

    assert (page["count"], len(page["results"])) == (25, 20)
    assert page["results"][0]["github_username"] == "person-24"
    assert (page["results"][0]["gist_count"], page["results"][0]["pending_count"]) == (2, 2)
    assert "page=2" in page["next"]


@pytest.mark.both
@pytest.mark.django_db
def test_people_are_found_by_name(api: APIClient, tracked: Person) -> None:
    create_person("ben")

    assert [row["github_username"] for row in api.get("/api/v1/people?search=love").json()["results"]] == ["Ada"]
