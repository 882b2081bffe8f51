"""The two lanes of a run: claimed people, the order of work, and how runs share."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Any

import pytest
from django.db import connection
from django.db.models import Q
from django.utils import timezone
from sync.run.lane import Lane

from people.models import Gist, Person
from sync.clients.errors import ConfigurationError, OutageError
from sync.clients.github import GitHubClient
from sync.clients.pipedrive import PipedriveClient
from sync.clock import database_clock
from sync.context import Options, RunContext
from sync.models import ApiState, SyncRun
from sync.run.api_state import store_api_states, store_trouble
from tests.conftest import DuringRequest, Sync, run_concurrently, wait_until
from tests.factories import create_people, create_run, track
from tests.standins import GitHubStandIn, PipedriveStandIn, reset

pytestmark = pytest.mark.django_db(transaction=True)


def test_gists_are_pushed_while_later_people_are_polled(
    ada: Person,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    during_request: DuringRequest,
) -> None:
    """GitHub responds to the request for Ben's account after Ada's gist has been pushed."""
    github.publish("ada")
    track(github, "ben")
    is_pushed = lambda: pipedrive.counts["create_activity"] == 1  # noqa: E731
    during_request(github, "account", lambda: wait_until(is_pushed), nth=2)

    summary = sync("--concurrency", "1")

    assert (summary.code, summary.counts["people_polled"], summary.counts["gists_pushed"]) == (0, 2, 1)


def test_the_backlog_of_people_who_are_not_due_is_pushed_after_polling(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    """Cleo's account is gone and not polled today; her pending gist is pushed anyway."""
    track(github, "cleo", gists=1)
    sync("--max-activities", "1", "--person", "cleo")
    Gist.objects.update(push_state="pending", pipedrive_activity_id=None)
    pipedrive.activities.clear()
    Person.objects.filter(github_username="cleo").update(state="gone", attempted_at=datetime.now(UTC))

    summary = sync()

    assert summary.counts["gists_pushed"] == 1


def test_all_leases_are_released_when_github_s_circuit_opens(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, db: None
) -> None:
    create_people(30)
    github.fail("", reset(), times=999)

    summary = sync("--concurrency", "2")

    assert summary.json["outcome"] == "failed"
    assert not Person.objects.exclude(lease_holder="").exists()
    assert Person.objects.filter(attempted_at=None).count() > 20  # They are still due first.


@pytest.fixture
def context() -> RunContext:
    github = GitHubClient("http://127.0.0.1:9")
    pipedrive = PipedriveClient("http://127.0.0.1:9", "token")
    return RunContext(Options(concurrency=2), github, pipedrive, database_clock())


@pytest.mark.parametrize("store", [store_trouble, store_api_states])
def test_runs_that_find_the_same_trouble_first_store_it_once(
    store: Callable[[SyncRun, RunContext], None], context: RunContext, db: None
) -> None:
    context.pipedrive.api.circuit.error = ConfigurationError("Pipedrive refused the token")
    run, ready = create_run(), threading.Barrier(8)

    def store_at_once() -> None:
        ready.wait()
        store(run, replace(context, stored_states=set()))

    run_concurrently(store_at_once, 8)

    assert [(state.api, state.problem) for state in ApiState.objects.all()] == [("Pipedrive", "refused")]


def test_a_run_without_rate_limit_headers_replaces_all_but_the_last_rate_limit(context: RunContext, db: None) -> None:
    limit = {
        "remaining": 4000,
        "reset": 1790000000,
        "requests": 900,
        "stopped": "the rate limit",
        "resets_at": "2026-11-27T12:00Z",
    }
    ApiState.objects.create(api="GitHub", run_id=1, limit=limit)
    context.github.api.request_count = 5
    context.github.api.circuit.error = OutageError("GitHub failed 5 times in a row")

    store_api_states(create_run(), context)

    assert ApiState.objects.get().limit == {
        "remaining": 4000,
        "reset": 1790000000,
        "requests": 5,
        "stopped": "GitHub failed 5 times in a row",
        "resets_at": None,
    }


def test_the_end_of_a_run_keeps_the_count_and_the_pause_that_others_write(context: RunContext, db: None) -> None:
    ApiState.objects.create(api="Pipedrive")
    now = timezone.now()
    counted = {"activity_day": now.date(), "activity_count": 7, "paused_until": now, "pause_reason": "blocked"}
    others = iter([ApiState.objects.filter(api="Pipedrive")])

    def write_first(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE") and (other := next(others, None)) is not None:
            other.update(**counted)
        return execute(sql, *rest)

    context.pipedrive.api.request_count = 5
    with connection.execute_wrapper(write_first):
        store_api_states(create_run(), context)

    assert ApiState.objects.get(**counted).limit["requests"] == 5


def create_lane(context: RunContext, name: str = "poll", *, max_waiting: int = 8) -> Lane:
    """A lane whose threads are not started, so that all people it claims keep waiting."""
    results: SimpleQueue[Any] = SimpleQueue()
    return Lane(
        name,
        "run",
        context,
        context.github.api,
        lambda _: None,
        results,
        order_by="attempted_at",
        max_waiting=max_waiting,
    )


def test_a_lane_claims_a_bounded_number_of_people(context: RunContext) -> None:
    create_people(20)
    poll_lane = create_lane(context)

    claimed = [poll_lane.claim(Q, 1, 10**9) for _ in range(3)]

    assert claimed == [8, 0, 0]
    assert len(poll_lane.held) == 8


@pytest.mark.parametrize(("people", "runs", "share"), [(13, 3, 1), (24, 3, 2), (200, 3, 8), (13, 1, 8)])
def test_a_claim_is_a_quarter_of_a_fair_share(context: RunContext, people: int, runs: int, share: int) -> None:
    create_people(people)

    assert create_lane(context).claim(Q, runs, 10**9) == share


def test_a_lane_does_not_claim_the_people_of_the_other_lane(context: RunContext) -> None:
    create_people(3)
    poll_lane, push_lane = create_lane(context, "poll"), create_lane(context, "push")

    assert (poll_lane.claim(Q, 1, 2), push_lane.claim(Q, 1, 10**9)) == (2, 1)
    assert not set(poll_lane.held) & set(push_lane.held)


def test_a_lane_claims_no_people_when_its_circuit_is_open_or_the_run_is_stopping(context: RunContext) -> None:
    create_people(3)
    poll_lane = create_lane(context)
    context.github.api.circuit.open(OutageError("down"))
    with_open_circuit = poll_lane.claim(Q, 1, 10**9)
    context.github.api.circuit.error = None
    context.stopping.set()

    assert (with_open_circuit, poll_lane.claim(Q, 1, 10**9)) == (0, 0)


def test_a_lane_without_due_people_claims_again_only_after_a_change(context: RunContext) -> None:
    poll_lane = create_lane(context)
    poll_lane.claim(Q, 1, 10**9)
    create_people(1)
    before_change = poll_lane.claim(Q, 1, 10**9)
    poll_lane.forget([])

    assert (before_change, poll_lane.claim(Q, 1, 10**9)) == (0, 1)


def test_a_lane_does_not_claim_its_own_people_again_after_their_lease_expired(context: RunContext) -> None:
    create_people(2)
    poll_lane = create_lane(context)
    poll_lane.claim(Q, 1, 2)
    Person.objects.update(leased_until=datetime(2020, 1, 1, tzinfo=UTC))
    poll_lane.may_find_people = True

    assert poll_lane.claim(Q, 1, 10**9) == 0
