"""The feed: the gists of all people, each exactly once, whatever is lost or happens at the same time."""

import threading
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from people.models import Gist, Person
from tests.conftest import Sync, get_error
from tests.factories import create_gist, create_gists, create_key, create_people, create_person, track
from tests.standins import GitHubStandIn

pytestmark = [pytest.mark.django_db, pytest.mark.both]


@pytest.fixture
def consumer(settings: Settings) -> APIClient:
    settings.API_AUTH = "key"
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Api-Key {create_key('team', read_only=True)}")
    return client


def read(client: APIClient, query: str = "") -> dict[str, Any]:
    response = client.get(f"/api/v1/gists{query}")
    assert response.status_code == 200, response.content
    body: dict[str, Any] = response.json()
    return body


def acknowledge(client: APIClient, cursor: object, **options: Any) -> Any:
    return client.post("/api/v1/feed/ack", {"cursor": cursor, **options}, format="json")


def read_ids(client: APIClient, query: str = "") -> list[str]:
    return [gist["github_id"] for gist in read(client, query)["results"]]


def test_the_feed_has_the_gists_of_all_people_in_the_order_of_storing(consumer: APIClient) -> None:
    ada, ben = create_person("ada"), create_person("ben")
    stored = [create_gist(person) for person in (ada, ben, ada)]

    page = read(consumer)

    assert [(row["github_id"], row["person"]) for row in page["results"]] == [
        (gist.github_id, gist.person.github_username) for gist in stored
    ]
    assert (page["cursor"], page["next"]) == (stored[-1].pk, None)


def test_a_response_that_is_lost_loses_nothing(consumer: APIClient) -> None:
    gists = create_gists(create_person("ada"), 3)

    lost = read(consumer, "?page_size=2")
    again = read(consumer, "?page_size=2")
    acknowledged = acknowledge(consumer, again["cursor"])

    assert lost == again
    assert (acknowledged.status_code, acknowledged.json()) == (200, {"cursor": again["cursor"]})
    assert read_ids(consumer) == [gists[2].github_id]


@pytest.mark.parametrize(
    ("cursors", "force", "marker"),
    [
        ([3, 1], False, 3),  # an acknowledgement that comes late
        ([3, 3], False, 3),  # a repeated one
        ([3, 1], True, 1),
        ([1, 3], True, 3),
        ([0], False, 0),
    ],
    ids=str,
)
def test_the_marker_moves_backwards_only_by_force(
    cursors: list[int], force: bool, marker: int, consumer: APIClient
) -> None:
    first = create_gists(create_person("ada"), 4)[0].pk - 1

    for cursor in cursors:
        response = acknowledge(consumer, first + cursor, force=force)

    assert response.json() == {"cursor": first + marker if first + marker > 0 else 0}
    assert len(read_ids(consumer)) == 4 - marker


def test_a_form_may_leave_force_out(consumer: APIClient) -> None:
    assert consumer.post("/api/v1/feed/ack", {"cursor": 0}, format="multipart").status_code == 200


@pytest.mark.parametrize("force", ["true", "yes", 1, 0, None, [], {}])
def test_force_is_true_or_false(force: Any, consumer: APIClient) -> None:
    response = acknowledge(consumer, 0, force=force)

    assert (response.status_code, get_error(response)["attr"]) == (400, "force")


@pytest.mark.parametrize("body", [{}, {"cursor": -1}, {"cursor": "x"}, {"cursor": 2**63}, {"cursor": 10**9}, {"x": 1}])
def test_a_wrong_acknowledgement_moves_nothing(body: dict[str, Any], consumer: APIClient) -> None:
    create_gists(create_person("ada"), 2)

    response = consumer.post("/api/v1/feed/ack", body, format="json")

    assert response.status_code == 400
    assert len(read_ids(consumer)) == 2


def test_each_consumer_has_its_own_marker(consumer: APIClient) -> None:
    create_gists(create_person("ada"), 2)
    other = APIClient()
    other.credentials(HTTP_AUTHORIZATION=f"Api-Key {create_key('other')}")

    acknowledge(consumer, read(consumer)["cursor"])

    assert (len(read_ids(consumer)), len(read_ids(other))) == (0, 2)


def test_after_a_cursor_the_marker_does_not_matter(consumer: APIClient) -> None:
    gists = create_gists(create_person("ada"), 3)
    acknowledge(consumer, gists[-1].pk)

    assert read_ids(consumer, f"?after={gists[0].pk}") == [gist.github_id for gist in gists[1:]]
    assert len(read_ids(consumer, "?after=0")) == 3


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?push_state=rejected", [1]),
        ("?push_state=rejected&push_state=skipped", [1, 2]),
        ("?removed=true", [3]),
        ("?removed=false&page_size=2", [0, 1]),
        ("?created_after=2999-01-01T00:00:00Z", []),
    ],
)
def test_the_feed_has_the_filters_of_a_person_s_gists(query: str, expected: list[int], consumer: APIClient) -> None:
    person = create_person("ada")
    fields: list[dict[str, Any]] = [{}, {"push_state": "rejected"}, {"push_state": "skipped"}]
    gists = [create_gist(person, **columns) for columns in fields]
    gists.append(create_gist(person, removed_at=timezone.now()))

    assert read_ids(consumer, query) == [gists[index].github_id for index in expected]


