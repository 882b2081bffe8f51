"""Several runs at once share the people, also when they are few and have many gists."""

from collections import Counter
from queue import SimpleQueue
from typing import Any

import pytest
from django.db.models import Q
from sync.run.lane import Lane

from people.models import Person
from sync.clients.github import GitHubClient
from sync.clients.pipedrive import PipedriveClient
from sync.clock import database_clock
from sync.context import Options, RunContext
from sync.models import PushAttempt, SyncRun
from tests.conftest import Worker, wait_until
from tests.factories import create_people, track_people
from tests.standins import GitHubStandIn, PipedriveStandIn

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]
PEOPLE, GISTS = 13, 16


def count_pushes() -> list[int]:
    """The pushes since all runs exist, by run."""
    since = SyncRun.objects.latest("id").started_at
    pushes = Counter(PushAttempt.objects.filter(attempted_at__gt=since).values_list("run_id", flat=True))
    return [pushes[run] for run in SyncRun.objects.order_by("id").values_list("id", flat=True)]


@pytest.mark.slow("starts sync_gists as a process")
@pytest.mark.parametrize("is_late", [False, True], ids=["at the same time", "later"])
def test_three_runs_share_few_people_with_many_gists(
    is_late: bool, github: GitHubStandIn, pipedrive: PipedriveStandIn, worker: Worker, db: None
) -> None:
    """Of the runs that start later, the first has claimed all people when the others begin."""
    track_people(github, PEOPLE, gists=GISTS)
    pipedrive.latency = 2.0
    github.hold.clear()
    workers = [worker()]
    if is_late:
        github.hold.set()
        wait_until(lambda: pipedrive.counts["create_activity"] >= 8)
    workers += [worker(), worker()]
    wait_until(lambda: SyncRun.objects.count() == 3)
    github.hold.set()
    pipedrive.latency = 0.5

    outputs = [process.communicate(timeout=240) for process in workers]

    assert [process.returncode for process in workers] == [0, 0, 0], outputs
    assert len(pipedrive.gist_ids()) == len(set(pipedrive.gist_ids())) == PEOPLE * GISTS
    pushes = count_pushes()
    assert max(pushes) <= sum(pushes) / 2, pushes
    assert min(pushes) >= sum(pushes) / 8, pushes


# --- a lane whose threads are not started, so that everyone it claims keeps waiting ---
@pytest.fixture
def lane(db: None) -> Lane:
    create_people(PEOPLE)
    github, pipedrive = GitHubClient("http://127.0.0.1:9"), PipedriveClient("http://127.0.0.1:9", "token")
    context = RunContext(Options(concurrency=8), github, pipedrive, database_clock())
    results: SimpleQueue[Any] = SimpleQueue()
    return Lane("push", "run", context, github.api, lambda _: None, results, max_waiting=16, order_by="attempted_at")


def claim_again_and_again(lane: Lane, peers: int) -> int:
    for _ in range(PEOPLE):
        lane.may_find_people = True
        lane.claim(Q, peers, peers=peers)
    return len(lane.held)


@pytest.mark.parametrize(("peers", "share"), [(3, 5), (2, 7), (20, 1)])
def test_a_run_claims_no_more_than_its_share(
    peers: int, share: int, lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(lane.workers), "waiting", 0)  # as if threads had begun all of them

    assert claim_again_and_again(lane, peers) == share


def test_people_who_wait_are_left_to_a_run_that_begins(lane: Lane) -> None:
    lane.claim(Q, 1)

    released = lane.share(Q, 3)

    assert (released, len(lane.held), lane.gives_up()) == (8, 5, False)
    assert Person.objects.filter(lease_holder="").count() == 8
    assert set(Person.objects.exclude(lease_holder="").values_list("pk", flat=True)) == set(lane.held)


def test_threads_give_up_people_when_none_wait(lane: Lane) -> None:
    lane.claim(Q, 1)
    lane.workers.withdraw(PEOPLE)
    lane.workers._count(PEOPLE)  # as if threads had begun all of them

    released = lane.share(Q, 3)

    assert (released, [lane.gives_up() for _ in range(10)]) == (0, [True] * 8 + [False] * 2)


def test_a_run_that_has_ended_takes_no_share_any_more(lane: Lane) -> None:
    lane.claim(Q, 1)
    lane.workers.withdraw(PEOPLE)
    lane.workers._count(PEOPLE)
    lane.share(Q, 3)

    lane.share(Q, 1)

    assert not lane.gives_up()
