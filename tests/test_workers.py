"""Threads that run plain functions, and close their database connections."""

import threading
from queue import SimpleQueue
from typing import Any

import pytest
from django.db import connection, connections
from django.db.backends.signals import connection_created

from people.models import Person
from sync.run.workers import Failed, Workers, map_unordered
from tests.conftest import Sync, wait_until
from tests.factories import track_people
from tests.standins import GitHubStandIn

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]


def test_every_item_has_a_result() -> None:
    assert sorted(map_unordered("test", 3, lambda number: number * 2, range(1, 50))) == list(range(2, 100, 2))


def test_an_error_reaches_the_main_thread() -> None:
    with pytest.raises(ZeroDivisionError):
        list(map_unordered("test", 2, lambda number: 1 // number, [1, 0, 1]))


def test_a_failed_function_does_not_end_its_thread() -> None:
    results: SimpleQueue[Any] = SimpleQueue()
    workers: Workers[int, int] = Workers("test", 1, lambda number: 1 // number, results)
    with workers:
        for number in (0, 1):
            workers.submit(number)
        failed, succeeded = results.get(), results.get()

    assert isinstance(failed, Failed)
    assert succeeded == 1


def test_leaving_waits_for_begun_items_and_drops_the_others() -> None:
    """The first item ends after the end mark was queued behind the other two, so the workers are closing."""
    results: SimpleQueue[int | Failed] = SimpleQueue()
    has_begun = threading.Event()

    def work(number: int) -> int:
        has_begun.set()
        wait_until(lambda: workers.waiting == 3)
        return number

    workers = Workers("test", 1, work, results)
    with workers:
        for number in (1, 2, 3):
            workers.submit(number)
        assert has_begun.wait(60)

    assert (results.get(), results.qsize()) == (1, 0)


def test_a_thread_closes_its_database_connection() -> None:
    used: list[Any] = []

    def work(number: int) -> int:
        used.append(connections["default"])
        return Person.objects.count()

    list(map_unordered("test", 2, work, range(1, 10)))

    assert used
    assert all(wrapper.connection is None for wrapper in used)


def test_a_run_opens_at_most_two_connections_per_thread_plus_one(github: GitHubStandIn, sync: Sync, db: None) -> None:
    track_people(github, 20, gists=1)
    opened: list[str] = []
    count = lambda **_: opened.append(threading.current_thread().name)  # noqa: E731
    connection.close()
    connection_created.connect(count)
    try:
        sync("--concurrency", "3")
    finally:
        connection_created.disconnect(count)

    assert 2 <= len(opened) == len(set(opened)) <= 2 * 3 + 1
