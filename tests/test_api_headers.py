"""Caching, conditional requests, rate limits and formats of the API; paging by cursor; replays of visits."""

import csv
import io
import json
import re
from typing import Any

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from people.api.renderers import JsonRenderer
from people.api.serializers import FeedGistSerializer, GistSerializer, PersonSerializer
from people.feed import read_feed
from people.models import Gist, Person, Visit
from people.representations import read_people, represent_gists, select_gists
from tests.conftest import get_error
from tests.factories import create_gist, create_gists, create_key, create_people, create_person

pytestmark = pytest.mark.django_db
REVALIDATED = [
    "/api/v1/people",
    "/api/v1/people?after=0",
    "/api/v1/people/ada/gists",
    "/api/v1/gists?after=0",
    "/api/v1/status",
    "/api/v1/sync-runs",
    "/api/v1/me",
]


@pytest.fixture
def ada(db: None) -> Person:
    return create_person("ada", name="Ada Lovelace", state="active")


# --- caching ---


@pytest.mark.parametrize("path", [*REVALIDATED, "/schema"])
def test_an_unchanged_response_is_304(path: str, ada: Person, api: APIClient) -> None:
    create_gist(ada)
    first = api.get(path)

    second = api.get(path, HTTP_IF_NONE_MATCH=first["ETag"])

    assert (first.status_code, second.status_code, second.content) == (200, 304, b"")
    assert second["ETag"] == first["ETag"]


@pytest.mark.parametrize("path", REVALIDATED)
def test_a_list_may_be_stored_and_must_be_revalidated(path: str, ada: Person, api: APIClient) -> None:
    assert api.get(path)["Cache-Control"] == "private, no-cache"


def test_a_changed_response_has_another_etag(ada: Person, api: APIClient) -> None:
    before = api.get("/api/v1/people")
    create_gist(ada)

    after = api.get("/api/v1/people", HTTP_IF_NONE_MATCH=before["ETag"])

    assert (after.status_code, after["ETag"] != before["ETag"]) == (200, True)


@pytest.mark.parametrize("etag", ["*", '"x"', 'W/"x"'])
def test_a_visit_is_never_304(etag: str, ada: Person, api: APIClient) -> None:
    gist = create_gist(ada)

    response = api.get("/api/v1/people/ada", HTTP_IF_NONE_MATCH=etag)

    assert (response.status_code, response["Cache-Control"]) == (200, "private, no-store")
    assert [row["id"] for row in response.json()["gists"]] == [gist.id]
    assert not response.has_header("ETag")


@pytest.mark.parametrize(
    ("method", "path"), [("post", "/api/v1/people"), ("get", "/api/v1/people/bob"), ("get", "/api/v1/people?x=1")]
)
def test_an_error_is_not_stored(method: str, path: str, api: APIClient) -> None:
    response = getattr(api, method)(path)

    assert response.status_code >= 400
    assert response["Cache-Control"] == "private, no-store"


# --- replays ---


@pytest.mark.parametrize("processed", [0, 1, 2])
def test_a_lost_visit_can_be_replayed(processed: int, ada: Person, api: APIClient) -> None:
    """With what a client has: the cursor of the last response that it processed, or 0 before the first one."""
    gists, stored = create_gists(ada, 4), 0
    for _ in range(processed):
        response = api.get("/api/v1/people/ada?page_size=1").json()
        assert response["previous_cursor"] == stored  # nothing is lost
        stored = response["cursor"]
    api.get("/api/v1/people/ada?page_size=1")  # its response is lost

    received = api.get("/api/v1/people/ada").json()
    replayed = api.get(f"/api/v1/people/ada?since={stored}").json()

    assert received["previous_cursor"] > stored
    assert [row["id"] for row in received["gists"]] == [gist.id for gist in gists[processed + 1 :]]
    assert [row["id"] for row in replayed["gists"]] == [gist.id for gist in gists[processed:]]
    assert Visit.objects.get().cursor == replayed["cursor"] == gists[-1].id


@pytest.mark.parametrize("query", ["?getAllGists=true", "?since=0"])
def test_a_read_that_moves_no_marker_shows_where_it_is(query: str, ada: Person, api: APIClient) -> None:
    first, _ = create_gists(ada, 2)
    api.get("/api/v1/people/ada?page_size=1")

    assert api.get(f"/api/v1/people/ada{query}").json()["previous_cursor"] == first.id


# --- rate limits ---


def test_the_rate_limit_is_in_the_headers(settings: Settings, api: APIClient) -> None:
    settings.API_AUTH, settings.API_REQUESTS_PER_MINUTE = "key", 2
    api.credentials(HTTP_AUTHORIZATION=f"Api-Key {create_key('team')}")

    responses = [api.get("/api/v1/people") for _ in range(3)]

    statuses = [response.status_code for response in responses]
    remaining = [re.fullmatch(r'"default";r=(\d+);t=(\d+)', response["RateLimit"]) for response in responses]
    assert statuses == [200, 200, 429] or statuses == [200, 200, 200]  # A minute may begin in the middle.
    assert all(response["RateLimit-Policy"] == '"default";q=2;w=60' for response in responses)
    assert all(match and 0 < int(match[2]) <= 60 for match in remaining)
    if statuses[-1] == 429:
        assert [match and match[1] for match in remaining] == ["1", "0", "0"]
        assert responses[-1]["Retry-After"]


