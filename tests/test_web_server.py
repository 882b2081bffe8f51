"""The web server, as a real process: slow clients, limits, HTTP, log, stop and restart."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from django.db import connection

from people.models import Person
from tests.conftest import ROOT, Servers, get_error, is_ready, wait_until
from tests.factories import create_key
from tests.slow_clients import HOST, KINDS, connect, slow_clients

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow("starts a web server")]
OPEN = {"API_AUTH": "none", "ANONYMOUS_REQUESTS_PER_MINUTE": "1000000"}
JSON = {"Content-Type": "application/json"}
MAX_BYTES = 5 << 20


def exchange(url: str, request: bytes) -> bytes:
    """Send these bytes, and return all that comes until the server closes the connection."""
    with connect(url) as client:
        client.sendall(request)
        return read_all(client)


def read_all(client: socket.socket) -> bytes:
    received = b""
    while chunk := client.recv(65536):
        received += chunk
    return received


def test_slow_clients_occupy_no_thread(serve: Servers) -> None:
    server = serve(**OPEN)
    for kind in KINDS:
        with slow_clients(server, kind, 40):
            for path in ("/livez", "/readyz", "/api/v1/people"):
                assert requests.get(server + path, timeout=30).status_code == 200, (kind, path)


def is_closed(client: socket.socket) -> bool:
    """Without reading, which some of these clients never do."""
    poll = select.poll()
    poll.register(client, select.POLLRDHUP)
    return bool(poll.poll(0))


def test_connections_that_take_too_long_are_closed(serve: Servers) -> None:
    server = serve.start(config="tests.short_limits", **OPEN).url
    for kind in KINDS:
        with slow_clients(server, kind, 3) as clients:
            wait_until(lambda clients=clients: all(map(is_closed, clients)))  # type: ignore[misc]
            if "body" in kind.name:
                assert clients[0].recv(100).startswith(b"HTTP/1.1 408 Request Timeout\r\n"), kind


def test_a_request_line_and_headers_have_limits(serve: Servers) -> None:
    server = serve(**OPEN)

    assert requests.get(f"{server}/livez?{'a' * 3900}", timeout=30).status_code == 200
    assert requests.get(f"{server}/livez?{'a' * 4100}", timeout=30).status_code == 414
    assert requests.get(f"{server}/livez", headers={"X-A": "a" * 9000}, timeout=30).status_code == 431
    assert requests.get(f"{server}/livez", headers=dict.fromkeys(map(str, range(101))), timeout=30).status_code == 200
    assert requests.get(f"{server}/livez", headers={f"X-{n}": "a" for n in range(101)}, timeout=30).status_code == 431


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_that_is_too_large_is_refused_in_json(is_chunked: bool, serve: Servers) -> None:
    server = serve(**OPEN)
    for size, status in ((MAX_BYTES, 200), (MAX_BYTES + 1, 413)):
        body = b'["' + b"a" * (size - 4) + b'"]'
        data = iter([body[:70000], body[70000:]]) if is_chunked else body

        response = requests.post(f"{server}/api/v1/people/bulk", data, headers=JSON, timeout=60)

        assert response.status_code == status
        assert response.json()
    assert get_error(response)["code"] == "body_too_large"
    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["X-Request-ID"])


def test_a_body_of_gigabytes_is_refused_before_it_is_sent(serve: Servers) -> None:
    server = serve(**OPEN)

    response = exchange(server, b"POST /api/v1/people HTTP/1.1\r\n" + HOST + b"Content-Length: 9000000000\r\n\r\n")

    assert response.startswith(b"HTTP/1.1 413 ")


def test_a_chunked_body_tracks_a_person(serve: Servers) -> None:
    server = serve(**OPEN)

    response = requests.post(f"{server}/api/v1/people", iter([b'{"user', b'name": "ada"}']), headers=JSON, timeout=30)

    assert (response.status_code, Person.objects.get().github_username) == (201, "ada")


POST = b"POST /api/v1/people HTTP/1.1\r\n" + HOST
GET_LIVEZ = b"GET /livez HTTP/1.1\r\n" + HOST
CLOSE = b"Connection: close\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
AMBIGUOUS = {
    "length and chunked": POST + CHUNKED + b"Content-Length: 30\r\n\r\n0\r\n\r\n" + GET_LIVEZ + CLOSE,
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "a length with a sign": POST + b"Content-Length: +3\r\n\r\nabc",
    "a list of lengths": POST + b"Content-Length: 3, 3\r\n\r\nabc",
    "another coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "a space before the colon": POST + b"Content-Length : 3\r\n\r\nabc",
    "a folded header": GET_LIVEZ + b"A: b\r\n c\r\n" + CLOSE,
    "two hosts": GET_LIVEZ + HOST + CLOSE,
    "line feeds only": b"GET /livez HTTP/1.1\nHost: localhost\n\n",
    "a NUL in a header": GET_LIVEZ + b"A: b\0c\r\n" + CLOSE,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


def test_requests_that_a_proxy_may_read_otherwise_are_refused(serve: Servers) -> None:
    server = serve(**OPEN)
    for name, request in AMBIGUOUS.items():
        response = exchange(server, request)

        assert (response[:9], response[9:10] in b"45", response.count(b"HTTP/1.1 ")) == (b"HTTP/1.1 ", True, 1), name


def test_a_chunk_size_that_is_no_number_ends_the_connection(serve: Servers) -> None:
    response = exchange(serve(**OPEN), POST + CHUNKED + b"\r\n0x3\r\nabc\r\n0\r\n\r\n" + GET_LIVEZ + CLOSE)

    assert (response[9:12], response.count(b"HTTP/1.1 ")) == (b"400", 1)


def test_headers_with_underscores_do_not_pass_for_those_of_a_proxy(serve: Servers) -> None:
    server = serve(REQUIRE_HTTPS="true", TRUSTED_PROXY_COUNT="1", **OPEN)
    request = b"GET /api/v1/people HTTP/1.1\r\n" + HOST

    assert exchange(server, request + b"X-Forwarded-Proto: https\r\n" + CLOSE)[9:12] == b"200"
    assert exchange(server, request + b"X_Forwarded_Proto: https\r\n" + CLOSE)[9:12] != b"200"


def test_pipelined_requests_have_responses_in_their_order(serve: Servers) -> None:
    add = POST + b"Content-Type: application/json\r\nContent-Length: 19\r\n\r\n" + b'{"username": "ada"}'

    received = exchange(serve(**OPEN), GET_LIVEZ + b"\r\n" + add + add + GET_LIVEZ + CLOSE)

    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"201", b"400", b"200"]


def test_a_connection_is_kept_and_head_has_no_body(serve: Servers) -> None:
    server = serve(**OPEN)
    with connect(server) as client:
        client.sendall(
            b"HEAD /api/v1/people HTTP/1.1\r\n" + HOST + b"\r\n" + b"HEAD /livez HTTP/1.1\r\n" + HOST + CLOSE
        )
        received = read_all(client)

    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"200"]
    assert b"Content-Length: " in received.title()
    assert b"{" not in received


def test_the_absolute_form_of_an_address_is_understood(serve: Servers) -> None:
    assert exchange(serve(**OPEN), b"GET http://localhost/livez HTTP/1.1\r\n" + HOST + CLOSE)[9:12] == b"200"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_access_log_names_each_request_without_secrets(log_format: str, serve: Servers) -> None:
    server = serve.start(LOG_FORMAT=log_format, **OPEN)
    url = f"{server.url}/api/v1/people?search=ada@example.com&page=1"
    response = requests.get(url, headers={"X-Request-ID": "its-id"}, timeout=30)
    wait_until(lambda: "its-id" in server.log.read_text())

    (line,) = (line for line in server.log.read_text().splitlines() if "its-id" in line)
    message = json.loads(line)["message"] if log_format == "json" else line

    request = r'127\.0\.0\.1 "GET /api/v1/people\?search=\[personal\]&page=1 HTTP/1\.1"'
    assert re.search(rf"{request} 200 {len(response.content)} \d+ms its-id$", message), line
    assert "ada@example.com" not in server.log.read_text()


def children(process: subprocess.Popen[bytes]) -> list[int]:
    output = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False).stdout
    return [int(pid) for pid in output.split()]


def test_a_worker_that_dies_is_replaced(serve: Servers) -> None:
    server = serve.start(**OPEN)
    (worker,) = children(server.process)

    os.kill(worker, signal.SIGKILL)

    wait_until(lambda: bool(set(children(server.process)) - {worker}))
    assert requests.get(f"{server.url}/readyz", timeout=60).status_code == 200


def test_a_stop_ends_running_requests_and_refuses_new_ones(serve: Servers) -> None:
    server = serve.start(**OPEN)
    with connect(server.url) as running, connect(server.url) as idle:
        running.sendall(POST + b"Content-Type: application/json\r\nContent-Length: 19\r\n\r\n")
        wait_until(lambda: requests.get(f"{server.url}/livez", timeout=30).ok)
        server.process.terminate()

        assert idle.recv(1) == b""  # A connection without a request does not delay the stop.
        wait_until(lambda: not is_ready(f"{server.url}/livez"))
        running.sendall(b'{"username": "ada"}')
        assert running.recv(100).startswith(b"HTTP/1.1 201 ")
    assert server.process.wait(timeout=60) == 0


@pytest.mark.parametrize(
    ("variables", "message"),
    [({"WEB_WORKERS": "many"}, "WEB_WORKERS must be"), ({"SECRET_KEY": "short"}, "SECRET_KEY is too short")],
)
def test_an_invalid_setting_stops_the_start_once(variables: dict[str, str], message: str, serve: Servers) -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "gunicorn", "-c", "python:gisttracker.web.gunicorn", "gisttracker.web.asgi"],
        cwd=ROOT,
        env={**serve.environment, "WEB_WORKERS": "2", **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert completed.returncode == 78
    assert completed.stderr.count(message) == 1


def count_connections() -> int:
    """Of all processes to this database, with our own one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE()")
        return int(cursor.fetchone()[0])


@pytest.mark.server
def test_the_number_of_database_connections_is_that_of_the_threads(serve: Servers) -> None:
    headers = {"Authorization": f"Api-Key {create_key()}"}
    before = count_connections()
    server = serve.start(API_AUTH="key", API_REQUESTS_PER_MINUTE="1000000", WEB_WORKERS="2").url

    def request(number: int) -> int:
        path = "/readyz" if number % 4 == 0 else "/api/v1/people?format=csv"
        return requests.get(server + path, headers=headers, timeout=60).status_code

    with ThreadPoolExecutor(40) as pool:
        statuses = set(pool.map(request, range(200)))

    assert statuses == {200}
    assert 0 < count_connections() - before <= 2 * 9
