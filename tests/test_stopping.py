"""Runs that a signal stops: the exit code, the row, and the run that a scheduler starts instead."""

import json
import signal
import subprocess
import threading
from datetime import timedelta
from typing import Any

import pytest
from pytest_django import Settings

from people.models import Gist, Person
from sync.context import RunContext
from sync.management.commands import sync_gists
from sync.models import RunLease, SyncRun
from sync.run.run import Run
from sync.run.stopping import stop_on_signals
from tests.conftest import DuringRequest, Sync, Worker, wait_until
from tests.factories import track_people
from tests.standins import GitHubStandIn, PipedriveStandIn, respond
from tests.with_mysql import free_port

pytestmark = pytest.mark.django_db(transaction=True)
REFUSAL = '{"success": false, "error": "request over limit"}'


@pytest.mark.slow("starts sync_gists as a process")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_run_after_the_current_request(
    number: signal.Signals,
    ada: Person,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    worker: Worker,
    during_request: DuringRequest,
) -> None:
    github.publish("ada")
    github.publish("ada")

    def send_signal() -> None:
        """Return when the main thread, which writes the heartbeats, has certainly handled the signal."""
        process.send_signal(number)
        for _ in range(2):
            wait_for_heartbeat()

    during_request(pipedrive, "create_activity", send_signal)
    process = worker()

    output, errors = process.communicate(timeout=120)

    run = SyncRun.objects.get()
    assert (process.returncode, run.outcome, json.loads(output)["outcome"]) == (75, "stopped", "stopped"), errors
    reason = "Stopped by a signal with work left: 1 person with gists to push. The next run continues."
    assert run.problems.filter(code="run", reason=reason).exists()
    assert RunLease.objects.get().token == ""
    assert list(Gist.objects.order_by("id").values_list("push_state", flat=True)) == ["pushed", "pending"]
    assert len(pipedrive.activities) == 1


def wait_for_heartbeat() -> None:
    before = SyncRun.objects.get().heartbeat_at
    wait_until(lambda: SyncRun.objects.get().heartbeat_at > before)


@pytest.mark.slow("starts sync_gists as a process")
def test_a_run_that_is_stopped_when_its_work_is_done_has_succeeded_for_a_scheduler(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, worker: Worker, during_request: DuringRequest
) -> None:
    github.publish("ada")

    def send_signal() -> None:
        process.send_signal(signal.SIGTERM)
        for _ in range(2):
            wait_for_heartbeat()

    during_request(pipedrive, "create_activity", send_signal)
    process = worker()

    _, errors = process.communicate(timeout=120)

    run = SyncRun.objects.get()
    assert (process.returncode, run.outcome, run.problems.count()) == (0, "stopped", 0), errors
    assert Gist.objects.get().push_state == "pushed"


@pytest.mark.slow("starts sync_gists as a process")
def test_a_signal_ends_the_wait_for_a_rate_limit(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, worker: Worker
) -> None:
    github.publish("ada")
    pipedrive.fail("create_activity", respond(429, REFUSAL, {"Retry-After": "25"}))
    process = worker()
    wait_until(lambda: pipedrive.counts["create_activity"] == 1)
    wait_for_heartbeat()

    process.terminate()
    process.terminate()  # A second signal changes nothing.
    process.communicate(timeout=120)

    run = SyncRun.objects.get()
    assert (process.returncode, run.outcome, Gist.objects.get().push_state) == (75, "stopped", "pending")
    assert run.finished_at
    assert run.finished_at - run.started_at < timedelta(seconds=25)


@pytest.mark.slow("starts sync_gists as a process")
def test_a_signal_before_the_run_has_begun_ends_the_process_at_once(worker: Worker, db: None) -> None:
    """The command waits for a database that is not there."""
    process = worker("--trigger", "schedule", DATABASE_HOST="127.0.0.1", DATABASE_PORT=str(free_port()))
    assert process.stderr
    process.stderr.readline()

    process.terminate()

    _, errors = process.communicate(timeout=30)
    assert process.returncode == 75
    assert "Traceback" not in errors


