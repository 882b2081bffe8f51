"""Kill the worker with -9 at random moments, many times, and count the activities.

`make kills` does it 200 times; the suite does it a few times. The processes and the database are real, the APIs are the
stand-ins, which lie in 5% of their responses. People and gists are added in the meantime; the workers read GitHub's
stream, and some of them poll only hinted people. At the end, kills and lies stop, unknown outcomes are resolved, and
every gist must have exactly one activity. What the workers commit is recorded, and the model must allow all of it.
"""

import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import F
from pytest_django import Settings

from gisttracker.config.settings import SEND_SECONDS
from people.models import Gist, Person
from sync.models import GitHubIdField, StreamState
from tests.conftest import PIPEDRIVE_TOKEN, Worker
from tests.factories import end_pauses, publish_now, track
from tests.faults import GITHUB_LIES, PIPEDRIVE_LIES
from tests.model.check import Constants
from tests.model.events import Event, Started
from tests.model.recorder import TRACE_FILE, RecordedPipedrive, Recorder, TraceFile
from tests.model.trace import find_violations
from tests.standins import GitHubStandIn, PipedriveStandIn
from tests.standins.wire import StandIn

DEFAULT_KILLS = 6
KILLS = int(os.environ.get("KILLS", DEFAULT_KILLS))
LIE_RATE = 0.05  # of all responses
MAX_LIFETIME = 1.2  # seconds from a worker's start to its kill; starting takes about half of them


SETTLE_SECONDS = -60  # So a POST is looked up as soon as its process was killed, and not two minutes later.
LEASE_SECONDS = 5


@dataclass
class KillStats:
    """The kills, what they interrupted, the published gists, and how many activities each gist has.

    `unstored_readings`: of the stream, whose process was killed before it stored them; `unused_hints`: people who were
    hinted at and not polled yet. `hinted`: gists that were found because of a hint.
    `violations`: what the model does not allow.
    """

    kills: int
    gists: int
    interrupted_pushes: int
    unstored_readings: int
    unused_hints: int
    hinted: int
    lies: int
    events: int
    activities_by_gist: Counter[str]
    violations: list[str]

    @property
    def lost(self) -> int:
        return self.gists - len(self.activities_by_gist)

    @property
    def doubled(self) -> int:
        return sum(count > 1 for count in self.activities_by_gist.values())

    @property
    def is_clean(self) -> bool:
        return not self.lost and not self.doubled and not self.violations

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, which interrupted {self.interrupted_pushes} pushes, "
            f"{self.unstored_readings} readings of the stream and {self.unused_hints} hints; {self.lies} lies; "
            f"{self.gists} gists, of which {self.hinted} hinted at: {self.lost} lost, {self.doubled} doubled; "
            f"{self.events} events: {len(self.violations)} forbidden. {' '.join(self.violations[:5])}"
        )


class Trace:
    """What the workers and the stand-in record, and what a killed worker has committed without recording it."""

    def __init__(self, path: Path) -> None:
        self.file = TraceFile(path)
        self.events: list[Event] = []
        self._recorder = Recorder(self.events.append)

    def continue_after_kill(self) -> int:
        """Returns how many pushes the kill has interrupted."""
        before = len(self.events)
        for event in self.file.read():
            self.events.append(event)
            self._recorder.follow(event)
        self._recorder.lose_lease()
        return count_interrupted_pushes(self.events[before:])


def count_interrupted_pushes(events: list[Event]) -> int:
    """Gists that were written as started, without an outcome."""
    begun = Counter(type(event).__name__ for event in events)
    return begun["Started"] - begun["Outcome"]


def kill_workers(
    start: Worker,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    trace: Trace,
    *,
    kills: int,
    worker_count: int,
    rng: random.Random,
) -> KillStats:
    """Start workers and kill them at random moments, until so many were killed while they ran."""
    killed = interrupted = unstored = unused = 0
    for standin, lies in ((github, GITHUB_LIES), (pipedrive, PIPEDRIVE_LIES)):
        standin.lies, standin.lie_rate = list(lies.values()), LIE_RATE
    while killed < kills:
        publish_some_gists(github, rng)
        readings, before = github.counts["stream"], attempted_at()
        workers = [start(*rng.choice([(), ("--requested",)])) for _ in range(worker_count)]
        # Most kills come shortly after a POST, which is the worst moment, or a reading of the stream has arrived.
        aim = rng.random()
        if aim < 0.5:
            wait_for_request(pipedrive, "create_activity", workers)
        elif aim < 0.75:
            wait_for_request(github, "stream", workers)
        time.sleep(rng.uniform(0, MAX_LIFETIME if rng.random() < 0.5 else 0.02))
        for worker in workers:
            killed += worker.poll() is None
            worker.kill()
            worker.communicate()
        interrupted += trace.continue_after_kill()
        unstored += github.counts["stream"] > readings and attempted_at() == before
        unused += Person.objects.filter(sync_requested_at__isnull=False).count()
        end_all_pauses()
    github.lie_rate = pipedrive.lie_rate = 0
    sync_until_done(start)
    publish_some_gists(github, rng)
    end_all_pauses()
    start("--requested").communicate(timeout=600)
    trace.continue_after_kill()
    return KillStats(
        kills=killed,
        gists=sum(len(account.gists) for account in github.accounts.values()),
        interrupted_pushes=interrupted,
        unstored_readings=unstored,
        unused_hints=unused,
        hinted=Gist.objects.filter(discovery=Gist.Discovery.STREAM).count(),
        lies=github.lie_count + pipedrive.lie_count,
        events=len(trace.events),
        activities_by_gist=Counter(pipedrive.gist_ids()),
        violations=find_violations(trace.events, Constants(SEND_SECONDS, SETTLE_SECONDS, LEASE_SECONDS)),
    )


