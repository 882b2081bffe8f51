"""`make bench-compare`: requests a second of this checkout and of an earlier commit (BASE), side by side.

Both are served as in production, with 2 workers (1 for the empty list), the key check and the rate limit, each with its
own database on one MySQL-compatible server. Four connections that are kept alive send the same request again and again,
to one server after the other, for several rounds. Prints the medians and their ratio.
"""

import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.with_mysql import free_port  # noqa: E402

BASE = os.environ.get("BASE", "6ed49d1")
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = float(os.environ.get("SECONDS", "4"))  # of one server in a round
CONNECTIONS = 4
# name, path, number of people, workers
REQUESTS = [
    ("empty list, one worker", "/api/v1/people", 0, 1),
    ("visit, 20 gists, none new", "/api/v1/people/person-0", 1, 2),
    ("getAllGists=true, 20 gists", "/api/v1/people/person-0?getAllGists=true", 1, 2),
    ("list, 100 people", "/api/v1/people?page_size=100", 100, 2),
]
APPLICATIONS = ("gisttracker.asgi", "gisttracker.wsgi")  # the first one that the checkout has


def main() -> int:
    print("| request | base | here | ratio |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive = subprocess.run(["git", "archive", BASE], cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "x", "-C", folder], input=archive, check=True)
        sides = [Side("base", folder), Side("here", ROOT)]
        for title, path, people, workers in REQUESTS:
            for side in sides:
                side.fill(people)
            with sides[0].serve(workers), sides[1].serve(workers):
                rates = [[side.measure(path) for side in sides] for _ in range(ROUNDS)]
            base, here = (statistics.median(pair[i] for pair in rates) for i in (0, 1))
            print(f"| {title} | {base:.0f} | {here:.0f} | {here / base:.2f} |", flush=True)
    return 0


class Side:
    """A checkout with its database and its server."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "gisttracker.settings",
            "DATABASE_NAME": f"throughput_{name}",
            "SECRET_KEY": secrets.token_urlsafe(50),
            "ALLOWED_HOSTS": "localhost",
            "REQUIRE_HTTPS": "false",
            "HTTPS": "false",  # the older name
            "API_REQUESTS_PER_MINUTE": "1000000",
            "LISTEN_PORT": str(self.port),
            "PORT": str(self.port),  # the older name
        }
        self._call("create_database()")
        self._run("manage.py", "migrate", "--verbosity", "0")
        self.key = self._run("manage.py", "create_api_key", "bench").split()[-1]

    def _run(self, *arguments: str, **variables: str) -> str:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**self.environment, **variables},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout

    def fill(self, people: int) -> None:
        self._call(f"setup(); bench.fill({people})")

    def _call(self, statement: str) -> None:
        """Call a function of requests_in_process.py with the code of this checkout."""
        self._run(
            "-c", f"import requests_in_process as bench; bench.{statement}", PYTHONPATH=str(Path(__file__).parent)
        )

    @contextmanager
    def serve(self, workers: int) -> Iterator[None]:
        application = next(name for name in APPLICATIONS if (self.folder / f"{name.replace('.', '/')}.py").exists())
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "python:gisttracker.gunicorn", application],
            cwd=self.folder,
            env={**self.environment, "WEB_WORKERS": str(workers)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", self.port)).close()
                    break
                except ConnectionRefusedError:
                    time.sleep(0.1)
            yield
        finally:
            process.terminate()
            process.wait(timeout=60)

    def measure(self, path: str) -> float:
        """Returns requests a second."""
        counts = [0] * CONNECTIONS
        end = time.monotonic() + SECONDS
        threads = [threading.Thread(target=self._load, args=(path, end, counts, i)) for i in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(counts) / SECONDS

    def _load(self, path: str, end: float, counts: list[int], index: int) -> None:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Api-Key {self.key}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            while time.monotonic() < end:
                connection.sendall(request)
                read_response(connection)
                counts[index] += 1


def read_response(connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += receive(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += receive(connection)


def receive(connection: socket.socket) -> bytes:
    data = connection.recv(1 << 20)
    if not data:
        raise ConnectionError("The server closed the connection.")
    return data


if __name__ == "__main__":
    sys.exit(main())
