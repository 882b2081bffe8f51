"""Rate limits, daily budgets, outages and rejected tokens."""

import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import pytest
from pytest_django import Settings

from people.models import Gist, Person
from sync.clients.errors import CapReachedError
from sync.clients.pipedrive import WINDOW_SECONDS
from sync.clients.rate_limit import Hit, Pause, RateLimiter, SlidingWindow
from sync.models import ApiState
from sync.push.budget import Budget
from tests.conftest import Sync
from tests.factories import create_gist, create_person, track_people
from tests.standins import GitHubStandIn, PipedriveStandIn, respond

REFUSAL = '{"success": false, "error": "no"}'  # Pipedrive's own
pytestmark = pytest.mark.django_db


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def create_limiter(limit: int, period: float, clock: Clock, **windows: SlidingWindow) -> RateLimiter:
    return RateLimiter(SlidingWindow(limit, period), windows, now=clock)


def wait(limiter: RateLimiter, window: str = "general") -> float:
    """Count a request if it may be sent now, and return 0; else return the seconds to wait."""
    hit = limiter.hit(window)
    return 0 if isinstance(hit, Hit) else hit


def test_a_window_allows_a_burst_and_then_waits_for_its_oldest_request() -> None:
    clock = Clock()
    limiter = create_limiter(3, 2.0, clock)
    burst = [wait(limiter) for _ in range(3)]
    clock.now += 0.5

    assert (burst, wait(limiter)) == ([0, 0, 0], 1.5)
    clock.now += 1.5
    assert [wait(limiter) for _ in range(4)] == [0, 0, 0, 2.0]


def test_a_delayed_request_is_not_counted() -> None:
    clock = Clock()
    limiter = create_limiter(1, 2.0, clock)
    wait(limiter)

    assert wait(limiter) == wait(limiter) == 2.0
    clock.now += 2.0
    assert wait(limiter) == 0


def test_a_search_counts_in_its_own_window_and_in_the_general_one() -> None:
    limiter = create_limiter(3, 2.0, Clock(), search=SlidingWindow(1, 2.0))

    assert [wait(limiter, "search"), wait(limiter, "search"), wait(limiter), wait(limiter), wait(limiter)] == [
        0,
        2.0,
        0,
        0,
        2.0,
    ]


def test_a_limit_reported_by_the_api_replaces_the_assumed_one() -> None:
    clock = Clock()
    limiter = create_limiter(1, 2.0, clock)
    wait(limiter)

    limiter.set_limit("general", 3)

    assert [wait(limiter) for _ in range(3)] == [0, 0, 2.0]


def test_a_pause_delays_every_request() -> None:
    clock = Clock()
    limiter = create_limiter(1000, 1.0, clock)
    limiter.pause(Pause(31, True, "requested"))

    assert (wait(limiter), limiter.pause_reason) == (31, "requested")
    clock.now += 31
    assert wait(limiter) == 0


def test_a_request_that_may_have_arrived_late_counts_later() -> None:
    """The first request of a connection takes longer; only the additional time counts."""
    clock = Clock()
    limiter = create_limiter(2, 2.0, clock)
    hits = [limiter.hit(), limiter.hit()]
    for hit, duration in zip(hits, (0.1, 0.4), strict=True):
        assert isinstance(hit, Hit)
        clock.now = hit.time + duration
        limiter.finish(hit, "GET")

    clock.now = 1002.0
    assert wait(limiter) == 0
    assert wait(limiter) == pytest.approx(0.3)


def test_a_short_rate_limit_is_waited_for(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada")
    pipedrive.fail("create_activity", respond(429, REFUSAL, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}))
    started = time.monotonic()

    summary = sync()

    assert summary.code == 0
    assert time.monotonic() - started >= 1
    assert Gist.objects.get().push_state == "pushed"