# --- paging by cursor ---


@pytest.mark.parametrize("deleted", ["before", "after", "the cursor's"])
def test_paging_by_cursor_skips_nobody_when_rows_are_deleted(deleted: str, api: APIClient) -> None:
    people = create_people(9)
    first = api.get("/api/v1/people?after=0&page_size=3").json()
    gone = {"before": people[0], "after": people[4], "the cursor's": people[2]}[deleted]
    gone.delete()

    rows, url = first["results"], first["next"]
    while url:
        page = api.get(url).json()
        rows, url = rows + page["results"], page["next"]

    expected = {person.github_username for person in people} - ({"person-4"} if deleted == "after" else set())
    assert {row["github_username"] for row in rows} == expected
    assert len(rows) == len(expected)


def test_a_cursor_continues_with_people_who_are_added_later(api: APIClient) -> None:
    create_people(2)
    end = api.get("/api/v1/people?after=0").json()
    create_person("ada")

    page = api.get(f"/api/v1/people?after={end['cursor']}").json()

    assert (end["next"], end["count"]) == (None, None)
    assert [row["github_username"] for row in page["results"]] == ["ada"]


@pytest.mark.parametrize("query", ["after=0&page=1", "after=0&ordering=id", "after=-1", "after=x", "after=" + "9" * 30])
def test_a_wrong_cursor_is_rejected(query: str, api: APIClient) -> None:
    assert api.get(f"/api/v1/people?{query}").status_code == 400


def test_a_cursor_works_with_filters(api: APIClient) -> None:
    create_people(3, state="active")
    create_person("ada", state="gone")

    page = api.get("/api/v1/people?after=0&state=active&page_size=2").json()

    assert [row["state"] for row in api.get(page["next"]).json()["results"]] == ["active"]


@pytest.mark.parametrize("path", ["/api/v1/sync-runs", "/api/v1/people/ada/gists"])
def test_other_lists_have_cursors_too(path: str, ada: Person, api: APIClient) -> None:
    create_gists(ada, 2)

    assert api.get(f"{path}?after=0").json()["count"] is None


@pytest.mark.parametrize("path", ["/api/v1/people", "/api/v1/status"])
def test_a_304_has_the_rate_limit(path: str, settings: Settings, api: APIClient) -> None:
    settings.API_AUTH, settings.API_REQUESTS_PER_MINUTE = "key", 1000
    api.credentials(HTTP_AUTHORIZATION=f"Api-Key {create_key('team')}")

    response = api.get(path, HTTP_IF_NONE_MATCH=api.get(path)["ETag"])

    assert (response.status_code, response.has_header("RateLimit")) == (304, True)
    assert response.has_header("RateLimit-Policy")


def test_refused_writes_are_counted(settings: Settings) -> None:
    settings.API_AUTH, settings.API_REQUESTS_PER_MINUTE = "key", 1
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Api-Key {create_key('team', read_only=True)}")

    statuses = {client.post("/api/v1/people", {"username": "ada"}).status_code for _ in range(4)}

    assert statuses == {403, 429}


# --- If-Match ---


@pytest.mark.parametrize("query", ["", "?forget=true"])
def test_an_older_version_is_not_deleted(query: str, ada: Person, api: APIClient) -> None:
    etag = api.get("/api/v1/people/ada").json()["etag"]
    api.patch("/api/v1/people/ada", {"pipedrive_id": 7})

    refused = api.delete(f"/api/v1/people/ada{query}", HTTP_IF_MATCH=etag)

    assert (refused.status_code, Person.objects.count()) == (412, 1)
    etag = api.get("/api/v1/people/ada").json()["etag"]
    assert api.delete(f"/api/v1/people/ada{query}", HTTP_IF_MATCH=etag).status_code == 204


def test_a_failed_condition_of_a_get_is_an_error_like_others() -> None:
    response = APIClient().get("/api/v1/people", HTTP_IF_MATCH='"x"')

    assert (response.status_code, response["Cache-Control"]) == (412, "private, no-store")
    assert get_error(response)["code"] == "precondition_failed"


@pytest.mark.parametrize("accept", ["text/csv", "application/json", "text/csv, */*;q=0.1", "*/*"])
@pytest.mark.parametrize("format_name", ["json", "csv"])
def test_the_parameter_decides_the_format_whatever_is_accepted(format_name: str, accept: str, api: APIClient) -> None:
    response = api.get(f"/api/v1/people?format={format_name}", HTTP_ACCEPT=accept)

    assert (response.status_code, format_name in response["Content-Type"]) == (200, True)


