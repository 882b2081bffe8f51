"""`make attack`: what comes in cannot stop the service. Measures probes and API before, during and after each attack.

A server as in production, with two workers, on a MySQL-compatible server with 1,000 people. Prints a table, and ends
with 1 when a bound is broken. Other load on the machine slows the attack and its control alike.
"""

import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.attack import requests_at_once  # noqa: E402
from tests.bench.api import fill, manage  # noqa: E402
from tests.slow_clients import KINDS, Kind, slow_clients  # noqa: E402
from tests.with_mysql import Server, find_server_program, free_port  # noqa: E402

CLIENTS = int(os.environ.get("CLIENTS") or 200)
SECONDS = float(os.environ.get("SECONDS") or 10)
MAX_PROBE_SECONDS = 1.0
MAX_PROBE_SECONDS_UNDER_LOAD = 3.0  # after which Kubernetes counts it as failed (deploy/kubernetes/base/web.yaml)
MAX_RATIO = 2.0  # of the API's latency during an attack by slow clients to that before and after it
PROBES = ("/livez", "/readyz")
PEOPLE = 1000


@dataclass
class Service:
    url: str
    key: str
    database: Server


@dataclass
class Figures:
    """Seconds of each probe and of each request to the API, and what was not 200."""

    probes: list[float] = field(default_factory=list)
    api: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def measure(self, service: Service, seconds: float) -> None:
        done = threading.Event()
        probing = threading.Thread(target=self._probe, args=(service, done))
        probing.start()
        deadline = time.monotonic() + seconds
        headers = {"Authorization": f"Api-Key {service.key}"}
        while time.monotonic() < deadline:
            self.api.append(self._time(f"{service.url}/api/v1/people", headers))
            time.sleep(0.05)
        done.set()
        probing.join()

    def _probe(self, service: Service, done: threading.Event) -> None:
        while not done.wait(0.1):
            self.probes.extend(self._time(service.url + path, {}) for path in PROBES)

    def _time(self, url: str, headers: dict[str, str]) -> float:
        started = time.perf_counter()
        try:
            status = str(requests.get(url, headers=headers, timeout=30).status_code)
        except requests.RequestException as error:
            status = type(error).__name__
        if status != "200":
            self.errors[status] += 1
        return time.perf_counter() - started


class Table:
    def __init__(self) -> None:
        self.is_broken = False
        print("| attack | probe, median | probe, worst | API, median | to normal | not 200 | within bounds |")
        print("| --- | --- | --- | --- | --- | --- | --- |")

    def add(self, name: str, normal: Figures, during: Figures, *, is_good: bool, note: str = "") -> None:
        self.is_broken |= not is_good
        ratio = statistics.median(during.api) / statistics.median(normal.api)
        cells = [name, milliseconds(statistics.median(during.probes)), milliseconds(max(during.probes))]
        cells += [milliseconds(statistics.median(during.api)), f"{ratio:.2f}"]
        cells += [", ".join(f"{count} x {status}" for status, count in during.errors.items()) or "0"]
        print(f"| {' | '.join([*cells, ('yes' if is_good else 'NO') + (f'; {note}' if note else '')])} |", flush=True)


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def main() -> int:
    program = find_server_program(os.environ.get("MYSQL_SERVER", ""))
    if not program:
        print("make attack needs a database server program (Debian: apt install mariadb-server).", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="gisttracker-attack-") as folder:
        database = Server(program, Path(folder))
        database.start()
        try:
            with serve(database, Path(folder)) as service:
                return attack(service)
        finally:
            database.stop()


