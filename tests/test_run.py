"""The two lanes of a run: claimed people, the order of work, and how runs share."""

from collections.abc import Callable
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Any

import pytest
from django.db.models import Q

from people.models import Gist, Person
from sync.claims import database_clock
from sync.clients.errors import OutageError
from sync.clients.github import GitHubClient
from sync.clients.pipedrive import PipedriveClient
from sync.context import Options, RunContext
from sync.lane import Lane
from tests.conftest import Sync, wait_until
from tests.standins import Fault, GitHubStandIn, PipedriveStandIn
from tests.standins.wire import Connection, Response

pytestmark = pytest.mark.django_db(transaction=True)


def once(condition: Callable[[], bool]) -> Fault:
    """The right response, but not before the condition is true."""

    def play(connection: Connection, response: Response) -> None:
        wait_until(condition)
        connection.send(response)

    return Fault("once", True, play)


def create_people(count: int) -> None:
    for number in range(count):
        Person.objects.create(github_username=f"person-{number}")


def test_gists_are_pushed_while_later_people_are_polled(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    """GitHub does not respond about Ben before Ada's gist has its activity."""
    github.publish("ada")
    github.add_account("ben")
    Person.objects.create(github_username="ben")
    github.fail("account", once(lambda: pipedrive.counts["create_activity"] == 1), nth=2)

    summary = sync("--concurrency", "1")

    assert (summary.code, summary.counts["people_polled"], summary.counts["gists_pushed"]) == (0, 2, 1)


def test_the_backlog_of_others_is_pushed_after_polling(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    """Ben is gone and not polled today; his pending gist is pushed all the same."""
    github.add_account("ben")
    Person.objects.create(github_username="ben")
    github.publish("ben")
    sync("--max-activities", "1", "--person", "ben")
    Gist.objects.update(push_state="pending", pipedrive_activity_id=None)
    pipedrive.activities.clear()
    Person.objects.filter(github_username="ben").update(state="gone", attempted_at=datetime.now(UTC))

    summary = sync()

    assert summary.counts["gists_pushed"] == 1


def test_nobody_keeps_a_lease_when_github_s_circuit_opens(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, db: None
) -> None:
    create_people(30)
    github.fail("", Fault("reset", False, lambda connection, _: connection.reset()), times=999)

    summary = sync("--concurrency", "2")

    assert summary.json["outcome"] == "failed"
    assert not Person.objects.exclude(lease_holder="").exists()
    assert Person.objects.filter(attempted_at=None).count() > 20  # Their turn stays.


@pytest.fixture
def context() -> RunContext:
    github = GitHubClient("http://127.0.0.1:9")
    pipedrive = PipedriveClient("http://127.0.0.1:9", "token")
    return RunContext(Options(concurrency=2), github, pipedrive, database_clock())


def lane(context: RunContext, name: str = "poll", *, max_waiting: int = 8) -> Lane:
    """A lane whose threads are not started, so that everyone it claims is waiting."""
    results: SimpleQueue[Any] = SimpleQueue()
    return Lane(name, "run", context, context.github.api, lambda _: None, results, max_waiting=max_waiting)


def test_a_lane_claims_a_bounded_number_of_people(context: RunContext) -> None:
    create_people(20)
    poll_lane = lane(context)

    claimed = [poll_lane.claim(Q, 1, 10**9) for _ in range(3)]

    assert claimed == [8, 0, 0]
    assert len(poll_lane.held) == 8


@pytest.mark.parametrize(("people", "runs", "share"), [(13, 3, 1), (24, 3, 2), (200, 3, 8), (13, 1, 8)])
def test_a_claim_is_a_quarter_of_a_fair_share(context: RunContext, people: int, runs: int, share: int) -> None:
    create_people(people)

    assert lane(context).claim(Q, runs, 10**9) == share


def test_a_lane_does_not_take_the_people_of_the_other(context: RunContext) -> None:
    create_people(3)
    poll_lane, push_lane = lane(context, "poll"), lane(context, "push")

    assert (poll_lane.claim(Q, 1, 2), push_lane.claim(Q, 1, 10**9)) == (2, 1)
    assert not set(poll_lane.held) & set(push_lane.held)


def test_a_lane_claims_nobody_when_its_circuit_is_open_or_the_run_is_stopping(context: RunContext) -> None:
    create_people(3)
    open_lane = lane(context)
    context.github.api.circuit.open(OutageError("down"))
    closed = open_lane.claim(Q, 1, 10**9)
    context.github.api.circuit.error = None
    context.stopping.set()

    assert (closed, open_lane.claim(Q, 1, 10**9)) == (0, 0)


def test_a_lane_that_found_nobody_waits_for_a_change(context: RunContext) -> None:
    empty = lane(context)
    empty.claim(Q, 1, 10**9)
    create_people(1)
    before = empty.claim(Q, 1, 10**9)
    empty.forget([])

    assert (before, empty.claim(Q, 1, 10**9)) == (0, 1)
