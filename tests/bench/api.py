"""`make bench`: does the API stay as fast with 100,000 people and 1,000,000 gists as with 1,000 and 10,000?

Two databases on one MySQL-compatible server, each served by gunicorn as in production; the same requests go to both in
turn, so that other load on the machine slows both. Prints the 95th percentiles and their ratio.
"""

import os
import random
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.with_mysql import free_port  # noqa: E402

rng = random.Random(1)  # noqa: S311  # not used for secrets
GISTS_PER_PERSON = 10
REQUESTS = 150
SIZES = {"1,000 people": 1_000, "100,000 people": 100_000}
NUMBERS = "WITH RECURSIVE n AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {count} - 1)"
PEOPLE = """
INSERT INTO people_person (github_username, username_key, github_id, name, email, company, location, state,
    backfill, etag, etag_scope, push_failures, push_error, pipedrive_create_name, pipedrive_field_key, pipedrive_id,
    attempted_at, polled_at, failures, last_error, created_at, updated_at)
{numbers} SELECT CONCAT('person-', i), CONCAT('person-', i), i + 1, CONCAT('First', i, ' Last', i),
    CONCAT('mail', i, '@example.com'), '', '', 'active', 'all', '', '', 0, '', '', '', i + 1, NOW(6), NOW(6), 0, '',
    NOW(6), NOW(6) FROM n
"""
GISTS = """
INSERT INTO people_gist (github_id, person_id, description, html_url, pull_url, truncated, files, github_created_at,
    github_updated_at, created_at, updated_at, push_state, push_attempts, push_error, pending_since, activity_outdated,
    discovery)
{numbers} SELECT LPAD(HEX(n.i * {per_person} + {number}), 32, '0'), person.id, 'Some notes', 'https://gist.github.com/x',
    'https://gist.github.com/x.git', 0,
    '[{{"name": "a.md", "raw_url": "https://x.test/a", "language": null, "size": 7}}]',
    NOW(6), NOW(6), NOW(6), NOW(6), IF(n.i % 1000 = 0, 'pending', 'pushed'), 1, '', NOW(6), 0, ''
    FROM n JOIN people_person person ON person.github_id = n.i + 1
"""
ADDRESSES: dict[str, Callable[[int], str]] = {
    "list": lambda people: f"/api/v1/people?page={rng.randint(1, 9)}",
    "search": lambda people: f"/api/v1/people?search=person-{rng.randint(0, people - 1)}",
    "detail": lambda people: f"/api/v1/people/person-{rng.randint(0, people - 1)}",
    "status": lambda people: "/api/v1/status",
    "metrics": lambda people: "/metrics",
}


def main() -> int:
    with (
        serve_database("small", SIZES["1,000 people"]) as small,
        serve_database("large", SIZES["100,000 people"]) as large,
    ):
        servers = dict(zip(SIZES, (small, large), strict=True))
        print(f"| request | {' | '.join(f'p95 with {size}' for size in SIZES)} | ratio |")
        print("| --- | --- | --- | --- |")
        for name, address in ADDRESSES.items():
            times = measure(servers, address)
            p95 = [statistics.quantiles(times[size], n=20)[-1] * 1000 for size in SIZES]
            print(f"| {name} | {p95[0]:.1f} ms | {p95[1]:.1f} ms | {p95[1] / p95[0]:.2f} |", flush=True)
    return 0


def measure(servers: dict[str, tuple[str, str]], address: Callable[[int], str]) -> dict[str, list[float]]:
    """Seconds that each request took, by the size of the database; both servers take turns."""
    times: dict[str, list[float]] = {size: [] for size in servers}
    with requests.Session() as session:
        for number in range(REQUESTS + 10):
            for size, (base, key) in servers.items():
                url = base + address(SIZES[size])
                started = time.perf_counter()
                response = session.get(url, headers={"Authorization": f"Api-Key {key}"}, timeout=120)
                seconds = time.perf_counter() - started
                response.raise_for_status()
                if number >= 10:  # The first requests warm up connections and caches.
                    times[size].append(seconds)
    return times


@contextmanager
def serve_database(name: str, people: int) -> Iterator[tuple[str, str]]:
    """Fill a database and start a server on it. Yields the server's URL and an API key."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "gisttracker.config.settings",
        "DATABASE_NAME": f"bench_{name}",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "REQUIRE_HTTPS": "false",
        "API_REQUESTS_PER_MINUTE": "1000000",
        "LISTEN_PORT": str(free_port()),
    }
    fill(environment, people)
    output = manage(environment, "create_api_key", "bench")
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "-c", "python:gisttracker.web.gunicorn", "gisttracker.web.asgi"],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    base = f"http://127.0.0.1:{environment['LISTEN_PORT']}"
    try:
        while True:
            try:
                requests.get(f"{base}/livez", timeout=1)
                break
            except requests.ConnectionError:
                time.sleep(0.1)
        yield base, output.split()[-1]
    finally:
        process.terminate()
        process.wait(timeout=30)


def fill(environment: dict[str, str], people: int) -> None:
    import MySQLdb

    server = MySQLdb.connect(
        host=environment["DATABASE_HOST"],
        port=int(environment["DATABASE_PORT"]),
        user=environment["DATABASE_USERNAME"],
        password=environment["DATABASE_PASSWORD"],
        charset="utf8mb4",
    )
    database = environment["DATABASE_NAME"]
    with server.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {database}")
        cursor.execute(f"CREATE DATABASE {database} CHARACTER SET utf8mb4")
        manage(environment, "migrate", "--verbosity", "0")
        cursor.execute(f"USE {database}")
        limit = "max_recursive_iterations" if "MariaDB" in server.get_server_info() else "cte_max_recursion_depth"
        cursor.execute(f"SET SESSION {limit} = 2000000")
        cursor.execute(PEOPLE.format(numbers=NUMBERS.format(count=people)))
        for number in range(GISTS_PER_PERSON):
            cursor.execute(
                GISTS.format(numbers=NUMBERS.format(count=people), per_person=GISTS_PER_PERSON, number=number)
            )
            server.commit()
        cursor.execute("ANALYZE TABLE people_person, people_gist")
        print(f"{database}: {people} people, {people * GISTS_PER_PERSON} gists", file=sys.stderr, flush=True)


def manage(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