def test_a_change_of_an_older_version_is_rejected(ada: Person, api: APIClient) -> None:
    etag = api.get("/api/v1/people").json()["results"][0]["etag"]
    first = api.patch("/api/v1/people/ada", {"pipedrive_id": 7}, HTTP_IF_MATCH=etag)

    second = api.patch("/api/v1/people/ada", {"pipedrive_id": 8}, HTTP_IF_MATCH=etag)
    third = api.patch("/api/v1/people/ada", {"pipedrive_id": 9}, HTTP_IF_MATCH=first["ETag"])

    assert (first.status_code, second.status_code, third.status_code) == (200, 412, 200)
    assert Person.objects.get().pipedrive_id == 9


@pytest.mark.parametrize("change", [{"state": "paused"}, {"backfill": "all"}, {"pipedrive_id": 3}])
def test_each_change_makes_another_version(change: dict[str, Any], ada: Person, api: APIClient) -> None:
    before = api.get("/api/v1/people/ada").json()["etag"]

    after = api.patch("/api/v1/people/ada", change, format="json").json()["etag"]

    assert after != before
    assert api.get("/api/v1/people/ada").json()["etag"] == after


@pytest.mark.parametrize(
    ("header", "status"), [("*", 200), ('"x"', 412), ('"x", {etag}', 200), ("W/{etag}", 412), ("x", 412)]
)
def test_if_match_is_compared_as_http_says(header: str, status: int, ada: Person, api: APIClient) -> None:
    etag = api.get("/api/v1/people/ada").json()["etag"]

    response = api.patch("/api/v1/people/ada", {"pipedrive_id": 7}, HTTP_IF_MATCH=header.format(etag=etag))

    assert response.status_code == status


def test_a_poll_makes_no_other_version(ada: Person, api: APIClient) -> None:
    before = api.get("/api/v1/people/ada").json()["etag"]
    Person.objects.update(name="Countess", last_error="x", failures=3)

    assert api.get("/api/v1/people/ada").json()["etag"] == before


# --- CSV ---


@pytest.mark.parametrize(
    ("query", "accept"),
    [
        ("?format=csv", "*/*"),
        ("", "text/csv"),
        ("", "text/csv, */*;q=0.1"),
        ("?page=7&page_size=1", "text/csv"),
    ],
)
def test_people_are_csv_by_parameter_or_accept(query: str, accept: str, api: APIClient) -> None:
    create_people(3)

    response = api.get(f"/api/v1/people{query}", HTTP_ACCEPT=accept)

    assert response["Content-Type"].startswith("text/csv")
    text = b"".join(response).decode()
    assert len(list(csv.DictReader(io.StringIO(text)))) == 3


@pytest.mark.parametrize(("query", "status"), [("?x=1", 400), ("?state=odd", 400), ("?format=xml", 400)])
def test_an_error_is_json_also_for_a_client_that_accepts_csv(query: str, status: int, api: APIClient) -> None:
    response = api.get(f"/api/v1/people{query}", HTTP_ACCEPT="text/csv")

    assert (response.status_code, response["Content-Type"]) == (status, "application/json")
    assert response.json()


@pytest.mark.parametrize("accept", ["application/xml", "text/html"])
def test_other_formats_are_not_acceptable(accept: str, api: APIClient) -> None:
    assert api.get("/api/v1/people", HTTP_ACCEPT=accept).status_code == 406


# --- the copies of columns are what the serializers describe ---


@pytest.mark.parametrize(
    "fields",
    [
        {"push_state": "pending"},
        {"push_state": "pending", "push_error": "It failed."},
        {"push_state": "started"},
        {"push_state": "pushed", "pipedrive_activity_id": 7},
        {"push_state": "pushed", "pipedrive_activity_id": 7, "push_error": "It was deleted."},
        {"push_state": "pushed", "pipedrive_activity_id": 7, "activity_outdated": True},
        {"push_state": "rejected", "push_error": "deal_id is required"},
        {"push_state": "skipped"},
        {"push_state": "skipped", "push_error": "Skipped by ben."},
    ],
    ids=str,
)
def test_gists_are_represented_as_described(fields: dict[str, Any], ada: Person) -> None:
    Person.objects.update(backfill="none", push_error="No owner.")
    gist = create_gist(ada, **fields)
    gist.refresh_from_db()

    (row,) = represent_gists(select_gists(Gist.objects.all()), {"backfill": "none", "push_error": "No owner."})
    ((feed_row,), _) = read_feed(0, 10)

    assert to_json(row) == to_json(GistSerializer(gist).data)
    assert to_json(feed_row) == to_json(FeedGistSerializer(gist).data)


def test_people_are_represented_as_described(ada: Person) -> None:
    create_gist(ada, push_state="rejected")
    create_gists(ada, 2)
    Person.objects.update(unreadable_gists=[{"id": "x", "reason": "y"}])
    person = Person.objects.with_counts().get()

    assert to_json(read_people([ada.pk])[0]) == to_json(PersonSerializer(person).data)


def to_json(row: Any) -> Any:
    """The values as the API renders them."""

    return json.loads(JsonRenderer().render(row))
