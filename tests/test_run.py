"""The loop of a run: the order of work, and what it stores about the APIs."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from people.models import Gist, Person
from sync.clients.errors import OutageError
from sync.clients.github import GitHubClient
from sync.clients.pipedrive import PipedriveClient
from sync.clock import database_clock
from sync.context import Options, RunContext
from sync.models import ApiState
from sync.run.api_state import store_api_states
from tests.conftest import DuringRequest, Sync, wait_until
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


def test_people_stay_due_when_github_s_circuit_opens(github: GitHubStandIn, sync: Sync, db: None) -> None:
    create_people(30)
    github.fail("", reset(), times=999)

    summary = sync("--concurrency", "2")

    assert summary.json["outcome"] == "failed"
    assert Person.objects.filter(attempted_at=None).count() > 20  # They are still due first.


@pytest.fixture
def context() -> RunContext:
    github = GitHubClient("http://127.0.0.1:9")
    pipedrive = PipedriveClient("http://127.0.0.1:9", "token")
    return RunContext(1, Options(concurrency=2), github, pipedrive, database_clock())


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
