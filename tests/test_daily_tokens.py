"""Pipedrive's API tokens of a day: read from responses, stored, shown, and waited for when they are used up."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
import requests_mock
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from people.models import Gist, Person
from sync.clients.boot_clock import boot_clock
from sync.clients.errors import CircuitOpenError, ConfigurationError, OutageError, RejectedError
from sync.clients.pipedrive import PipedriveClient
from sync.clients.pipedrive_limits import DailyTokens
from sync.clients.transport import Timing
from sync.models import ApiState, PushAttempt, SyncRun
from tests.conftest import Sync
from tests.factories import create_run, let_time_pass
from tests.standins import GitHubStandIn, PipedriveStandIn

URL = "https://pipedrive.test"
PERSON = f"{URL}/api/v2/persons/7"
LIMIT, REMAINING = "x-daily-ratelimit-token-limit", "x-daily-ratelimit-token-remaining"
NOON = "Tue, 01 Dec 2026 12:00:00 GMT"
WINDOW = {"x-ratelimit-limit": "80", "x-ratelimit-remaining": "78", "x-ratelimit-reset": "2"}  # of two seconds


@pytest.fixture
def http() -> Iterator[requests_mock.Mocker]:
    with requests_mock.Mocker() as mocker:
        yield mocker


@pytest.fixture
def asking() -> PipedriveClient:
    return PipedriveClient(URL, "pd-secret", timing=Timing(retry=0.0, burst_pause=0.0))


def show(**headers: str | None) -> dict[str, Any]:
    """A response that shows the person, with these figures; None leaves the header out."""
    given = {**WINDOW, "date": headers.pop("date", NOON)}
    given |= {LIMIT: headers.get("limit"), REMAINING: headers.get("remaining")}
    body = {"success": True, "data": {"id": 7, "name": "Ada"}}
    return {"json": body, "headers": {name: text for name, text in given.items() if text is not None}}


# --- the headers ---
@pytest.mark.parametrize(
    ("limit", "remaining", "expected"),
    [
        ("150000", "148127", (148_127, 150_000)),
        (None, "148127", (148_127, None)),
        ("garbage", "5", (5, None)),
        ("150000", "150000.0", (150_000, 150_000)),
        ("150000", "99999999999999999999", (150_000, 150_000)),
        (None, "1e308", (10**12, None)),
        ("inf", "12", (12, 10**12)),
        ("150000", None, None),
        (None, None, None),
        ("150000", "", None),
        ("150000", "soon", None),
        ("150000", "nan", None),
        ("150000", "1, 2", None),
        ("150000", "148,127", None),
        ("0", "0", None),
        ("0", "5", None),
        ("-1", "0", None),
        ("0.5", "0", None),
    ],
)
def test_what_is_left_of_the_day_is_read_and_nonsense_is_not(
    limit: str | None,
    remaining: str | None,
    expected: tuple[int, int | None] | None,
    http: requests_mock.Mocker,
    asking: PipedriveClient,
) -> None:
    http.get(PERSON, [show(limit=limit, remaining=remaining), show()])

    for _ in range(2):  # A response without the headers changes nothing.
        assert asking.get_person(7).id == 7

    tokens = asking.daily_tokens
    assert (tokens and (tokens.remaining, tokens.limit)) == expected
    assert tokens is None or tokens.day == "2026-12-01"


@pytest.mark.parametrize(
    ("date", "day"),
    [
        ("Tue, 01 Dec 2026 23:59:59 GMT", "2026-12-01"),
        ("Wed, 02 Dec 2026 01:30:00 +0200", "2026-12-01"),
        ("Wed, 02 Dec 2026 00:00:00 GMT", "2026-12-02"),
    ],
)
def test_the_day_is_that_of_pipedrive_s_clock_in_utc(
    date: str, day: str, http: requests_mock.Mocker, asking: PipedriveClient
) -> None:
    http.get(PERSON, **show(date=date, remaining="9"))

    asking.get_person(7)

    assert asking.daily_tokens == DailyTokens(day, 9)


@pytest.mark.parametrize("date", ["soon", "", "Fri, 31 Dec 9999 23:59:59 -2359", "Sat, 01 Jan 0001 00:00:00 +2359"])
def test_an_odd_date_fails_no_request(date: str, http: requests_mock.Mocker, asking: PipedriveClient) -> None:
    http.get(PERSON, **show(date=date, remaining="9"))

    assert asking.get_person(7).id == 7


# --- where it is shown ---
def shown_status() -> str:
    output = StringIO()
    call_command("sync_status", stdout=output)
    return output.getvalue()


@pytest.mark.django_db
def test_the_tokens_of_today_are_shown_wherever_health_is_shown_and_the_two_second_window_is_not(
    ada: Person,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    api: APIClient,
    client: Client,
    admin_client: Client,
) -> None:
    github.publish("ada")
    pipedrive.daily_tokens = 150_000
    sync()
    left = 150_000 - pipedrive.spent
    cache.clear()

    limits = api.get("/api/v1/status").json()["limits"]["pipedrive"]
    metrics = dict(line.rsplit(" ", 1) for line in client.get("/metrics").content.decode().splitlines())

    words = f"{left:,} of 150,000 tokens of today"
    assert f"\npipedrive: {words}\n" in shown_status()
    assert limits["daily_tokens"] == {"day": f"{timezone.now():%Y-%m-%d}", "remaining": left, "limit": 150_000}
    assert (limits["remaining"], limits["reset"]) == (None, None)
    assert float(metrics["gisttracker_pipedrive_daily_tokens_remaining"]) == left
    assert float(metrics["gisttracker_pipedrive_daily_tokens_limit"]) == 150_000
    assert 'gisttracker_api_requests_remaining{api="pipedrive"}' not in metrics
    assert f"sent; {words}" in admin_client.get("/admin/").content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("days", [-1, 1, -400])
def test_the_tokens_of_another_day_are_not_shown_as_those_of_today(
    days: int, api: APIClient, client: Client, admin_client: Client
) -> None:
    day = f"{timezone.now() + timedelta(days=days):%Y-%m-%d}"
    limit = {"daily_tokens": {"day": day, "remaining": 148_127, "limit": 150_000}, "requests": 3}
    run = create_run(outcome="succeeded", trigger="schedule", limits={"pipedrive": limit})
    ApiState.objects.create(api="Pipedrive", limit=limit)
    cache.clear()

    assert "pipedrive: tokens of today unknown" in shown_status()
    assert api.get("/api/v1/status").json()["limits"]["pipedrive"]["daily_tokens"] is None
    assert "\ngisttracker_pipedrive_daily_tokens_" not in client.get("/metrics").content.decode()
    assert "tokens of" not in admin_client.get("/admin/").content.decode()
    page = admin_client.get(f"/admin/sync/syncrun/{run.pk}/change/").content.decode()
    assert f"148,127 of 150,000 tokens of {day}" in page


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (DailyTokens("2026-12-01", 148_127, 150_000), "148,127 of 150,000 tokens of today"),
        (DailyTokens("2026-12-01", 7), "7 tokens of today"),
        (DailyTokens("2026-11-30", 0, 150_000), "0 of 150,000 tokens of 2026-11-30"),
    ],
)
def test_the_tokens_in_words(tokens: DailyTokens, words: str) -> None:
    assert tokens.describe(datetime.fromisoformat("2026-12-01T23:59:59Z")) == words


@pytest.mark.django_db
def test_a_run_that_gets_no_figure_keeps_the_last_one(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada")
    sync()
    stored = ApiState.objects.get(api="Pipedrive").limit["daily_tokens"]
    github.publish("ada")
    pipedrive.daily_tokens = None

    sync()

    assert ApiState.objects.get(api="Pipedrive").limit["daily_tokens"] == stored
    assert "daily_tokens" not in SyncRun.objects.latest("pk").limits["pipedrive"]


# --- nothing is left ---
SPENT = show(limit="150000", remaining="0")


def test_the_request_that_uses_up_the_tokens_succeeds_and_is_the_last_one(
    http: requests_mock.Mocker, asking: PipedriveClient
) -> None:
    http.get(PERSON, **SPENT)
    before = boot_clock()

    assert asking.get_person(7).id == 7
    for _ in range(2):
        with pytest.raises(CircuitOpenError, match=r"resets at .* UTC \(the daily API tokens of the company") as caught:
            asking.get_person(7)
        assert not isinstance(caught.value, ConfigurationError | OutageError)

    assert http.call_count == 1
    assert asking.long_pause is not None
    assert asking.long_pause.until == pytest.approx(before + 12 * 3600, abs=30)


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
def test_a_refusal_or_failure_without_tokens_left_is_the_last_request_too(
    status: int, http: requests_mock.Mocker, asking: PipedriveClient
) -> None:
    http.get(PERSON, status_code=status, **{**SPENT, "json": {"success": False, "error": "no"}})

    for _ in range(2):
        with pytest.raises((CircuitOpenError, RejectedError)) as caught:
            asking.get_person(7)

    assert http.call_count == 1
    assert "daily API tokens" in str(caught.value)


def test_a_post_that_is_refused_without_tokens_left_was_not_processed(
    http: requests_mock.Mocker, asking: PipedriveClient
) -> None:
    """A Retry-After of seconds, as Pipedrive sends it, would end in vain."""
    headers = {**SPENT["headers"], "retry-after": "3"}
    http.post(f"{URL}/api/v2/persons", status_code=429, json={"success": False, "error": "no"}, headers=headers)

    with pytest.raises(CircuitOpenError, match="daily API tokens"):
        asking.create_person("Ada")

    assert http.call_count == 1


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("00:00:00", 3600),  # The figure may be that of the day before.
        ("00:59:59", 3600),
        ("01:00:00", 23 * 3600),
        ("23:59:58", 2),
    ],
)
def test_the_pause_lasts_until_midnight_by_pipedrive_s_clock(
    time: str, seconds: int, http: requests_mock.Mocker, asking: PipedriveClient
) -> None:
    http.get(PERSON, **show(date=f"Tue, 01 Dec 2026 {time} GMT", remaining="0"))
    before = boot_clock()

    asking.get_person(7)

    assert asking.long_pause is not None
    assert asking.long_pause.until == pytest.approx(before + seconds, abs=1)


@pytest.mark.parametrize("remaining", [None, "1", "", "soon", "nan", "148127"])
def test_without_that_figure_nothing_pauses(
    remaining: str | None, http: requests_mock.Mocker, asking: PipedriveClient
) -> None:
    """Not even in the two-second window, whose figure is another one."""
    window = {"x-ratelimit-remaining": "0"}
    shown = show(limit="150000", remaining=remaining)
    http.get(PERSON, json=shown["json"], headers={**shown["headers"], **window})

    for _ in range(2):
        asking.get_person(7)

    assert asking.long_pause is None


@pytest.mark.django_db
def test_runs_wait_for_the_next_day_with_one_message_and_lose_nothing(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    for _ in range(4):
        github.publish("ada")
    sync("--max-activities", "1", "--concurrency", "1")
    pipedrive.daily_tokens = pipedrive.spent + 10  # of which two requests use up the last
    first = sync("--concurrency", "1")
    requests = len(pipedrive.requests)
    second = sync()
    requested = sync("--person", "ada")

    for summary in (first, second, requested):
        assert (summary.code, summary.json["outcome"]) == (0, "rate_limited")
        assert len(summary.problems) == 1
        assert "the daily API tokens of the company are used up" in summary.problems[0]
    assert len(pipedrive.requests) == requests
    assert "pipedrive: 0 of" in shown_status()
    assert not PushAttempt.objects.filter(outcome="unknown").exists()
    assert set(Gist.objects.values_list("push_error", flat=True)) == {""}

    pipedrive.spent = 0
    let_time_pass(timedelta(days=1))
    assert (sync().code, len(pipedrive.activities)) == (0, 4)
    assert set(Gist.objects.values_list("push_state", flat=True)) == {"pushed"}


@pytest.mark.django_db
def test_a_run_whose_last_request_uses_up_the_tokens_has_succeeded(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada")
    sync()
    github.publish("ada")
    spent = pipedrive.spent
    sync()
    github.publish("ada")
    pipedrive.daily_tokens = pipedrive.spent + (pipedrive.spent - spent)

    last = sync()

    assert (last.json["outcome"], last.problems, len(pipedrive.activities)) == ("succeeded", [], 3)
    assert ApiState.objects.get(api="Pipedrive").limit["daily_tokens"]["remaining"] == 0
    assert sync().json["outcome"] == "succeeded"  # Nothing is to be pushed.


@pytest.mark.django_db
def test_another_token_is_not_paused(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> None:
    github.publish("ada")
    pipedrive.daily_tokens = 1
    sync()
    configured.PIPEDRIVE_TOKEN = "of-another-company"
    pipedrive.tokens.add("of-another-company")
    pipedrive.daily_tokens = None

    assert (sync().code, len(pipedrive.activities)) == (0, 1)


@pytest.mark.django_db
def test_an_undo_that_uses_up_the_tokens_pauses_the_next_run(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    for _ in range(3):
        github.publish("ada")
    sync()
    pipedrive.daily_tokens = pipedrive.spent + 1

    with pytest.raises(SystemExit):
        call_command("undo_run", str(SyncRun.objects.latest("pk").pk), stdout=StringIO(), stderr=StringIO())
    requests = len(pipedrive.requests)
    github.publish("ada")

    assert "is not called before" in sync().problems[0]
    assert len(pipedrive.requests) == requests