@contextmanager
def serve(database: Server, folder: Path) -> Iterator[Service]:
    environment = {
        **os.environ,
        **database.variables,
        "DJANGO_SETTINGS_MODULE": "gisttracker.config.settings",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "REQUIRE_HTTPS": "false",
        "API_REQUESTS_PER_MINUTE": "1000000",
        "TRUSTED_PROXY_COUNT": "1",
        "WEB_WORKERS": "2",
        "LISTEN_PORT": str(free_port()),
    }
    fill(environment, PEOPLE)
    key = manage(environment, "create_api_key", "attack").split()[-1]
    with (folder / "server.log").open("w") as log:
        command = [sys.executable, "-m", "gunicorn", "-c", "python:gisttracker.web.gunicorn", "gisttracker.web.asgi"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    service = Service(f"http://127.0.0.1:{environment['LISTEN_PORT']}", key, database)
    try:
        wait_for(service.url + "/readyz", lambda response: response.ok)
        yield service
    finally:
        process.terminate()
        process.wait(timeout=60)


def wait_for(url: str, condition: Callable[[requests.Response], bool], headers: dict[str, str] | None = None) -> float:
    """Return after how many seconds the response fulfils the condition."""
    started = time.monotonic()
    while time.monotonic() - started < 60:
        try:
            if condition(requests.get(url, headers=headers, timeout=30)):
                return time.monotonic() - started
        except requests.RequestException:
            pass
        time.sleep(0.05)
    raise SystemExit(f"{url} did not respond as expected within 60 s")


def attack(service: Service) -> int:
    Figures().measure(service, 3)  # warms up connections and caches
    table = Table()
    for kind in KINDS:
        attack_slowly(service, kind, table)
    for name in requests_at_once.ATTACKS:
        attack_with_load(service, name, table)
    restart_database(service, table)
    return int(table.is_broken)


def attack_slowly(service: Service, kind: Kind, table: Table) -> None:
    """Slow clients cost nothing, so the API must be as fast as without them."""
    normal, during = Figures(), Figures()
    for _ in range(2):  # in turn, so that other load on the machine slows both
        normal.measure(service, SECONDS / 2)
        with slow_clients(service.url, kind, CLIENTS):
            during.measure(service, SECONDS / 2)
    ratio = statistics.median(during.api) / statistics.median(normal.api)
    is_good = max(during.probes) < MAX_PROBE_SECONDS and ratio < MAX_RATIO and not during.errors
    table.add(f"{CLIENTS} x {kind}", normal, during, is_good=is_good)


def attack_with_load(service: Service, name: str, table: Table) -> None:
    """The API shares the processors with the attack, so it is slower. It must respond, and so must the probes."""
    normal, during = Figures(), Figures()
    normal.measure(service, SECONDS / 2)
    command = [sys.executable, "-m", "tests.attack.requests_at_once", name, service.url, service.key, str(SECONDS)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    during.measure(service, SECONDS)
    statuses = Counter(json.loads(process.communicate(timeout=120)[0]))
    allowed = {"200", "201", "400", "413", "414", "429", "431", "503"}
    is_fast = max(during.probes) < MAX_PROBE_SECONDS_UNDER_LOAD
    is_good = is_fast and not during.errors and set(statuses) <= allowed
    note = "attack: " + ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
    table.add(name, normal, during, is_good=is_good, note=note)


def restart_database(service: Service, table: Table) -> None:
    """Without the database, the API responds with 503 and Retry-After, as JSON; with it, as before."""
    normal, during = Figures(), Figures()
    normal.measure(service, SECONDS / 2)
    headers = {"Authorization": f"Api-Key {service.key}"}
    service.database.stop()
    during.measure(service, SECONDS / 2)
    response = requests.get(f"{service.url}/api/v1/people", headers=headers, timeout=30)
    is_refused = response.status_code == 503 and "Retry-After" in response.headers and bool(response.json())
    is_alive = requests.get(f"{service.url}/livez", timeout=30).ok
    service.database.start()
    seconds = wait_for(f"{service.url}/api/v1/people", lambda response: response.ok, headers)
    after = Figures()
    after.measure(service, SECONDS / 2)
    is_good = is_refused and is_alive and set(during.errors) == {"503"} and not after.errors
    table.add("the database is stopped", normal, during, is_good=is_good)
    table.add("after its restart", normal, after, is_good=is_good, note=f"recovered after {seconds:.1f} s")


if __name__ == "__main__":
    raise SystemExit(main())
