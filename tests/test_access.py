"""Access to the API: keys, staff, permissions, rate limits."""

import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from people.api import urls as people_urls
from people.api.throttling import RequestCounts
from people.models import ApiKey, Person, Visit
from sync.api import urls as sync_urls
from tests.conftest import Sync, get_error, wait_until
from tests.factories import create_gists, create_key, create_person
from tests.standins import GitHubStandIn

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _require_keys(settings: Settings) -> None:
    settings.API_AUTH = "key"


def create_client(**fields: Any) -> APIClient:
    """Return a client that sends a new key with these fields."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Api-Key {create_key(**fields)}")
    return client


@pytest.mark.parametrize(
    "address",
    ["people", "people/ada", "people/ada/gists", "status", "sync-runs", "sync-runs/1"],
)
def test_a_request_without_a_key_is_401(address: str, api: APIClient) -> None:
    response = api.get(f"/api/v1/{address}")

    assert (response.status_code, response["WWW-Authenticate"]) == (401, 'Bearer realm="gisttracker"')


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"revoked": True}, "invalid_key"),
        ({"expiry_date": timezone.now() - timedelta(days=1)}, "expired_key"),
    ],
)
def test_an_expired_or_revoked_key_is_rejected_with_the_reason(fields: dict[str, object], code: str) -> None:
    response = create_client(**fields).get("/api/v1/people")

    assert (response.status_code, get_error(response)["code"]) == (401, code)
    assert "WWW-Authenticate" in response


@pytest.mark.parametrize("given", ["Api-Key", "Api-Key x", "Api-Key abcdefgh.0", "Api-Key a b", "api-key \u00ff"])
def test_an_invalid_key_is_rejected(given: str, api: APIClient) -> None:
    assert api.get("/api/v1/people", HTTP_AUTHORIZATION=given).status_code == 401


def test_a_read_only_key_cannot_write() -> None:
    client = create_client(read_only=True)
    create_person("ada")

    assert client.get("/api/v1/people/ada").status_code == 200
    for response in (
        client.post("/api/v1/people", {"username": "ben"}),
        client.post("/api/v1/people/bulk", ["ben"], format="json"),
        client.post("/api/v1/people/ada/sync"),
        client.patch("/api/v1/people/ada", {"state": "paused"}),
        client.delete("/api/v1/people/ada"),
    ):
        assert (response.status_code, get_error(response)["code"]) == (403, "read_only_key")
    assert Person.objects.get().github_username == "ada"


def test_each_key_has_its_own_visit_markers() -> None:
    first, second = create_client(name="First"), create_client(name="Second")
    create_gists(create_person("ada"), 2)

    counts = [len(client.get("/api/v1/people/ada").json()["gists"]) for client in (first, first, second)]

    assert counts == [2, 0, 2]
    assert Visit.objects.count() == 2


ACTS = {
    "list people": ("get", "people", "view_person"),
    "export people": ("get", "people?format=csv", "view_person"),
    "visit a person": ("get", "people/ada", "view_person"),
    "look without a visit": ("head", "people/ada", "view_person"),
    "track a person": ("post", "people", "add_person"),
    "track people": ("post", "people/bulk", "add_person"),
    "change a person": ("patch", "people/ada", "change_person"),
    "request a sync": ("post", "people/ada/sync", "change_person"),
    "stop tracking": ("delete", "people/ada", "delete_person"),
    "forget": ("delete", "people/ada?forget=true", "delete_person"),
    "act on the person bulk": ("delete", "people/bulk", "delete_person"),
    "list gists": ("get", "people/ada/gists", "view_gist"),
    "push a gist": ("post", "people/ada/gists/1/push", "change_gist"),
    "list attempts": ("get", "people/ada/gists/1/attempts", "view_pushattempt"),
    "read the feed": ("get", "gists", "view_gist"),
    "acknowledge the feed": ("post", "feed/ack", "view_gist"),
    "list runs": ("get", "sync-runs", "view_syncrun"),
    "read a run": ("get", "sync-runs/1", "view_syncrun"),
    "read the status": ("get", "status", "view_syncrun"),
}
PERMISSIONS = sorted({permission for _, _, permission in ACTS.values()})


def log_in_with(client: Client, *permissions: str) -> None:
    user = User.objects.create_user("grace", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)


@pytest.mark.parametrize("act", ACTS)
def test_staff_need_the_one_permission_of_an_act(act: str, client: Client) -> None:
    method, address, permission = ACTS[act]
    create_person("ada")
    log_in_with(client, *(name for name in PERMISSIONS if name != permission))

    without = getattr(client, method)(f"/api/v1/{address}", content_type="application/json").status_code
    User.objects.get().user_permissions.set(Permission.objects.filter(codename=permission))
    with_it = getattr(client, method)(f"/api/v1/{address}", content_type="application/json").status_code

    assert (without, with_it in (401, 403)) == (403, False)


def test_each_act_of_the_api_has_a_permission() -> None:
    patterns = [*people_urls.v1, *sync_urls.v1]
    views: list[Any] = [pattern.callback for pattern in patterns]
    acts = {(view.cls, act) for view in views for act in getattr(view, "actions", {"get": "get"}).values()}

    undeclared = {(view.__name__, act) for view, act in acts if act not in view.required_permissions}
    names = {name for view, _ in acts for name in view.required_permissions.values() if name}

    assert not undeclared
    assert names <= {f"{row.content_type.app_label}.{row.codename}" for row in Permission.objects.all()}


def test_staff_without_permissions_see_only_who_they_are(client: Client) -> None:
    log_in_with(client)

    assert client.get("/api/v1/me").json()["access"] == "read"
    assert client.get("/metrics").status_code == 403
    assert client.put("/api/v1/people").status_code == 405


def test_a_user_who_is_not_staff_is_403(client: Client) -> None:
    client.force_login(User.objects.create_user("mallory"))

    assert client.get("/api/v1/people").status_code == 403


def test_only_the_hash_of_a_key_is_stored(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("create_api_key", "Dashboard", "--read-only", "--expires", "2099-12-31")

    key = capsys.readouterr().out.split()[-1]

    row = ApiKey.objects.get()
    assert (row.name, row.read_only, f"{row.expiry_date:%Y-%m-%d}") == ("Dashboard", True, "2100-01-01")
    assert key.split(".")[1] not in str(vars(row))
    assert APIClient().get("/api/v1/people", HTTP_AUTHORIZATION=f"Api-Key {key}").status_code == 200


@pytest.mark.parametrize("arguments", [[""], ["x" * 51], ["x", "--expires", "soon"], ["x", "--expires", "2020-01-01"]])
def test_a_key_with_an_invalid_name_or_date_is_not_created(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("create_api_key", *arguments)

    assert not ApiKey.objects.exists()


def test_metrics_require_a_key_unless_they_are_public(api: APIClient, settings: Settings) -> None:
    without_key = api.get("/metrics").status_code
    settings.METRICS_PUBLIC = True

    assert (without_key, api.get("/metrics").status_code, create_client().get("/metrics").status_code) == (
        401,
        200,
        200,
    )


def avoid_the_end_of_a_minute() -> None:
    """The rate limit counts per minute of the clock: wait, unless 20 seconds are left in this one."""
    wait_until(lambda: time.time() % 60 < 40)


@pytest.mark.slow("starts a web server")
def test_the_rate_limit_holds_for_requests_at_once(serve: Callable[..., str]) -> None:
    headers = {"Authorization": f"Api-Key {create_key('Busy')}"}
    address = f"{serve(API_REQUESTS_PER_MINUTE='6')}/api/v1/people"
    avoid_the_end_of_a_minute()

    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda _: requests.get(address, headers=headers, timeout=10), range(8)))

    assert sorted(response.status_code for response in responses) == [200] * 6 + [429] * 2
    assert all(0 < int(response.headers["Retry-After"]) <= 60 for response in responses if response.status_code == 429)


class InterruptedCounter(Counter[str]):
    """Lets another thread run between reading and writing a count, as the interpreter may do at any time."""

    def __getitem__(self, client: str) -> int:
        count = super().__getitem__(client)
        time.sleep(0)
        return count


def test_no_request_of_eight_threads_is_lost_or_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("people.api.throttling.time", SimpleNamespace(time=lambda: 60.0))
    monkeypatch.setattr("people.api.throttling.Counter", InterruptedCounter)
    counts = RequestCounts()

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: [counts.hit("consumer:a") for _ in range(50)], range(8)))

    assert sorted(count for result in results for count in result) == list(range(1, 401))


def test_each_client_begins_anew_with_each_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now, counts = [119.9], RequestCounts()
    monkeypatch.setattr("people.api.throttling.time", SimpleNamespace(time=lambda: now[0]))
    before = [counts.hit("consumer:a"), counts.hit("consumer:a"), counts.hit("consumer:b")]
    now[0] = 120.0

    assert (before, counts.hit("consumer:a"), counts.hit("consumer:b")) == ([1, 2, 1], 1, 1)


def test_the_counts_of_earlier_minutes_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    now, counts = [0.0], RequestCounts()
    monkeypatch.setattr("people.api.throttling.time", SimpleNamespace(time=lambda: now[0]))
    tracemalloc.start()
    try:
        for number in range(20_000):
            now[0] = number // 20 * 60.0  # 20 addresses in each of 1,000 minutes
            counts.hit(f"address:{number}")
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert size < 100_000  # bytes


@pytest.mark.slow("starts a web server")
def test_guessing_keys_is_rate_limited(serve: Callable[..., str]) -> None:
    server = serve(ANONYMOUS_REQUESTS_PER_MINUTE="3")
    guesses = [{"Authorization": f"Api-Key abcdefgh.{number:032}"} for number in range(4)]
    avoid_the_end_of_a_minute()

    responses = [requests.get(f"{server}/api/v1/people", headers=guess, timeout=10) for guess in guesses]

    assert [response.status_code for response in responses] == [401, 401, 401, 429]
    assert "Retry-After" in responses[-1].headers


@pytest.mark.parametrize(
    "entries",
    [
        [f"192.0.2.7:{port}" for port in (1, 2, 3, 4)],
        [f"[2001:db8:1:2::{host}]:443" for host in (1, 2, 3, 4)],
        ["192.0.2.7", "::ffff:192.0.2.7", "[::ffff:c000:207]:80", "192.0.2.7:80"],
        ["unknown", "_x", "\u00ff", "1.2.3"],
    ],
    ids=["ports", "a /64 network", "IPv4 as IPv6", "garbage"],
)
def test_one_client_has_one_limit_whatever_the_proxy_writes(
    entries: list[str], api: APIClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRUSTED_PROXY_COUNT, settings.ANONYMOUS_REQUESTS_PER_MINUTE = 1, 3
    monkeypatch.setattr("people.api.throttling.time", SimpleNamespace(time=lambda: 60.0))  # in one minute

    statuses = [
        api.get("/api/v1/people", headers={"X-Forwarded-For": f"{number}.9.9.9, {entry}"}).status_code
        for number, entry in enumerate(entries)
    ]

    assert statuses == [401, 401, 401, 429]


def test_failed_logins_lock_the_admin(client: Client) -> None:
    User.objects.create_superuser("grace", password="right")
    wrong = {"username": "grace", "password": "wrong"}

    statuses = [client.post("/admin/login/", wrong).status_code for _ in range(10)]
    client.post("/admin/login/", {"username": "grace", "password": "right"})

    assert statuses[0] == 200
    assert statuses[-1] == 429
    assert client.get("/admin/").status_code == 302  # not even the right password logs in


@pytest.mark.slow("starts a web server")
@pytest.mark.both
def test_concurrent_visits_get_each_gist_once_while_syncs_store_gists(
    serve: Callable[..., str], ada: Person, github: GitHubStandIn, sync: Sync
) -> None:
    key = create_key()
    other_key = create_key("Other")
    Person.objects.update(backfill="none")
    server, syncs_finished = serve(API_REQUESTS_PER_MINUTE="1000000"), threading.Event()
    seen: dict[str, list[str]] = {key: [], other_key: []}

    def visit(own_key: str) -> None:
        with requests.Session() as session:
            session.headers["Authorization"] = f"Api-Key {own_key}"
            while True:
                is_last_round = syncs_finished.is_set()
                found = session.get(f"{server}/api/v1/people/ada?page_size=7", timeout=30).json()["gists"]
                seen[own_key] += [gist["github_id"] for gist in found]
                session.get(f"{server}/api/v1/people/ada?since=0&page_size=3", timeout=30)  # moves no marker
                if is_last_round and not found:
                    return

    published = []
    with ThreadPoolExecutor(22) as pool:
        visits = [pool.submit(visit, own_key) for own_key in [key] * 20 + [other_key] * 2]
        try:
            for _ in range(5):
                published += [github.publish("ada") for _ in range(100)]
                sync("--max-activities", "1")
        finally:
            syncs_finished.set()
    for finished in visits:
        finished.result()  # raises what the thread raised

    assert sorted(seen[key]) == sorted(seen[other_key]) == sorted(published)