def end_all_pauses() -> None:
    """What would happen later by itself, and what an operator does: push rejected gists again."""
    Person.objects.update(next_attempt_at=None, next_push_at=None)
    Person.objects.filter(state__in=["gone", "conflict"]).update(attempted_at=None)  # They are checked once a day.
    end_pauses()
    GitHubIdField.objects.update(checked_at=None, create_started_at=None)
    StreamState.objects.update(attempted_at=F("attempted_at") - timedelta(minutes=1))
    Gist.objects.push_again()


def publish_some_gists(github: GitHubStandIn, rng: random.Random) -> None:
    """Sometimes track a new person, then publish gists of random people."""
    if len(github.accounts) < 3 or rng.random() < 0.3:
        track(github, f"person-{len(github.accounts)}")
    logins = [account.login for account in github.accounts.values()]
    for _ in range(rng.randint(3, 15)):
        publish_now(github, rng.choice(logins), description=f"Gist of {time.time()}")


def attempted_at() -> datetime | None:
    """When the stream was read last."""
    return StreamState.objects.values_list("attempted_at", flat=True).first()


def wait_for_request(standin: StandIn, operation: str, workers: list[subprocess.Popen[str]]) -> None:
    """Wait for the next request of this operation, or until all workers have ended."""
    before = standin.counts[operation]
    while standin.counts[operation] == before and any(worker.poll() is None for worker in workers):
        time.sleep(0.001)


def sync_until_done(start: Worker) -> None:
    """Let runs finish until no person and no gist is left to do."""
    for _ in range(10):
        end_all_pauses()
        output, errors = start().communicate(timeout=600)
        has_unfinished_gists = Gist.objects.filter(push_state__in=["pending", "started"]).exists()
        is_anyone_unavailable = Person.objects.filter(state__in=["gone", "conflict"]).exists()
        if (
            not has_unfinished_gists
            and not is_anyone_unavailable
            and not Person.objects.filter(polled_at=None).exists()
        ):
            return
    raise AssertionError(f"Work is left after ten runs: {output} {errors}")


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    return Trace(tmp_path / "trace.jsonl")


@pytest.fixture
def pipedrive(trace: Trace) -> Iterator[PipedriveStandIn]:
    with RecordedPipedrive(trace.file.append, tokens=(PIPEDRIVE_TOKEN,)) as standin:
        yield standin


@pytest.mark.proof
@pytest.mark.parametrize(
    "worker_count", [pytest.param(1, marks=pytest.mark.both), pytest.param(3, marks=pytest.mark.server)]
)
@pytest.mark.django_db(transaction=True)
def test_no_gist_is_lost_or_doubled_when_workers_are_killed(
    worker_count: int,
    worker: Worker,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    trace: Trace,
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings.LEASE_SECONDS = LEASE_SECONDS
    github.hourly[True] = 10**9
    rng = random.Random()  # noqa: S311  # not used for secrets
    start = partial(
        worker,
        DJANGO_SETTINGS_MODULE="tests.recorded_settings",
        TEST_SETTLE_SECONDS=str(SETTLE_SECONDS),
        TEST_LEASE_SECONDS=str(LEASE_SECONDS),
        **{TRACE_FILE: str(trace.file.path)},
    )

    stats = kill_workers(start, github, pipedrive, trace, kills=KILLS, worker_count=worker_count, rng=rng)

    with capsys.disabled():
        if KILLS > DEFAULT_KILLS:
            print(f"\n{connection.vendor}, {worker_count} at once: {stats}")
    assert any(isinstance(event, Started) for event in trace.events)
    assert stats.hinted, stats
    assert stats.is_clean, stats