def test_a_run_that_is_stopped_before_its_first_claim_leaves_all_of_its_work(
    ada: Person, github: GitHubStandIn, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    github.publish("ada")

    def create_stopped_run(record: SyncRun, context: RunContext, *rest: Any) -> Run:
        context.stopping.set()
        return Run(record, context, *rest)

    monkeypatch.setattr(sync_gists, "Run", create_stopped_run)

    summary = sync()

    assert (summary.code, summary.json["outcome"], github.requests) == (75, "stopped", [])
    assert summary.problems == ["Stopped by a signal with work left: 1 person to poll. The next run continues."]


@pytest.mark.slow("starts sync_gists as a process")
def test_runs_that_are_stopped_again_and_again_finish_the_work(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, worker: Worker, db: None
) -> None:
    """Each time, the scheduler starts the next run at once."""
    track_people(github, 4, gists=5)
    github.latency = pipedrive.latency = 0.02
    codes: list[int] = []

    while not codes or codes[-1] == 75:
        assert len(codes) < 20, codes
        process = worker("--concurrency", "2")
        stop_after_four_posts(process, pipedrive)
        _, errors = process.communicate(timeout=120)
        codes.append(process.returncode)

    assert (codes[-1], len(codes) > 2) == (0, True), (codes, errors)
    assert len(pipedrive.gist_ids()) == len(set(pipedrive.gist_ids())) == 20
    assert Gist.objects.filter(push_state="pushed").count() == 20


def stop_after_four_posts(process: subprocess.Popen[str], pipedrive: PipedriveStandIn) -> None:
    before = pipedrive.counts["create_activity"]
    wait_until(lambda: pipedrive.counts["create_activity"] >= before + 4 or process.poll() is not None)
    process.terminate()


# --- the frequent run continues what was interrupted ---
@pytest.fixture
def interrupted(github: GitHubStandIn, pipedrive: PipedriveStandIn, worker: Worker, db: None) -> SyncRun:
    """A run for all people that was stopped after it had polled them, and while it pushed."""
    track_people(github, 4, gists=3)
    pipedrive.latency = 0.2
    process = worker("--concurrency", "1")
    wait_until(lambda: Person.objects.exclude(polled_at=None).count() == 4)
    process.terminate()
    process.communicate(timeout=120)
    assert process.returncode == 75
    pipedrive.latency = 0.0
    return SyncRun.objects.get()


@pytest.mark.slow("starts sync_gists as a process")
def test_the_run_for_requested_people_pushes_what_an_interrupted_run_has_left(
    interrupted: SyncRun, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.clear_requests()

    summary = sync("--requested")

    assert (summary.code, summary.json["outcome"], github.requests) == (0, "succeeded", [])
    assert len(pipedrive.gist_ids()) == len(set(pipedrive.gist_ids())) == 12
    assert sync("--requested").json["run"] is None


@pytest.mark.slow("starts sync_gists as a process")
def test_a_run_for_requested_people_that_is_stopped_is_continued_by_the_next(
    interrupted: SyncRun, pipedrive: PipedriveStandIn, worker: Worker, sync: Sync
) -> None:
    pipedrive.latency = 0.2
    process = worker("--requested", "--concurrency", "1")
    stop_after_four_posts(process, pipedrive)
    process.communicate(timeout=120)
    pipedrive.latency = 0.0

    summary = sync("--requested")

    assert (process.returncode, summary.code) == (75, 0)
    assert len(pipedrive.gist_ids()) == len(set(pipedrive.gist_ids())) == 12


@pytest.mark.slow("starts sync_gists as a process")
def test_a_limit_that_ends_the_run_that_continues_is_not_met_again_every_few_minutes(
    interrupted: SyncRun, sync: Sync, configured: Settings
) -> None:
    configured.PIPEDRIVE_DAILY_ACTIVITIES = 1

    first, second = sync("--requested"), sync("--requested")

    assert (first.json["outcome"], second.json["run"]) == ("rate_limited", None)


def test_a_signal_that_interrupts_the_handling_of_another_does_not_wait_for_it() -> None:
    class Stopping(threading.Event):
        """A signal arrives while it is set, and its lock is held."""

        def set(self) -> None:
            calls.append("set")
            if len(calls) == 1:
                signal.raise_signal(signal.SIGTERM)
            super().set()

    calls: list[str] = []
    stopping = Stopping()
    with stop_on_signals(stopping) as begin:
        begin()
        signal.raise_signal(signal.SIGTERM)

    assert (calls, stopping.is_set()) == (["set"], True)
