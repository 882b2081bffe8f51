"""The end of GITHUB_TOKEN: read from responses, stored, shown, and said before it comes."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
import requests_mock
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from people.models import Person
from sync.clients.errors import SyncError
from sync.clients.github import GitHubClient
from sync.clients.transport import Timing
from sync.health.judge import judge
from sync.health.problems import HealthState
from sync.models import ApiState
from tests.conftest import Sync
from tests.factories import create_run
from tests.standins import GitHubStandIn, respond

URL = "https://api.github.test"
PATH = f"{URL}/users/ada/gists?per_page=100"
HEADER = "GitHub-Authentication-Token-Expiration"
DATE = {"Date": "Tue, 01 Dec 2026 12:00:00 GMT"}
END = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.fixture
def http() -> Iterator[requests_mock.Mocker]:
    with requests_mock.Mocker() as mocker:
        yield mocker


@pytest.fixture
def asking() -> GitHubClient:
    return GitHubClient(URL, "gh-secret", timing=Timing(retry=0.0, secondary_pause=0.0))


def show_end(text: str) -> dict[str, Any]:
    return {"json": [], "headers": {**DATE, HEADER: text}}


# --- the header ---
@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("2026-12-31 23:59:59 UTC", END),
        ("2027-01-01 01:59:59 +0200", END),
        ("2026-12-31 16:59:59 -0700", END),
        ("2027-01-01 05:29:59 +05:30", END),
        ("9000-12-31 23:59:59 UTC", datetime(9000, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_the_end_of_the_token_is_read_in_each_documented_form(
    text: str, end: datetime, http: requests_mock.Mocker, asking: GitHubClient
) -> None:
    http.get(PATH, **show_end(text))

    asking.get_first_page("ada")

    assert (asking.token_expires_at, asking.knows_token_end) == (end, True)


NONSENSE = [
    "",
    "soon",
    "null",
    "-1",
    "1798761599",
    "2026-12-31",
    "2026-12-31 23:59:59",
    "2026-12-31 23:59:59 +9900",
    "2026-13-31 23:59:59 UTC",
    "2026-12-31 23:59:59 UTC, 2027-12-31 23:59:59 UTC",
    "2026-12-31 23:59:59 UTC" * 1000,
    "1999-12-31 23:59:59 UTC",  # The token works.
    "2026-12-01 17:00:01 +0500",  # The current time, which GitHub has shown for tokens that end much later.
    "0001-01-01 00:00:00 +2359",
    "9999-12-31 23:59:59 -2359",
]


@pytest.mark.parametrize("text", NONSENSE)
def test_an_end_that_cannot_be_is_ignored(text: str, http: requests_mock.Mocker, asking: GitHubClient) -> None:
    http.get(PATH, [show_end(text), show_end("2026-12-31 23:59:59 UTC"), show_end(text)])

    assert asking.get_first_page("ada").gists == []
    assert (asking.token_expires_at, asking.knows_token_end) == (None, False)

    for _ in range(2):
        asking.get_first_page("ada")
    assert asking.token_expires_at == END


@pytest.mark.parametrize(
    ("response", "is_known"),
    [
        ({"json": []}, True),
        ({"status_code": 304}, False),
        ({"status_code": 401, "json": {"message": "Bad credentials"}}, False),
        ({"status_code": 403, "json": {"message": "Not allowed"}}, False),
        ({"status_code": 404, "json": {"message": "Not Found"}}, False),
    ],
    ids=str,
)
def test_only_a_success_without_the_header_shows_that_the_token_does_not_end(
    response: dict[str, Any], is_known: bool, http: requests_mock.Mocker, asking: GitHubClient
) -> None:
    http.get(PATH, **response)

    try:
        asking.get_first_page("ada", etag='"x"')
    except SyncError:
        assert not is_known

    assert (asking.token_expires_at, asking.knows_token_end) == (None, is_known)


def test_one_response_without_the_header_does_not_hide_the_end(
    http: requests_mock.Mocker, asking: GitHubClient
) -> None:
    http.get(PATH, [show_end("2026-12-31 23:59:59 UTC"), {"json": []}])

    for _ in range(2):
        asking.get_first_page("ada")

    assert asking.token_expires_at == END


# --- the row ---
def stored_end() -> datetime | None:
    return ApiState.objects.get(api="GitHub").token_expires_at


@pytest.mark.django_db
def test_the_end_is_stored_and_replaced_and_cleared_by_a_token_without_one(
    ada: Person, github: GitHubStandIn, sync: Sync
) -> None:
    seen = []
    for end in ("2099-01-01 00:00:00 UTC", "garbage", "2098-01-01 00:00:00 +0100", ""):
        github.token_end = end
        Person.objects.update(etag="")
        sync()
        seen.append(stored_end())

    first, second = datetime(2099, 1, 1, tzinfo=UTC), datetime(2097, 12, 31, 23, tzinfo=UTC)
    assert seen == [first, first, second, None]


@pytest.mark.django_db
@pytest.mark.parametrize("shown", ["within an hour", "in an unknown form"])
def test_a_success_after_the_end_shows_that_it_was_not_the_end(
    shown: str, ada: Person, github: GitHubStandIn, sync: Sync
) -> None:
    sync()
    now = timezone.now()
    ApiState.objects.filter(api="GitHub").update(token_expires_at=now - timedelta(days=3))
    soon = now + timedelta(minutes=50)
    github.token_end = f"{soon:%Y-%m-%d %H:%M:%S} UTC" if shown == "within an hour" else f"{soon:%FT%TZ}"
    Person.objects.update(etag="")

    assert sync().code == 0

    assert stored_end() is None


@pytest.mark.django_db
def test_a_run_in_which_github_refuses_the_token_keeps_its_end(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    sync()
    end = stored_end()
    github.fail_always("", respond(401, '{"message": "Bad credentials"}'))

    assert sync().code == 78

    assert end is not None
    assert stored_end() == end


@pytest.mark.django_db
def test_the_end_is_shown_wherever_health_is_shown(api: APIClient, client: Client, admin_client: Client) -> None:
    end = timezone.now().replace(microsecond=0) + timedelta(days=40, minutes=1)
    create_run(outcome="succeeded", trigger="schedule")
    ApiState.objects.create(api="GitHub", token_expires_at=end)
    cache.clear()
    output = StringIO()

    call_command("sync_status", stdout=output)

    assert f"GITHUB_TOKEN: ends {end:%Y-%m-%d %H:%M} UTC" in output.getvalue()
    assert api.get("/api/v1/status").json()["github_token_expires_at"] == f"{end:%Y-%m-%dT%H:%M:%SZ}"
    metrics = dict(line.rsplit(" ", 1) for line in client.get("/metrics").content.decode().splitlines())
    assert float(metrics["gisttracker_github_token_expiry_timestamp_seconds"]) == end.timestamp()
    assert f'title="{end:%Y-%m-%d %H:%M:%S} UTC"' in admin_client.get("/admin/").content.decode()


@pytest.mark.django_db
def test_a_token_without_an_end_is_not_shown(api: APIClient, client: Client) -> None:
    output = StringIO()
    ApiState.objects.create(api="GitHub")
    create_run(outcome="succeeded", trigger="schedule")

    call_command("sync_status", stdout=output)

    assert "GITHUB_TOKEN" not in output.getvalue()
    assert api.get("/api/v1/status").json()["github_token_expires_at"] is None
    assert "\ngisttracker_github_token_expiry_timestamp_seconds" not in client.get("/metrics").content.decode()


# --- what is said before it comes ---
DAY = timedelta(days=1)


def judge_end(left: timedelta | None, **columns: Any) -> list[tuple[str, str]]:
    """Codes and severities, when the token ends after this time."""
    now = timezone.now()
    columns["token_expires_at"] = None if left is None else now + left
    create_run(outcome="succeeded", trigger="schedule")
    ApiState.objects.update_or_create(api="GitHub", defaults=columns)
    return [(problem.code, problem.severity) for problem in judge(now).problems]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("left", "severity"),
    [
        (None, ""),
        (2_900_000 * DAY, ""),
        (14 * DAY, ""),
        (14 * DAY - timedelta(seconds=1), "ticket"),
        (2 * DAY, "ticket"),
        (2 * DAY - timedelta(seconds=1), "page"),
        (timedelta(0), "page"),
        (-DAY, "page"),
        (-2_000 * DAY, "page"),
    ],
    ids=str,
)
def test_the_end_is_a_ticket_two_weeks_before_and_a_page_two_days_before(left: timedelta | None, severity: str) -> None:
    assert judge_end(left) == ([("github_token_expires", severity)] if severity else [])


@pytest.mark.django_db
@pytest.mark.parametrize("left", [-DAY, DAY, 10 * DAY])
def test_a_token_that_is_refused_is_one_problem(left: timedelta) -> None:
    refused = {"problem": "refused", "message": "GITHUB_TOKEN was refused", "problem_since": timezone.now()}

    assert judge_end(left, **refused) == [("github_refused", "page")]


@pytest.mark.django_db
def test_the_message_names_the_end_and_what_to_do() -> None:
    judge_end(DAY)
    end = stored_end()

    (problem,) = judge(timezone.now()).problems

    assert end is not None
    assert problem.summary.startswith(f"GITHUB_TOKEN is valid until {end:%Y-%m-%d %H:%M} UTC.")
    assert "Create a new token at GitHub, and set GITHUB_TOKEN" in problem.action
    assert judge(timezone.now()).state == HealthState.UNHEALTHY
