"""The feed: the gists of all people, each exactly once, whatever is lost or happens at the same time."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from people.feed import number_gists
from people.models import FeedCounter, Gist, Person
from tests.conftest import Sync
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
    assert (page["cursor"], page["next"]) == (stored[-1].feed_position, None)


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
    create_gists(create_person("ada"), 4)
    first = FeedCounter.newest() - 4

    for cursor in cursors:
        response = acknowledge(consumer, first + cursor, force=force)

    assert response.json() == {"cursor": first + marker if first + marker > 0 else 0}
    assert len(read_ids(consumer)) == 4 - marker


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
    acknowledge(consumer, gists[-1].feed_position)

    assert read_ids(consumer, f"?after={gists[0].feed_position}") == [gist.github_id for gist in gists[1:]]
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
def test_a_run_stores_gists_with_positions(github: GitHubStandIn, sync: Sync, api: APIClient, db: None) -> None:
    track(github, "ada", gists=3)
    track(github, "ben", gists=2)

    sync()

    assert set(Gist.objects.values_list("feed_position", flat=True)) == {1, 2, 3, 4, 5}
    assert FeedCounter.newest() == 5


@pytest.mark.django_db(transaction=True)
def test_an_edit_does_not_bring_a_gist_again(github: GitHubStandIn, sync: Sync, api: APIClient, ada: Person) -> None:
    gist_id = github.publish("ada", "First")
    sync()
    cursor = read(api)["cursor"]
    github.edit("ada", gist_id, description="Second")
    sync()

    assert Gist.objects.get().description == "Second"
    assert read_ids(api, f"?after={cursor}") == []


def test_a_lost_counter_continues_after_the_newest_gist() -> None:
    gist = create_gist(create_person("ada"))
    FeedCounter.objects.all().delete()

    assert FeedCounter.take(2)[0] == (gist.feed_position or 0) + 1


def test_a_cursor_that_a_consumer_kept_does_not_miss_what_is_stored_after_a_restored_backup(api: APIClient) -> None:
    person = create_person("ada")
    create_gists(person, 2)
    kept = read(api)["cursor"] + 1000  # of gists that were stored after the backup

    call_command("after_restore")
    gist = create_gist(person)

    assert read_ids(api, f"?after={kept}") == [gist.github_id]


# --- a reader beside writers ---


def store(person: Person, number: int, before_commit: Callable[[], None] = lambda: None) -> None:
    """Store three gists of the person, as a run does."""
    with transaction.atomic():
        Person.objects.select_for_update().get(pk=person.pk)
        gists = [
            Gist(
                person=person,
                github_id=f"{person.pk:x}b{number:x}c{index}",
                github_created_at=timezone.now(),
                github_updated_at=timezone.now(),
            )
            for index in range(3)
        ]
        number_gists(gists)
        Gist.objects.bulk_create(gists)
        before_commit()


@pytest.mark.django_db(transaction=True)
def test_a_reader_beside_three_writers_sees_each_gist_once(db: None) -> None:
    people = create_people(3)
    FeedCounter.take(0)  # The row exists in each migrated database.
    reader, seen = APIClient(), []
    writers = [threading.Thread(target=write, args=(person,)) for person in people]
    for writer in writers:
        writer.start()

    while True:
        is_last = not any(writer.is_alive() for writer in writers)
        page = read(reader, "?page_size=7")
        seen += [gist["github_id"] for gist in page["results"]]
        acknowledge(reader, page["cursor"])
        if is_last and not page["results"]:
            break

    assert sorted(seen) == sorted(Gist.objects.values_list("github_id", flat=True))
    assert len(seen) == 3 * 3 * 20


def write(person: Person) -> None:
    try:
        for number in range(20):
            store(person, number)
    finally:
        connection.close()


@pytest.mark.server
@pytest.mark.django_db(transaction=True)
def test_no_position_becomes_visible_before_a_smaller_one(db: None) -> None:
    """A writer that took its positions first commits last: the second one waits for it. SQLite has one writer."""
    slow, fast = create_people(2)
    took, go_on = threading.Event(), threading.Event()

    def store_slowly() -> None:
        def wait() -> None:
            took.set()
            go_on.wait(60)

        store(slow, 0, wait)
        connection.close()

    def store_fast() -> None:
        store(fast, 0)
        connection.close()

    threads = [threading.Thread(target=store_slowly), threading.Thread(target=store_fast)]
    threads[0].start()
    took.wait(60)
    threads[1].start()
    threads[1].join(1)
    during = read_ids(APIClient())
    go_on.set()
    for thread in threads:
        thread.join(60)

    assert during == []
    assert [row["person"] for row in read(APIClient())["results"]] == ["person-0"] * 3 + ["person-1"] * 3
