"""The service about itself: status, runs, metrics; and that it is safe by default."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import requests
from django.test import Client, RequestFactory
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings
from rest_framework.test import APIClient

from gisttracker.middleware import client_address
from people.models import ApiKey, Person
from sync.models import SyncRun
from tests.conftest import ROOT, Sync
from tests.factories import publish
from tests.standins import GitHubStandIn

pytestmark = pytest.mark.django_db(transaction=True)
STRONG = "Zq8-kT3_vW6-pR1_xY9-" * 4


@pytest.fixture
def limited(settings: Settings, api: APIClient) -> None:
    """As in production: a key is checked, and requests are counted."""
    settings.API_AUTH, settings.API_REQUESTS_PER_MINUTE = "key", 1000
    _, key = ApiKey.objects.create_key(name="Team")
    api.credentials(HTTP_AUTHORIZATION=f"Api-Key {key}")


def test_the_status_tells_how_the_sync_is_doing(
    ada: Person,
    github: GitHubStandIn,
    sync: Sync,
    api: APIClient,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    github.publish("ada")
    sync()
    (rejected,) = publish(ada, 1, push_state="rejected", push_error="no")

    with django_assert_max_num_queries(11):
        told = api.get("/api/v1/status").json()

    assert told["last_run"]["outcome"] == told["last_successful_run"]["outcome"] == "succeeded"
    assert 0 <= told["age_seconds"] < 60
    assert (told["people"]["active"], told["gists"]["pushed"], told["backlog"]) == (1, 1, 0)
    assert told["rejected"] == [{"person": "ada", "gist": rejected.github_id, "reason": "no"}]
    assert told["limits"]["github"]["remaining"] > 0


@pytest.mark.parametrize("address", ["people", "people?search=ada", "people/ada", "people/ada/gists", "sync-runs"])
def test_every_answer_takes_few_statements(
    address: str, ada: Person, api: APIClient, limited: None, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    publish(ada, 20)
    api.get("/api/v1/people")  # The first request of a minute counts anew.

    with django_assert_max_num_queries(11):
        assert api.get(f"/api/v1/{address}").status_code == 200


def test_a_good_run_for_one_person_does_not_count_as_the_last_good_one(
    ada: Person, github: GitHubStandIn, sync: Sync, api: APIClient
) -> None:
    sync("--person", "ada")

    told = api.get("/api/v1/status").json()

    assert (told["last_run"]["trigger"], told["last_successful_run"]) == ("person", None)


def test_runs_are_listed_newest_first(api: APIClient) -> None:
    now = timezone.now()
    runs = [
        SyncRun.objects.create(
            token=str(number), started_at=now, round_started_at=now, heartbeat_at=now, host="h", errors="one\ntwo"
        )
        for number in range(3)
    ]

    page = api.get("/api/v1/sync-runs?page_size=2").json()
    one = api.get(f"/api/v1/sync-runs/{runs[0].pk}/").json()

    assert (page["count"], [row["id"] for row in page["results"]]) == (3, [runs[2].pk, runs[1].pk])
    assert one["problems"] == ["one", "two"]
    assert api.get("/api/v1/sync-runs/999").status_code == api.get("/api/v1/sync-runs/x").status_code == 404


def test_metrics_are_prometheus_text(
    ada: Person,
    github: GitHubStandIn,
    sync: Sync,
    api: APIClient,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    github.publish("ada")
    sync()
    publish(ada, 1)
    Person.objects.update(polled_at=timezone.now() - timedelta(hours=2))

    with django_assert_max_num_queries(11):
        answer = api.get("/metrics")

    text = answer.content.decode()
    numbers = dict(re.findall(r"^(gisttracker_\S+) (\S+)$", text, re.MULTILINE))
    assert answer["Content-Type"].startswith("text/plain; version=")
    assert float(numbers["gisttracker_last_success_timestamp_seconds"]) > timezone.now().timestamp() - 60
    assert numbers['gisttracker_gists{push_state="pending"}'] == numbers['gisttracker_people{state="active"}'] == "1.0"
    assert numbers['gisttracker_runs{outcome="succeeded"}'] == "1.0"
    assert 7100 < float(numbers["gisttracker_oldest_poll_age_seconds"]) < 7300
    assert float(numbers["gisttracker_oldest_pending_age_seconds"]) >= 0
    assert numbers["gisttracker_last_run_refused"] == "0.0"
    assert float(numbers['gisttracker_api_requests_remaining{api="github"}']) > 0


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1.2_3", True), ("a b", False), ("x" * 65, False), ("", False), ("ü", False)]
)
def test_a_request_id_is_taken_or_made(api: APIClient, given: str, kept: bool) -> None:
    answer = api.get("/api/v1/people", HTTP_X_REQUEST_ID=given)

    assert (answer["X-Request-ID"] == given) is kept
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", answer["X-Request-ID"])


def test_pages_allow_no_scripts_but_ours(client: Client) -> None:
    for address in ("/documentation/", "/admin/login/"):
        answer = client.get(address)
        assert "script-src 'self'" in answer["Content-Security-Policy"]
        assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>\s*\S", answer.content.decode())
        assert (answer["X-Content-Type-Options"], answer["X-Frame-Options"]) == ("nosniff", "DENY")


def test_no_other_origin_may_call_the_api(client: Client, settings: Settings) -> None:
    origin = {"HTTP_ORIGIN": "https://app.example.com"}
    before = client.get("/api/v1/people", **origin)  # type: ignore[arg-type]
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example.com"]

    after = client.get("/api/v1/people", **origin)  # type: ignore[arg-type]

    assert "Access-Control-Allow-Origin" not in before
    assert after["Access-Control-Allow-Origin"] == "https://app.example.com"


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, "6.6.6.6", "127.0.0.1"),
        (1, "", "127.0.0.1"),
        (1, "6.6.6.6, 9.9.9.9", "9.9.9.9"),
        (2, "x, 8.8.8.8, p", "8.8.8.8"),
    ],
)
def test_only_the_proxies_in_front_are_believed(
    proxies: int, forwarded: str, expected: str, rf: RequestFactory, settings: Settings
) -> None:
    settings.PROXIES = proxies

    assert client_address(rf.get("/", headers={"X-Forwarded-For": forwarded})) == expected


def start(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "gisttracker.settings", "API_AUTH": "", **variables}
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY is not set"),
        ({"SECRET_KEY": "changeme"}, "SECRET_KEY is too short or an example"),
        ({"SECRET_KEY": "django-insecure-" + STRONG}, "SECRET_KEY is too short or an example"),
        ({"SECRET_KEY": "a" * 60}, "SECRET_KEY is too short or an example"),
        ({"SECRET_KEY": STRONG, "ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS is *"),
    ],
)
def test_it_does_not_serve_in_an_unsafe_way(variables: dict[str, str], says: str) -> None:
    refused = start("-c", "import gisttracker.wsgi", **variables)
    allowed = start("-c", "import gisttracker.wsgi", **variables, INSECURE="true")

    assert (refused.returncode, len(refused.stderr.splitlines())) == (78, 1)
    assert says in refused.stderr
    assert allowed.returncode == 0, allowed.stderr


def test_django_s_own_check_for_production_is_clean() -> None:
    done = start("manage.py", "check", "--deploy", "--fail-level", "WARNING", SECRET_KEY=STRONG, HTTPS="true")

    assert done.returncode == 0, done.stderr


def test_plain_http_is_redirected_and_the_proxy_is_believed(serve: Callable[..., str]) -> None:
    server = serve(HTTPS="true", PROXIES="1")
    _, key = ApiKey.objects.create_key(name="Team")
    headers = {"Authorization": f"Api-Key {key}", "X-Forwarded-Proto": "https"}

    plain = requests.get(f"{server}/api/v1/people", allow_redirects=False, timeout=10)
    through_proxy = requests.get(f"{server}/api/v1/people", headers=headers, timeout=10)

    assert (plain.status_code, plain.headers["Location"][:8]) == (301, "https://")
    assert through_proxy.status_code == 200
    assert "max-age=31536000" in through_proxy.headers["Strict-Transport-Security"]
    assert requests.get(f"{server}/readyz", timeout=10).status_code == 200


def readme_commands() -> list[str]:
    chapter = (ROOT / "README.md").read_text().split("## The API")[1].split("## The sync")[0]
    return [line.strip() for line in chapter.splitlines() if line.startswith("    ") and "curl " in line]


def test_every_example_of_the_readme_works(serve: Callable[..., str]) -> None:
    server = serve()
    _, key = ApiKey.objects.create_key(name="my-team")
    script = ["set -e", 'curl() { command curl -sS --fail-with-body "$@"; echo; }', *readme_commands()]
    environment: dict[str, Any] = {**os.environ, "KEY": key}

    done = subprocess.run(
        ["bash", "-c", "\n".join(script).replace("http://127.0.0.1:3000", server)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert len(readme_commands()) >= 15
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(Person.objects.values_list("github_username", "state")) == [
        ("ada", "new"),
        ("bjarne", "new"),
        ("grace", "paused"),
        ("ken", "new"),
    ]