@pytest.mark.parametrize(
    "query",
    ["after=-1", "after=x", "after=", "page_size=0", "page_size=1001", "page=1", "ordering=id", "push_state=odd"],
)
def test_a_wrong_parameter_of_the_feed_is_named(query: str, consumer: APIClient) -> None:
    response = consumer.get(f"/api/v1/gists?{query}")

    assert response.status_code == 400
    assert query.split("=")[0] in response.content.decode()


@pytest.mark.slow("stores 1,000 people")
def test_twenty_new_gists_among_a_thousand_people_take_two_requests(consumer: APIClient) -> None:
    people = create_people(1000)
    acknowledge(consumer, read(consumer)["cursor"])
    for person in people[::50]:
        create_gist(person)

    page = read(consumer)
    acknowledge(consumer, page["cursor"])

    assert (len(page["results"]), page["next"]) == (20, None)
    assert read_ids(consumer) == []


@pytest.mark.django_db(transaction=True)
def test_a_run_stores_the_gists_of_a_person_oldest_first(github: GitHubStandIn, sync: Sync, api: APIClient) -> None:
    track(github, "ben")
    track(github, "ada")
    published = [github.publish("ada", f"Gist {number}") for number in range(3)]
    github.publish("ben")

    sync()

    rows = read(api)["results"]
    assert [row["github_id"] for row in rows if row["person"] == "ada"] == published
    assert [row["id"] for row in rows] == list(Gist.objects.order_by("id").values_list("id", flat=True))


@pytest.mark.django_db(transaction=True)
def test_an_edit_does_not_bring_a_gist_again(github: GitHubStandIn, sync: Sync, api: APIClient, ada: Person) -> None:
    gist_id = github.publish("ada", "First")
    sync()
    cursor = read(api)["cursor"]
    github.edit("ada", gist_id, description="Second")
    sync()

    assert Gist.objects.get().description == "Second"
    assert read_ids(api, f"?after={cursor}") == []


# --- one cursor for visits and the feed ---


def test_the_cursor_of_a_visit_is_valid_for_the_feed(api: APIClient) -> None:
    ada, ben = create_person("ada"), create_person("ben")
    create_gists(ada, 2)
    later = [create_gist(person).github_id for person in (ben, ada)]

    cursor = api.get("/api/v1/people/ada?page_size=2").json()["cursor"]

    assert read_ids(api, f"?after={cursor}") == later
    assert acknowledge(api, cursor).json() == {"cursor": cursor}
    assert read_ids(api) == later


def test_the_cursor_of_the_feed_is_valid_for_a_visit(api: APIClient) -> None:
    ada, ben = create_person("ada"), create_person("ben")
    (_, _, third) = [create_gist(person) for person in (ada, ben, ada)]

    cursor = read(api, "?page_size=2")["cursor"]

    assert [row["id"] for row in api.get(f"/api/v1/people/ada?since={cursor}").json()["gists"]] == [third.pk]


def test_the_cursor_of_a_gist_that_was_deleted_can_be_acknowledged(api: APIClient) -> None:
    ada, ben = create_person("ada"), create_person("ben")
    create_gist(ada)
    create_gist(ben)
    cursor = read(api)["cursor"]
    api.delete("/api/v1/people/ben")

    assert acknowledge(api, cursor).json() == {"cursor": cursor}
    assert acknowledge(api, cursor + 1).status_code == 400
    later = create_gist(ada)
    assert read_ids(api) == [later.github_id]


def test_the_end_of_the_feed_is_the_newest_gist(api: APIClient) -> None:
    assert api.get("/api/v1/me").json()["feed_end"] == 0
    gists = create_gists(create_person("ada"), 2)
    create_gist(create_person("ben"))
    api.delete("/api/v1/people/ben")

    assert api.get("/api/v1/me").json()["feed_end"] == gists[-1].pk


# --- a reader beside a run ---


def store(person: Person, number: int) -> None:
    """Store three gists of the person, with two statements in one transaction, as a run does."""
    now = timezone.now()
    gists = [
        Gist(person=person, github_id=f"{person.pk:x}b{number:x}c{index}", github_created_at=now, github_updated_at=now)
        for index in range(3)
    ]
    with transaction.atomic():
        Gist.objects.bulk_create(gists, batch_size=2)


@pytest.mark.django_db(transaction=True)
def test_a_reader_beside_a_run_sees_each_gist_once(db: None) -> None:
    people, reader, seen = create_people(3), APIClient(), []
    writer = threading.Thread(target=write, args=(people,))
    writer.start()

    while True:
        is_last = not writer.is_alive()
        page = read(reader, "?page_size=7")
        seen += [gist["github_id"] for gist in page["results"]]
        acknowledge(reader, page["cursor"])
        if is_last and not page["results"]:
            break

    assert sorted(seen) == sorted(Gist.objects.values_list("github_id", flat=True))
    assert len(seen) == 3 * 3 * 20


def write(people: list[Person]) -> None:
    try:
        for number in range(20):
            for person in people:
                store(person, number)
    finally:
        connection.close()
