"""The limits of both APIs are kept, and a small budget is shared fairly."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from people.models import Gist, Person
from sync.clients.rate_limit import Hit, Pause, RateLimiter, SlidingWindow
from sync.models import ActivityDay, SyncRun
from tests.conftest import Sync
from tests.standins import GitHubStandIn, PipedriveStandIn, respond

pytestmark = pytest.mark.django_db(transaction=True)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def limiter(limit: int, period: float, clock: Clock, **windows: SlidingWindow) -> RateLimiter:
    return RateLimiter(SlidingWindow(limit, period), windows, now=clock)


def wait(limits: RateLimiter, window: str = "general") -> float:
    """Count a request now, which takes 0 s to wait, or the seconds to wait."""
    hit = limits.hit(window)
    return 0 if isinstance(hit, Hit) else hit


def test_a_window_lets_a_burst_through_and_then_waits_for_its_oldest_request() -> None:
    clock = Clock()
    limits = limiter(3, 2.0, clock)
    burst = [wait(limits) for _ in range(3)]
    clock.now += 0.5

    assert (burst, wait(limits)) == ([0, 0, 0], 1.5)
    clock.now += 1.5
    assert [wait(limits) for _ in range(4)] == [0, 0, 0, 2.0]


def test_a_wait_counts_no_request() -> None:
    clock = Clock()
    limits = limiter(1, 2.0, clock)
    wait(limits)

    assert wait(limits) == wait(limits) == 2.0
    clock.now += 2.0
    assert wait(limits) == 0


@pytest.mark.parametrize(
    ("limit", "runs", "share", "period"), [(20, 2, 10, 2.0), (20, 3, 6, 2.0), (10, 20, 1, 4.0), (1, 3, 1, 6.0)]
)
def test_runs_share_a_window(limit: int, runs: int, share: int, period: float) -> None:
    limits = limiter(limit, 2.0, Clock())
    limits.runs = runs

    assert [wait(limits) for _ in range(share)] == [0] * share
    assert wait(limits) == pytest.approx(period)


def test_a_search_counts_in_its_own_window_and_in_the_general_one() -> None:
    limits = limiter(3, 2.0, Clock(), search=SlidingWindow(1, 2.0))

    assert [wait(limits, "search"), wait(limits, "search"), wait(limits), wait(limits), wait(limits)] == [
        0,
        2.0,
        0,
        0,
        2.0,
    ]


def test_a_limit_reported_by_the_api_replaces_the_assumed_one() -> None:
    clock = Clock()
    limits = limiter(1, 2.0, clock)
    wait(limits)

    limits.set_limit("general", 3)

    assert [wait(limits) for _ in range(3)] == [0, 0, 2.0]


def test_a_pause_delays_every_request() -> None:
    clock = Clock()
    limits = limiter(0, 1.0, clock)
    limits.pause(Pause(31, True, "requested"))

    assert (wait(limits), limits.pause_reason) == (31, "requested")
    clock.now += 31
    assert wait(limits) == 0


def test_a_request_that_may_have_arrived_late_counts_later() -> None:
    """The first request of a connection takes longer; only the additional time counts."""
    clock = Clock()
    limits = limiter(2, 2.0, clock)
    hits = [limits.hit(), limits.hit()]
    for hit, duration in zip(hits, (0.1, 0.4), strict=True):
        assert isinstance(hit, Hit)
        clock.now = hit.time + duration
        limits.finish(hit, "GET")

    clock.now = 1002.0
    assert wait(limits) == 0
    assert wait(limits) == pytest.approx(0.3)


def test_parallel_runs_are_counted_for_the_rate_limits(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now()
    SyncRun.objects.create(token="other", started_at=now, round_started_at=now, heartbeat_at=now, host="elsewhere")
    counted: list[int] = []
    monkeypatch.setattr(RateLimiter, "runs", property(lambda _: 1, lambda _, runs: counted.append(runs)), raising=False)

    sync()

    assert counted[-1] == 2


def test_a_short_wait_is_waited(ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync) -> None:
    github.publish("ada")
    pipedrive.fail("create_activity", respond(429, "{}", {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}))
    began = time.monotonic()

    summary = sync()

    assert summary.code == 0
    assert time.monotonic() - began >= 1
    assert Gist.objects.get().push_state == "pushed"


def test_a_used_up_day_leaves_pipedrive_s_part_and_nothing_is_rejected(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada")
    budget_gone = {"x-ratelimit-remaining": "97", "x-ratelimit-reset": "2"}  # No burst, and refused all the same.
    pipedrive.fail("create_activity", respond(429, "{}", budget_gone), times=99)

    summary = sync()

    assert (summary.code, summary.json["outcome"]) == (0, "rate_limited")
    assert "Pipedrive's rate limit resets at" in summary.json["problems"][0]
    assert "(the daily budget is used up)" in summary.json["problems"][0]
    assert (Gist.objects.get().push_state, len(pipedrive.requests_to("create_activity"))) == ("pending", 1)


def test_without_a_token_everybody_gets_a_turn(
    github: GitHubStandIn, sync: Sync, configured: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    configured.GITHUB_TOKEN = ""
    for number in range(200):
        account = github.add_account(f"person-{number}")
        Person.objects.create(github_username=account.login, github_id=account.id, state="active")

    for _ in range(4):
        github.new_hour()
        assert sync().code == 0
        assert github.used[False] <= 60

    assert not Person.objects.filter(polled_at=None).exists()
    assert "GitHub allows 60 requests an hour" in caplog.text
    assert "200 people need at least 200: about 4 hours" in caplog.text


def test_an_outage_of_pipedrive_does_not_stop_the_polls(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    for name in ("ben", "cleo", "dora"):
        github.add_account(name)
        github.publish(name)
        Person.objects.create(github_username=name)
    github.publish("ada")
    pipedrive.fail("", respond(500), times=999)

    during = sync()
    pipedrive.heal()
    after = sync()

    assert (during.code, during.counts["gists_new"]) == (3, 4)
    assert "Pipedrive failed 5 times in a row" in " ".join(during.json["problems"])
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


@pytest.mark.parametrize("which", ["github", "pipedrive"])
@pytest.mark.parametrize("code", [401, 402])
def test_a_refused_token_is_named_and_ends_with_78(
    which: str, code: int, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada")
    {"github": github, "pipedrive": pipedrive}[which].fail("", respond(code), times=999)

    summary = sync()

    assert (summary.code, summary.json["outcome"]) == (78, "misconfigured")
    assert f"{which.upper()}_TOKEN" in summary.json["problems"][-1]


def test_an_api_that_is_not_there_costs_a_run_and_no_gist(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> None:
    gist_id = github.publish("ada")
    configured.PIPEDRIVE_API_URL = "http://127.0.0.1:9"  # Nothing listens there.
    refused = sync()
    configured.PIPEDRIVE_API_URL = pipedrive.url

    sync()

    assert (refused.code, refused.counts["gists_unknown"]) == (3, 0)
    assert pipedrive.gist_ids() == [gist_id]


def test_a_run_makes_no_more_activities_than_it_may(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    for _ in range(5):
        github.publish("ada")

    first = sync("--max-activities", "2")
    sync()

    assert (first.code, first.counts["gists_pushed"], first.json["outcome"]) == (0, 2, "rate_limited")
    assert "--max-activities" in first.json["problems"][0]
    assert len(pipedrive.activities) == 5


def test_all_runs_share_the_day_s_activities(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> None:
    configured.PIPEDRIVE_DAILY_ACTIVITIES = 3
    for _ in range(5):
        github.publish("ada")
    sync("--max-activities", "2")

    second = sync()
    third = sync()
    ActivityDay.objects.update(day=datetime.now(UTC).date() - timedelta(days=1))
    Gist.objects.update(push_started_at=datetime.now(UTC) - timedelta(days=1))
    tomorrow = sync()

    assert [one.counts["gists_pushed"] for one in (second, third, tomorrow)] == [1, 0, 2]
    assert "created after" in second.json["problems"][0]


def test_what_pipedrive_refused_is_not_counted_against_the_day(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> None:
    configured.PIPEDRIVE_DAILY_ACTIVITIES = 3
    github.publish("ada")
    pipedrive.fail("create_activity", respond(400, "{}"))

    sync()

    assert ActivityDay.objects.get().count == 0