def test_a_used_up_daily_budget_stops_the_pushes_and_rejects_no_gist(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada")
    no_burst = {"x-ratelimit-remaining": "97", "x-ratelimit-reset": "2"}  # So the daily budget must be the reason.
    pipedrive.fail("create_activity", respond(429, REFUSAL, no_burst), times=99)

    summary = sync()

    assert (summary.code, summary.json["outcome"]) == (0, "rate_limited")
    assert "Pipedrive's rate limit resets at" in summary.problems[0]
    assert "(the daily budget is used up)" in summary.problems[0]
    assert (Gist.objects.get().push_state, len(pipedrive.requests_to("create_activity"))) == ("pending", 1)


@pytest.mark.slow("runs eight times for 200 people")
def test_without_a_github_token_every_person_is_polled_within_hours(
    github: GitHubStandIn, sync: Sync, configured: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    configured.GITHUB_TOKEN = ""
    for number in range(200):
        account = github.add_account(f"person-{number}")
        create_person(account.login, github_id=account.id, state="active")

    for _ in range(8):  # Two requests a person, and some are wasted when the hour is used up.
        github.new_hour()
        assert sync().code == 0
        assert github.used[False] <= 60

    assert not Person.objects.filter(polled_at=None).exists()
    assert "GitHub allows 60 requests an hour" in caplog.text
    assert "200 people need at least 400: about 7 hours" in caplog.text


def test_an_outage_of_pipedrive_does_not_stop_the_polls(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    track_people(github, 3, gists=1)
    github.publish("ada")
    pipedrive.fail("", respond(500), times=999)

    during = sync()
    pipedrive.heal()
    after = sync()

    assert (during.code, during.counts["gists_new"]) == (3, 4)
    assert "Pipedrive failed 5 times in a row" in " ".join(during.problems)
    assert (after.code, after.counts["gists_pushed"]) == (0, 4)


def test_an_outage_of_github_does_not_stop_the_pushes(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    gist_id = github.publish("ada")
    pipedrive.fail("", respond(503), times=999)
    sync()
    pipedrive.heal()
    github.fail("", respond(503), times=999)

    summary = sync()

    assert summary.json["outcome"] == "failed"
    assert pipedrive.gist_ids() == [gist_id]


@pytest.mark.parametrize("api_name", ["github", "pipedrive"])
@pytest.mark.parametrize("code", [401, 402])
def test_a_rejected_token_is_reported_with_exit_code_78(
    api_name: str, code: int, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada")
    {"github": github, "pipedrive": pipedrive}[api_name].fail("", respond(code), times=999)

    summary = sync()

    assert (summary.code, summary.json["outcome"]) == (78, "misconfigured")
    assert f"{api_name.upper()}_TOKEN" in summary.problems[-1]


def test_an_unreachable_pipedrive_leaves_no_unknown_outcome(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> None:
    gist_id = github.publish("ada")
    configured.PIPEDRIVE_API_URL = "http://127.0.0.1:9"  # Nothing listens there.
    unreachable = sync()
    configured.PIPEDRIVE_API_URL = pipedrive.url

    sync()

    assert (unreachable.code, unreachable.counts["gists_unknown"]) == (3, 0)
    assert pipedrive.gist_ids() == [gist_id]


def test_a_run_creates_at_most_max_activities(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    for _ in range(5):
        github.publish("ada")

    first = sync("--max-activities", "2")
    sync()

    assert (first.code, first.counts["gists_pushed"], first.json["outcome"]) == (0, 2, "rate_limited")
    assert "--max-activities" in first.problems[0]
    assert len(pipedrive.activities) == 5


def test_all_runs_share_the_daily_activities(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> None:
    configured.PIPEDRIVE_DAILY_ACTIVITIES = 3
    for _ in range(5):
        github.publish("ada")
    sync("--max-activities", "2")

    second = sync()
    third = sync()
    ApiState.objects.update(activity_day=datetime.now(UTC).date() - timedelta(days=1))
    Gist.objects.update(push_started_at=datetime.now(UTC) - timedelta(days=1))
    next_day = sync()

    assert [summary.counts["gists_pushed"] for summary in (second, third, next_day)] == [1, 0, 2]
    assert "created after" in second.problems[0]


def test_a_rejected_activity_is_not_counted_for_the_day(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> None:
    configured.PIPEDRIVE_DAILY_ACTIVITIES = 3
    github.publish("ada")
    pipedrive.fail("create_activity", respond(400, REFUSAL))

    sync()

    assert ApiState.objects.get(api="Pipedrive").activity_count == 0


# --- the activities of a day ---
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def book(wanted: int, *, per_day: int) -> int:
    return Budget(per_day=per_day).book(wanted, 0, NOON)


def count_today() -> int:
    return ApiState.objects.get(api="Pipedrive", activity_day=NOON.date()).activity_count


def test_runs_book_no_more_together_than_a_day_allows(db: None) -> None:
    booked = [book(2, per_day=3), book(2, per_day=3)]

    with pytest.raises(CapReachedError, match="created after 2026-01-02 00:00 UTC"):
        book(1, per_day=3)

    assert (booked, count_today()) == ([2, 1], 3)


@pytest.mark.parametrize(("started_at", "expected"), [(NOON.replace(hour=0), 2), (NOON - timedelta(hours=13), 1)])
def test_what_was_created_before_there_was_a_limit_counts(started_at: datetime, expected: int, ada: Person) -> None:
    create_gist(ada, push_state="pushed", push_started_at=started_at)

    book(1, per_day=3)

    assert count_today() == expected


@pytest.mark.parametrize(("day", "is_free"), [(-1, True), (0, False), (1, False), (2, True), (4000, True)])
def test_the_next_day_may_have_begun_elsewhere_but_no_later_one(day: int, is_free: bool) -> None:
    ApiState.objects.create(api="Pipedrive", activity_day=NOON.date() + timedelta(days=day), activity_count=1)

    with nullcontext() if is_free else pytest.raises(CapReachedError):
        book(1, per_day=1)


def test_searches_of_both_kinds_keep_to_their_pace(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync.clients.pipedrive.WINDOW_SECONDS", WINDOW_SECONDS)  # `sync` has changed it.
    pipedrive.limits = {"search": 10}
    for number in range(5):  # Of more people, all persons would be read instead.
        login = f"person-{number}"
        github.add_account(login, email=f"{login}@example.com")
        github.publish(login)
        create_person(login)

    assert sync().counts["gists_pushed"] == 5
    by_id, by_email_or_name = pipedrive.counts["search_items"], pipedrive.counts["search_persons"]
    assert (by_id, by_email_or_name) == (5, 10)
    assert pipedrive.rate_limited_count == 0
