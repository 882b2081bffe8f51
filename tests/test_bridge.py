"""gisttracker/web/bridge.py without a server: its threads, streams and memory."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection
from pytest_django import Settings

from gisttracker.web import bridge
from people.models import Person


def scope_of(path: str, method: str = "GET", **headers: str) -> dict[str, Any]:
    names = {b"host": b"localhost", **{name.encode(): value.encode() for name, value in headers.items()}}
    address = {"client": ("127.0.0.1", 5000), "server": ("127.0.0.1", 3000)}
    target, _, query = path.partition("?")
    text = {"type": "http", "method": method, "path": target, "http_version": "1.1", "query_string": query.encode()}
    return {**text, **address, "raw_path": target.encode(), "headers": list(names.items())}


def call(scope: dict[str, Any], *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """Run Django on one request. Returns the messages of its response."""
    received, sent = iter([*messages, {"type": "http.request"}]), []

    async def receive() -> dict[str, Any]:
        return next(received)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(asyncio.wait_for(bridge.serve_with(WSGIHandler())(scope, receive, send), 60))
    return sent


@pytest.fixture
def occupied_threads() -> Iterator[None]:
    done = threading.Event()
    for _ in range(bridge.THREADS):
        bridge.requests_pool.submit(done.wait)
    yield
    done.set()


def test_a_probe_does_not_wait_for_a_thread_of_the_api(occupied_threads: None) -> None:
    start, _ = call(scope_of("/livez"))

    assert start["status"] == 200


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "PART_BYTES", 1)
    monkeypatch.setattr("people.api.export.BATCH_SIZE", 2)


@pytest.mark.django_db(transaction=True)
def test_the_parts_of_a_csv_may_come_from_different_threads(small_parts: None, settings: Settings) -> None:
    settings.API_AUTH, settings.ANONYMOUS_REQUESTS_PER_MINUTE = "none", 1_000_000
    Person.objects.bulk_create(Person(github_username=f"person{n}", username_key=f"person{n}") for n in range(5))
    response = bridge.WsgiResponse(
        WSGIHandler(), bridge.build_environ(scope_of("/api/v1/people?format=csv"), bridge.Body())
    )

    def in_new_thread(function: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            part = pool.submit(function).result()
            pool.submit(lambda: connection.close()).result()  # looked up in that thread
            return part

    parts = [in_new_thread(response.run)]
    while not response.is_complete:
        parts.append(in_new_thread(response.next_part))

    assert [part.count(b"\r\n") for part in parts] == [1, 2, 2, 1, 0]


def test_a_stream_is_closed_when_the_client_leaves() -> None:
    closed = threading.Event()

    class Stream:
        def __iter__(self) -> Iterator[bytes]:
            yield b"x" * bridge.PART_BYTES * 2
            yield b"never sent"

        close = staticmethod(closed.set)

    def endless(environ: object, start_response: Any) -> Stream:
        start_response("200 OK", [])
        return Stream()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def leave(message: dict[str, Any]) -> None:
        if message.get("body"):
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        asyncio.run(bridge.serve_with(endless)(scope_of("/"), receive, leave))

    assert closed.wait(60)


CHUNK = {"type": "http.request", "body": b"x" * 1000, "more_body": True}


@pytest.mark.parametrize(
    ("length", "max_held", "status"), [(10_000, 0, 404), (100_000, 0, 503), (100_000, 200_000, 404)]
)
def test_large_bodies_are_refused_while_they_hold_too_much_memory(
    length: int, max_held: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge, "MAX_HELD_BYTES", max_held)

    start, _ = call(scope_of("/api/v1/nothing", "POST"), *[CHUNK] * (length // 1000))

    headers = dict(start["headers"])
    assert (start["status"], b"retry-after" in headers) == (status, status == 503)
    assert bridge.Body.total_held == 0


def test_a_body_that_is_too_large_is_not_kept() -> None:
    body, chunk = bridge.Body(), {**CHUNK, "body": b"x" * (1 << 20)}

    async def receive() -> dict[str, Any]:
        return chunk

    asyncio.run(body.receive(scope_of("/", "POST"), receive))

    assert (body.problem, body.data, body.length > bridge.MAX_DROPPED_BYTES) == (413, b"", True)


def test_a_body_that_does_not_end_is_refused() -> None:
    gone = {"type": "http.disconnect"}

    start, body = call(scope_of("/api/v1/nothing", "POST"), CHUNK, gone)

    assert start["status"] == 408
    assert b"did not arrive in time" in body["body"]
