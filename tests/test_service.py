"""Status, runs and metrics; request ids, security headers and safe defaults."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta

import pytest
import requests
from django.core.management import call_command
from django.test import Client, RequestFactory
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings
from rest_framework.test import APIClient

from gisttracker.web.client_address import get_client_address
from people.models import Gist, Person
from sync.models import StreamGap, StreamState
from tests.conftest import ROOT, Sync
from tests.factories import create_gist, create_gists, create_key, create_person, create_run
from tests.standins import GitHubStandIn

pytestmark = pytest.mark.django_db
STRONG_KEY = "Zq8-kT3_vW6-pR1_xY9-" * 4


@pytest.fixture
def production_limits(settings: Settings, api: APIClient) -> None:
    """Checks a key and counts requests, as in production."""
    settings.API_AUTH, settings.API_REQUESTS_PER_MINUTE = "key", 1000
    key = create_key()
    api.credentials(HTTP_AUTHORIZATION=f"Api-Key {key}")


@pytest.mark.both
def test_the_status_shows_the_last_run_counts_and_rejected_gists(
    ada: Person,
    github: GitHubStandIn,
    sync: Sync,
    api: APIClient,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    github.publish("ada")
    sync()
    rejected = create_gist(ada, push_state="rejected", push_error="no")

    with django_assert_max_num_queries(28):
        status = api.get("/api/v1/status").json()

    assert status["last_run"]["outcome"] == status["last_successful_run"]["outcome"] == "succeeded"
    assert 0 <= status["age_seconds"] < 60
    assert (status["people"]["active"], status["gists"]["pushed"], status["backlog"]) == (1, 1, 0)
    assert status["rejected"] == [{"person": "ada", "gist": rejected.github_id, "reason": "no"}]
    assert status["limits"]["github"]["remaining"] > 0


@pytest.mark.parametrize("address", ["people", "people?search=ada", "people/ada", "people/ada/gists", "sync-runs"])
def test_each_request_takes_few_queries(
    address: str,
    ada: Person,
    api: APIClient,
    production_limits: None,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    create_gists(ada, 20)
    api.get("/api/v1/people")  # The first request of a minute creates the counter.

    with django_assert_max_num_queries(11):
        assert api.get(f"/api/v1/{address}").status_code == 200


def test_a_run_for_one_person_is_not_the_last_successful_run(
    ada: Person, github: GitHubStandIn, sync: Sync, api: APIClient
) -> None:
    sync("--person", "ada")

    status = api.get("/api/v1/status").json()

    assert (status["last_run"]["trigger"], status["last_successful_run"]) == ("person", None)


@pytest.mark.both
def test_runs_are_listed_newest_first(api: APIClient) -> None:
    runs = [create_run(f"problem of {number}") for number in range(3)]

    page = api.get("/api/v1/sync-runs?page_size=2").json()
    one = api.get(f"/api/v1/sync-runs/{runs[0].pk}/").json()

    assert (page["count"], [row["id"] for row in page["results"]]) == (3, [runs[2].pk, runs[1].pk])
    assert [row["problems"][0]["reason"] for row in page["results"]] == ["problem of 2", "problem of 1"]
    assert [problem["reason"] for problem in one["problems"]] == ["problem of 0"]
    assert api.get("/api/v1/sync-runs/999").status_code == api.get("/api/v1/sync-runs/x").status_code == 404


def test_a_run_has_the_same_json_in_the_list_the_status_and_the_command(
    api: APIClient, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = {"github": {"remaining": 12.0, "requests": 3, "stopped": "", "resets_at": "2026-11-24T10:00:00+00:00"}}
    create_run(
        outcome="succeeded", finished_at=timezone.now(), trigger="schedule", counts={"gists_new": 2}, limits=limits
    )

    (listed,) = api.get("/api/v1/sync-runs").json()["results"]
    call_command("sync_status", "--json")
    printed = json.loads(capsys.readouterr().out)

    assert listed == api.get("/api/v1/status").json()["last_run"] == printed["last_run"]
    assert printed["last_successful_run"] == listed
    assert all(re.fullmatch(r"[0-9T:.-]+Z", listed[name]) for name in ("started_at", "finished_at"))
    assert listed["limits"]["github"]["resets_at"] == "2026-11-24T10:00:00Z"


def test_a_run_in_progress_has_zero_counts_and_empty_limits(api: APIClient) -> None:
    run = create_run()

    body = api.get(f"/api/v1/sync-runs/{run.pk}").json()

    assert len(body["counts"]) == 16
    assert set(body["counts"].values()) == {0}
    empty = {"remaining": None, "reset": None, "daily_tokens": None, "requests": 0, "stopped": "", "resets_at": None}
    assert body["limits"] == {"github": empty, "pipedrive": empty}


def test_the_status_counts_each_state_before_the_first_run(api: APIClient) -> None:
    status = api.get("/api/v1/status").json()

    assert status["people"] == dict.fromkeys(Person.State.values, 0)
    assert status["gists"] == dict.fromkeys(Gist.PushState.values, 0)
    assert (status["last_run"], status["age_seconds"], status["oldest_poll_at"]) == (None, None, None)


@pytest.mark.both
def test_metrics_have_prometheus_text_format(
    ada: Person,
    github: GitHubStandIn,
    sync: Sync,
    api: APIClient,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    github.publish("ada")
    sync()
    create_gist(ada)
    Person.objects.update(polled_at=timezone.now() - timedelta(hours=2))

    with django_assert_max_num_queries(27):
        response = api.get("/metrics")

    text = response.content.decode()
    numbers = dict(re.findall(r"^(gisttracker_\S+) (\S+)$", text, re.MULTILINE))
    assert response["Content-Type"].startswith("text/plain; version=")
    assert float(numbers["gisttracker_last_success_timestamp_seconds"]) > timezone.now().timestamp() - 60
    assert numbers['gisttracker_gists{push_state="pending"}'] == numbers['gisttracker_people{state="active"}'] == "1.0"
    assert numbers['gisttracker_runs{outcome="succeeded"}'] == "1.0"
    assert 7100 < float(numbers["gisttracker_oldest_poll_age_seconds"]) < 7300
    assert float(numbers["gisttracker_oldest_pending_age_seconds"]) >= 0
    assert numbers["gisttracker_healthy"] == "1.0"
    assert numbers['gisttracker_problem{code="polls_stale"}'] == "0.0"
    assert float(numbers['gisttracker_api_requests_remaining{api="github"}']) > 0


@pytest.mark.parametrize(
    ("given", "is_valid"), [("abc-1.2_3", True), ("a b", False), ("x" * 65, False), ("", False), ("ü", False)]
)
def test_a_valid_request_id_is_kept_and_another_is_replaced(api: APIClient, given: str, is_valid: bool) -> None:
    response = api.get("/api/v1/people", HTTP_X_REQUEST_ID=given)

    assert (response["X-Request-ID"] == given) is is_valid
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", response["X-Request-ID"])


def test_pages_allow_only_scripts_of_this_service(client: Client) -> None:
    for address in ("/documentation/", "/admin/login/"):
        response = client.get(address)
        assert "script-src 'self'" in response["Content-Security-Policy"]
        assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>\s*\S", response.content.decode())
        assert (response["X-Content-Type-Options"], response["X-Frame-Options"]) == ("nosniff", "DENY")


def test_only_configured_origins_may_call_the_api(client: Client, settings: Settings) -> None:
    origin = {"HTTP_ORIGIN": "https://app.example.com"}
    before = client.get("/api/v1/people", **origin)  # type: ignore[arg-type]
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example.com"]

    after = client.get("/api/v1/people", **origin)  # type: ignore[arg-type]

    assert "Access-Control-Allow-Origin" not in before
    assert after["Access-Control-Allow-Origin"] == "https://app.example.com"


@pytest.mark.parametrize(
    ("proxy_count", "forwarded", "expected"),
    [
        (0, "6.6.6.6", "127.0.0.1"),
        (1, "", "127.0.0.1"),
        (1, "6.6.6.6, 9.9.9.9", "9.9.9.9"),
        (2, "x, 8.8.8.8, p", "8.8.8.8"),
        (1, "6.6.6.6, 9.9.9.9:5678", "9.9.9.9"),
        (1, '"[2001:DB8::1]:443"', "2001:db8::1"),
        (1, "9.9.9.9, unknown", "unknown"),
    ],
)
def test_only_trusted_proxies_set_the_client_address(
    proxy_count: int, forwarded: str, expected: str, rf: RequestFactory, settings: Settings
) -> None:
    settings.TRUSTED_PROXY_COUNT = proxy_count

    assert get_client_address(rf.get("/", headers={"X-Forwarded-For": forwarded})) == expected


def run_python(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "gisttracker.config.settings", "API_AUTH": "", **variables}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow("starts two processes")
@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY is not set"),
        ({"SECRET_KEY": "changeme"}, "SECRET_KEY is too short or an example"),
        ({"SECRET_KEY": "django-insecure-" + STRONG_KEY}, "SECRET_KEY is too short or an example"),
        ({"SECRET_KEY": "a" * 60}, "SECRET_KEY is too short or an example"),
        ({"SECRET_KEY": STRONG_KEY, "ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS is *"),
    ],
)
def test_unsafe_settings_stop_the_web_service(variables: dict[str, str], message: str) -> None:
    stopped = run_python("-c", "import gisttracker.web.wsgi", **variables)
    allowed = run_python("-c", "import gisttracker.web.wsgi", **variables, ALLOW_INSECURE="true")

    assert (stopped.returncode, len(stopped.stderr.splitlines())) == (78, 1)
    assert message in stopped.stderr
    assert allowed.returncode == 0, allowed.stderr


@pytest.mark.slow("starts manage.py as a process")
def test_check_deploy_passes_with_safe_settings() -> None:
    completed = run_python(
        "manage.py", "check", "--deploy", "--fail-level", "WARNING", SECRET_KEY=STRONG_KEY, REQUIRE_HTTPS="true"
    )

    assert completed.returncode == 0, completed.stderr


@pytest.mark.slow("starts manage.py as a process")
def test_check_deploy_reports_unsafe_settings() -> None:
    completed = run_python("manage.py", "check", "--deploy", SECRET_KEY="", ALLOWED_HOSTS="*")

    assert completed.returncode == 1
    assert "gisttracker.E001" in completed.stderr
    assert "gisttracker.E003" in completed.stderr


@pytest.mark.slow("starts a web server")
def test_plain_http_is_redirected_unless_the_proxy_received_https(serve: Callable[..., str]) -> None:
    server = serve(REQUIRE_HTTPS="true", TRUSTED_PROXY_COUNT="1")
    key = create_key()
    headers = {"Authorization": f"Api-Key {key}", "X-Forwarded-Proto": "https"}

    plain = requests.get(f"{server}/api/v1/people", allow_redirects=False, timeout=10)
    through_proxy = requests.get(f"{server}/api/v1/people", headers=headers, timeout=10)

    assert (plain.status_code, plain.headers["Location"][:8]) == (301, "https://")
    assert through_proxy.status_code == 200
    assert "max-age=31536000" in through_proxy.headers["Strict-Transport-Security"]
    assert requests.get(f"{server}/readyz", timeout=10).status_code == 200


def test_how_new_gists_are_found_is_in_the_status_and_the_metrics(
    api: APIClient, settings: Settings, admin_client: Client
) -> None:
    """One gist was shown by the stream after 30 and pushed after 45 seconds, another was missed."""
    settings.GITHUB_STREAM = True
    now = timezone.now()
    StreamState.objects.create(
        pk=1, first_read_at=now, attempted_at=now, read_at=now, newest_at=now, problem="no", problem_since=now
    )
    StreamGap.objects.create(since=now - timedelta(hours=2), until=now - timedelta(hours=1), reason="nothing")
    for discovery in ("stream", "missed"):
        gist = create_gist(create_person(discovery), discovery=discovery, push_state="pushed", github_created_at=now)
        columns = {"created_at": now + timedelta(seconds=30), "pushed_at": now + timedelta(seconds=45)}
        Gist.objects.filter(pk=gist.pk).update(**columns)

    stream = api.get("/api/v1/status").json()["stream"]
    metrics = admin_client.get("/metrics").content.decode()
    panel = admin_client.get("/admin/").content.decode()

    assert (stream["enabled"], stream["coverage"], stream["hinted"], stream["missed"]) == (True, 0.5, 1, 1)
    assert (stream["stored"], stream["pushed"]) == ({"median": 30.0, "p95": 30.0}, {"median": 45.0, "p95": 45.0})
    assert [(gap["until"] is None, gap["reason"]) for gap in stream["gaps"]] == [(True, "no"), (False, "nothing")]
    assert "gisttracker_stream_coverage 0.5" in metrics
    assert 'gisttracker_gist_latency_seconds{quantile="0.95",until="pushed"} 45.0' in metrics
    assert "1 of 2 new gists of tracked people were in it (50.0%); in Pipedrive after 45 s (95%: 45 s)" in panel


def test_without_the_stream_the_status_says_so(api: APIClient, settings: Settings, admin_client: Client) -> None:
    settings.GITHUB_STREAM = False

    assert api.get("/api/v1/status").json()["stream"]["enabled"] is False
    assert "found by polls" in admin_client.get("/admin/").content.decode()
