"""`make bench`: how long the pages of the admin take with 100,000 people and 1,000,000 gists.

On a MySQL-compatible server, with gunicorn as in production. Prints the slowest of a few requests for each page, and
their ratio to the page of the password, which reads no people and no gists.
"""

import os
import sys
import time
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.api import SIZES, manage, serve_database  # noqa: E402

PEOPLE, GISTS = "/admin/people/person/", "/admin/people/gist/"
SMALL_PAGE = "/admin/password_change/"
CONDITIONS = ("never_polled", "stale", "has_rejected", "not_linked", "in_backoff")
PAGES = {
    "index": "/admin/",  # first without the cached counts
    "people": PEOPLE,
    "people, last page": f"{PEOPLE}?p=200",
    "people, search": f"{PEOPLE}?q=last99999",
    "people, GitHub id": f"{PEOPLE}?q=4711",
    **{f"people, {state}": f"{PEOPLE}?state__exact={state}" for state in ("active", "gone")},
    **{f"people, {name}": f"{PEOPLE}?condition={name}" for name in CONDITIONS},
    "person": f"{PEOPLE}777/change/",
    "gists": GISTS,
    "gists, last page": f"{GISTS}?p=200",
    **{f"gists, {state}": f"{GISTS}?push_state__exact={state}" for state in ("pending", "pushed", "rejected")},
    "gists of a person": f"{GISTS}?q=person-777",
    "runs": "/admin/sync/syncrun/",
    "alarms": "/admin/sync/alarm/",
    "visits": "/admin/people/visit/",
    "consumers": "/admin/people/consumer/",
}
TRIES = 5
PASSWORD = "bench-password-42"


def main() -> int:
    with serve_database("admin", SIZES["100,000 people"]) as (base, _), requests.Session() as session:
        environment = {**os.environ, "DATABASE_NAME": "bench_admin", "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
        environment["DJANGO_SETTINGS_MODULE"] = "gisttracker.config.settings"
        manage(environment, "createsuperuser", "--no-input", "--username", "bench", "--email", "bench@example.com")
        log_in(session, base)
        print("| page | slowest of 5 | to a page without rows |")
        print("| --- | --- | --- |")
        floor = max(measure(session, base + SMALL_PAGE) for _ in range(TRIES))
        for name, path in PAGES.items():
            slowest = max(measure(session, base + path) for _ in range(TRIES))
            print(f"| {name} | {slowest * 1000:.0f} ms | {slowest / floor:.1f} |", flush=True)
    return 0


def log_in(session: requests.Session, base: str) -> None:
    session.get(f"{base}/admin/login/", timeout=120)
    data = {"username": "bench", "password": PASSWORD, "csrfmiddlewaretoken": session.cookies["csrftoken"]}
    response = session.post(f"{base}/admin/login/?next=/admin/password_change/", data=data, timeout=120)
    assert "/admin/password_change/" in response.url, response.text[:500]


def measure(session: requests.Session, url: str) -> float:
    started = time.perf_counter()
    response = session.get(url, timeout=300, allow_redirects=False)
    response.raise_for_status()
    return time.perf_counter() - started


if __name__ == "__main__":
    raise SystemExit(main())
