"""One run at a time: who gets the lease, what the others do, and a process that was silent while another took over."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from pytest_django import Settings

from people.models import Gist, Person
from people.tracking import sync_soon
from sync.clients.errors import LeaseLostError
from sync.clock import database_clock
from sync.management.commands import sync_gists
from sync.models import RunLease, SyncRun
from sync.run.lease import ROW, Lease, LeaseTakenError
from sync.run.run import Run
from tests.conftest import Summary, Sync, Worker, run_concurrently, wait_until
from tests.factories import create_gist, create_person, create_run, let_time_pass, track, track_people
from tests.standins import Fault, GitHubStandIn, PipedriveStandIn, respond, respond_after

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]
HERE = os.uname().nodename
LOST = "Another run has taken over, because this process was silent for too long. Nothing was written since."


def hold_lease(run: SyncRun | None = None, *, ends_in: timedelta = timedelta(minutes=1), **columns: Any) -> None:
    """As if a process on another machine had the lease; without a run, undo_run."""
    row: dict[str, Any] = {"token": "other", "host": "other", "pid": 1, "run_id": run.pk if run else None}
    row |= {"expires_at": timezone.now() + ends_in, **columns}
    RunLease.objects.update_or_create(pk=ROW, defaults=row)


def find_dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def new_lease() -> Lease:
    return Lease(database_clock(), threading.Event())


# --- who gets it ---
FREE: dict[str, Callable[[], object]] = {
    "no row": lambda: None,
    "free": lambda: hold_lease(token=""),
    "expired": lambda: hold_lease(ends_in=-timedelta(seconds=1)),
    "of a process of this machine that has died": lambda: hold_lease(host=HERE, pid=find_dead_pid()),
    "of an earlier process with our id": lambda: hold_lease(host=HERE, pid=os.getpid()),
    "with a time tomorrow": lambda: hold_lease(ends_in=timedelta(days=1)),
    "with a time in another year": lambda: hold_lease(ends_in=timedelta(days=400)),
}
TAKEN: dict[str, Callable[[], object]] = {
    "of another machine": hold_lease,
    "of another machine, whose process ids say nothing here": lambda: hold_lease(pid=find_dead_pid()),
    "of a living process of this machine": lambda: hold_lease(host=HERE, pid=os.getppid()),
}


@pytest.mark.parametrize("state", FREE)
def test_of_many_that_take_a_free_lease_at_once_one_gets_it(state: str) -> None:
    FREE[state]()
    ready = threading.Barrier(6)
    got: list[Lease] = []
    refused: list[LeaseTakenError] = []

    def take() -> None:
        lease = new_lease()
        ready.wait()
        try:
            lease.take()
            got.append(lease)
        except LeaseTakenError as error:
            refused.append(error)

    run_concurrently(take, 6)

    assert (len(got), len(refused)) == (1, 5)
    assert RunLease.objects.get().token == got[0].token
    assert not got[0].is_over
    got[0].release()
    assert RunLease.objects.get().token == ""


@pytest.mark.parametrize("state", TAKEN)
def test_a_lease_of_a_process_that_may_be_alive_is_not_taken(state: str) -> None:
    TAKEN[state]()
    lease = new_lease()

    with pytest.raises(LeaseTakenError):
        lease.take()
    lease.release()

    assert (lease.is_over, RunLease.objects.get().token) == (True, "other")


@pytest.mark.slow("starts sync_gists as a process")
def test_of_two_processes_that_begin_at_once_one_works(github: GitHubStandIn, worker: Worker, db: None) -> None:
    track_people(github, 3)
    github.hold.clear()
    processes = [worker(), worker()]
    wait_until(lambda: any(process.poll() is not None for process in processes))
    github.hold.set()

    outputs = [process.communicate(timeout=60) for process in processes]

    assert [process.returncode for process in processes] == [0, 0], outputs
    assert SyncRun.objects.get().outcome == "succeeded"
    assert github.counts["gists"] == 3
    assert sum("is going on, and polls all people. Nothing to do." in errors for _, errors in outputs) == 1


# --- who has lost it ---
def test_who_has_lost_the_lease_writes_nothing(ada: Person) -> None:
    stopping = threading.Event()
    lease = Lease(database_clock(), stopping)
    lease.take()
    hold_lease()

    with pytest.raises(LeaseLostError), lease.writing():
        create_gist(ada)

    assert (stopping.is_set(), lease.is_over, Gist.objects.exists()) == (True, True, False)
    lease.release()
    assert RunLease.objects.get().token == "other"


def test_a_lease_that_is_renewed_and_one_that_expired_but_was_not_taken_over_can_be_used(settings: Settings) -> None:
    settings.LEASE_SECONDS = 0.05
    lease = new_lease()
    lease.take()
    wait_until(lambda: lease.is_over)

    with lease.writing():
        pass
    wait_until(lambda: lease.is_over)
    lease.renew()

    assert not lease.is_over


@pytest.mark.server
def test_a_successor_begins_after_the_commit_so_that_gists_appear_in_the_order_of_their_ids(ada: Person) -> None:
    """Consumers ask for the gists after the last id that they have; a lower id must not appear later."""
    first, second = new_lease(), new_lease()
    first.take()
    RunLease.objects.update(pid=find_dead_pid())  # So that the second one may take over.
    has_inserted, may_commit, ids = threading.Event(), threading.Event(), []

    def insert_first() -> None:
        with first.writing():
            ids.append(create_gist(ada).pk)
            has_inserted.set()
            may_commit.wait(60)

    def insert_second() -> None:
        has_inserted.wait(60)
        second.take()
        with second.writing():
            assert Gist.objects.filter(pk=ids[0]).exists()
            ids.append(create_gist(ada, github_id="second").pk)

    actions = iter([insert_first, insert_second])
    both = threading.Thread(target=run_concurrently, args=(lambda: next(actions)(), 2))
    both.start()
    try:
        wait_until(is_waiting_for_the_lease)
        inserted, visible = list(ids), Gist.objects.count()
    finally:
        may_commit.set()
        both.join(60)

    assert (len(inserted), visible) == (1, 0)
    assert (len(ids), ids) == (2, sorted(Gist.objects.values_list("pk", flat=True)))
    with pytest.raises(LeaseLostError), first.writing():
        create_gist(ada)


def is_waiting_for_the_lease() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'UPDATE `sync_runlease`%'")
        return bool(cursor.fetchone()[0])


# --- a process that was suspended for longer than its lease ---
LATER = {"Retry-After": "3"}  # seconds; they are over before the lease
WAIT_AND_RESEND = respond(429, '{"success": false, "error": "request over limit"}', LATER)
PREPARED: dict[str, tuple[str, Fault]] = {
    # The request was refused for the rate limit, and would be sent again while the process is suspended.
    "gists": ("a poll", respond(403, '{"message": "You have exceeded a secondary rate limit."}', LATER)),
    "search_items": ("a search", WAIT_AND_RESEND),
    "create_person": ("a person's POST", WAIT_AND_RESEND),
    "create_activity": ("an activity's POST", WAIT_AND_RESEND),
    "edit_activity": ("an update", WAIT_AND_RESEND),
    "list_activities": ("a look-up", WAIT_AND_RESEND),
}


class Silent:
    """A run in another process that is suspended, and that another run takes over."""

    def __init__(self, worker: Worker, github: GitHubStandIn, pipedrive: PipedriveStandIn) -> None:
        self._worker, self._standins = worker, (github, pipedrive)
        self._may_respond = threading.Event()

    def suspend_before(self, operation: str, fault: Fault) -> None:
        """While it waits before it sends this request again."""
        self._begin(operation, fault)

    def suspend_during(self, operation: str) -> None:
        """The response arrives while it is suspended."""
        self._begin(operation, respond_after(lambda: self._may_respond.wait(60)))
        self._may_respond.set()

    def _begin(self, operation: str, fault: Fault) -> None:
        standin = next(one for one in self._standins if operation in {name for name, _, _ in one.operations})
        before, began_at = standin.counts[operation], timezone.now()
        standin.fail(operation, fault)
        self.process = self._worker("--concurrency", "1", TEST_LEASE_SECONDS="4", PUSH_EDITS="true")
        wait_until(lambda: standin.counts[operation] > before)
        if isinstance(standin, PipedriveStandIn):  # Nothing else goes on.
            wait_until(lambda: not Person.objects.exclude(polled_at__gt=began_at).exists())
        self._suspend()

    def _suspend(self) -> None:
        """Not in the middle of a transaction: its locks would stay."""
        stat = Path(f"/proc/{self.process.pid}/stat")
        while True:
            self.process.send_signal(signal.SIGSTOP)
            wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")
            if is_lease_unlocked():
                return
            self.process.send_signal(signal.SIGCONT)

    def let_lease_expire(self) -> None:
        clock = database_clock()
        wait_until(lambda: RunLease.objects.get().expires_at <= clock())

    def go_on(self) -> Summary:
        self.process.send_signal(signal.SIGCONT)
        output, errors = self.process.communicate(timeout=60)
        return Summary(self.process.returncode, output, errors)

    def count_requests(self) -> int:
        return sum(standin.counts.total() for standin in self._standins)


def is_lease_unlocked() -> bool:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA busy_timeout = 0")
    try:
        with suppress(DatabaseError), transaction.atomic():
            RunLease.objects.select_for_update(nowait=connection.vendor != "sqlite").get()
            RunLease.objects.filter(token="").update(run_id=None)
            return True
        return False
    finally:
        connection.close()


@pytest.fixture
def silent(worker: Worker, github: GitHubStandIn, pipedrive: PipedriveStandIn) -> Silent:
    return Silent(worker, github, pipedrive)


def read_all_rows() -> dict[str, list[dict[str, Any]]]:
    models = [*apps.get_app_config("people").get_models(), *apps.get_app_config("sync").get_models()]
    return {model.__name__: list(model._default_manager.order_by("pk").values()) for model in models}


def prepare_for(operation: str, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync) -> None:
    """Ada and Ben are new; or Ada's gist was edited, or a POST of hers had no clear response."""
    track(github, "ada", gists=2)
    track(github, "ben", gists=1)
    if operation == "edit_activity":
        sync()
        github.edit("ada", github.gist_ids("ada")[0], description="Edited")
    if operation == "list_activities":
        sync()
        github.publish("ada")
        pipedrive.fail("create_activity", respond(502, "{}"))
        sync()


def sync_until_done(sync: Sync) -> None:
    for _ in range(3):
        let_time_pass(timedelta(hours=2))
        sync()


def assert_each_gist_has_one_activity(github: GitHubStandIn, pipedrive: PipedriveStandIn) -> None:
    published = sorted(gist for account in github.accounts.values() for gist in account.gists)
    assert sorted(pipedrive.gist_ids()) == published
    assert not Gist.objects.exclude(push_state="pushed", activity_outdated=False).exists()


@pytest.mark.slow("starts sync_gists as a process, whose lease must expire")
@pytest.mark.parametrize("operation", PREPARED)
def test_what_was_taken_over_before_a_request_sends_nothing_and_writes_nothing(
    operation: str,
    silent: Silent,
    sync: Sync,
    configured: Settings,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
) -> None:
    configured.PUSH_EDITS = True
    prepare_for(operation, github, pipedrive, sync)
    silent.suspend_before(operation, PREPARED[operation][1])
    silent.let_lease_expire()
    sync()
    rows, requests = read_all_rows(), silent.count_requests()

    result = silent.go_on()

    assert (result.code, "Traceback" in result.errors) == (3, False), result.errors
    assert LOST in result.errors
    assert silent.count_requests() == requests
    assert read_all_rows() == rows
    assert SyncRun.objects.order_by("-id")[1].outcome == "crashed"
    sync_until_done(sync)
    assert_each_gist_has_one_activity(github, pipedrive)


@pytest.mark.slow("starts sync_gists as a process, whose lease must expire")
@pytest.mark.parametrize("operation", ["account", *PREPARED])
def test_what_was_taken_over_during_a_request_does_not_store_its_outcome(
    operation: str,
    silent: Silent,
    sync: Sync,
    configured: Settings,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
) -> None:
    configured.PUSH_EDITS = True
    configured.SETTLE_SECONDS = -60  # What was sent is looked up by the run that takes over.
    prepare_for(operation, github, pipedrive, sync)
    silent.suspend_during(operation)
    silent.let_lease_expire()
    sync()
    rows, requests = read_all_rows(), silent.count_requests()

    result = silent.go_on()

    assert (result.code, "Traceback" in result.errors) == (3, False), result.errors
    assert LOST in result.errors
    assert (silent.count_requests(), read_all_rows()) == (requests, rows)
    sync_until_done(sync)
    assert_each_gist_has_one_activity(github, pipedrive)


@pytest.mark.slow("starts sync_gists as a process, whose lease must expire")
@pytest.mark.parametrize("operation", ["gists", "create_activity"])
def test_a_run_that_was_suspended_and_not_taken_over_goes_on(
    operation: str, silent: Silent, sync: Sync, github: GitHubStandIn, pipedrive: PipedriveStandIn
) -> None:
    prepare_for(operation, github, pipedrive, sync)
    silent.suspend_during(operation)
    silent.let_lease_expire()

    result = silent.go_on()

    assert (result.code, result.json["outcome"]) == (0, "succeeded"), result.errors
    sync_until_done(sync)
    assert_each_gist_has_one_activity(github, pipedrive)


@pytest.mark.parametrize("moment", ["before the loop", "after the loop"])
def test_a_run_that_loses_the_lease_between_its_parts_says_so(
    moment: str, ada: Person, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(Run):
        def __call__(self) -> None:
            if moment == "before the loop":
                hold_lease()
            super().__call__()
            hold_lease()

    monkeypatch.setattr(sync_gists, "Run", Interrupted)

    with pytest.raises(CommandError, match="Another run has taken over") as caught:
        sync()

    assert caught.value.returncode == 3
    assert RunLease.objects.get().token == "other"


# --- what another run does meanwhile ---
MEANWHILE: dict[tuple[str, str], str] = {
    # arguments, what is going on: the line that it prints
    ("", "schedule"): "{run}, and polls all people. Nothing to do.",
    ("--trigger schedule", "manual"): "{run}, and polls all people. Nothing to do.",
    ("--full", "schedule"): (
        "{run}, and polls all people. Nothing to do. The whole list of each person is read with the next poll."
    ),
    ("--requested", "schedule"): "{run}. It polls new, requested and hinted people.",
    ("--requested", "requested"): "{run}. The next run polls new, requested and hinted people.",
    ("--requested", "undo_run"): "{run}. The next run polls new, requested and hinted people.",
    ("--person ada", "schedule"): "{run}. @ada: marked as requested. It polls them now.",
    ("--person ada", "requested"): "{run}. @ada: marked as requested. The next run polls them first.",
    ("--person ada --full", "person"): (
        "{run}. @ada: marked as requested. The next run polls them first. "
        "The whole list of each person is read with the next poll."
    ),
}


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(("arguments", "trigger"), MEANWHILE, ids=" beside ".join)
def test_another_run_says_in_one_line_what_goes_on_and_leaves_what_it_was_asked_for(
    arguments: str,
    trigger: str,
    as_json: bool,
    sync: Sync,
    github: GitHubStandIn,
    caplog: pytest.LogCaptureFixture,
) -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    polled = {"state": "active", "attempted_at": long_ago, "polled_at": long_ago, "full_read_at": long_ago}
    create_person("ada", **polled)
    create_person("ben", **polled)
    create_person("cleo")  # so that --requested has work
    run = None if trigger == "undo_run" else create_run(trigger=trigger, host="worker-1")
    hold_lease(run)
    going_on = "undo_run is going on"
    if run:
        going_on = f"Run {run.pk} ({trigger}, since {run.started_at:%Y-%m-%d %H:%M} UTC, on worker-1) is going on"

    with caplog.at_level("INFO"):
        summary = sync(*arguments.split(), as_json=as_json)

    expected = MEANWHILE[arguments, trigger].format(run=going_on)
    assert summary.code == 0
    assert (caplog.messages if as_json else summary.output.splitlines()) == [expected]
    if as_json:
        assert (summary.json["run"], summary.json["outcome"], summary.problems) == (None, "succeeded", [])
        assert not any(summary.counts.values())
    asked = {"ada"} if "--person" in arguments else set()
    requested = Person.objects.exclude(sync_requested_at=None)
    assert set(requested.values_list("github_username", flat=True)) == asked
    read_again = Person.objects.filter(full_read_at=None).exclude(github_username="cleo")
    whole = asked or {"ada", "ben"} if "--full" in arguments else set()
    assert set(read_again.values_list("github_username", flat=True)) == whole
    assert (github.requests, SyncRun.objects.count(), RunLease.objects.get().token) == ([], int(bool(run)), "other")


@pytest.mark.slow("starts sync_gists as a process")
@pytest.mark.parametrize("phase", ["polls", "pushes"])
@pytest.mark.parametrize("arguments", ["--person ada", "--requested"])
def test_the_run_that_goes_on_polls_who_is_asked_for_beside_it(
    arguments: str,
    phase: str,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    worker: Worker,
    sync: Sync,
) -> None:
    track(github, "ada", gists=1)
    sync()
    track(github, "ben", gists=1)
    may_respond = threading.Event()
    standin, operation = (github, "account") if phase == "polls" else (pipedrive, "create_activity")
    standin.fail(operation, respond_after(lambda: may_respond.wait(60)))
    process = worker("--trigger", "schedule")
    before = standin.counts[operation]
    wait_until(lambda: standin.counts[operation] > before)
    wait_until(lambda: github.counts["gists"] == (2 if phase == "polls" else 3))
    polls = github.counts["gists"]
    gist = github.publish("ada")
    if arguments == "--requested":
        sync_soon(Person.objects.filter(github_username="ada"))

    summary = sync(*arguments.split(), as_json=False)
    wait_until(lambda: github.counts["gists"] > polls)
    may_respond.set()

    _, errors = process.communicate(timeout=60)
    assert (process.returncode, summary.code) == (0, 0), errors
    assert "It polls" in summary.output
    assert SyncRun.objects.count() == 2
    assert gist in pipedrive.gist_ids()
    assert Person.objects.get(github_username="ada").sync_requested_at is None


@pytest.mark.slow("starts sync_gists as a process")
@pytest.mark.parametrize("trigger", ["requested", "person", "undo_run"])
@pytest.mark.parametrize("ends_by", ["its turn", "SIGTERM", "SIGINT"])
def test_a_run_for_all_people_waits_for_a_shorter_one(
    ends_by: str, trigger: str, ada: Person, github: GitHubStandIn, worker: Worker
) -> None:
    hold_lease(create_run(trigger=trigger, host="worker-1") if trigger != "undo_run" else None)
    process = worker("--trigger", "schedule")
    assert process.stderr
    line = next(line for line in process.stderr if "is going on" in line)
    assert line.endswith(" is going on, so this run waits until it has ended.\n")
    assert github.requests == []

    if ends_by == "its turn":
        RunLease.objects.update(token="")
    else:
        process.send_signal(getattr(signal, ends_by))
    _, errors = process.communicate(timeout=60)

    assert process.returncode == (0 if ends_by == "its turn" else 75), errors
    assert SyncRun.objects.filter(trigger="schedule", outcome="succeeded").exists() is (ends_by == "its turn")
    assert "Traceback" not in errors


# --- who else takes it ---
def test_a_run_that_crashed_is_closed_by_whoever_takes_its_lease(ada: Person, configured: Settings) -> None:
    undone, crashed = create_run(outcome="succeeded"), create_run(trigger="schedule")
    hold_lease(crashed, host=HERE, pid=find_dead_pid())

    call_command("undo_run", str(undone.pk))

    crashed.refresh_from_db()
    assert (crashed.outcome, bool(crashed.finished_at)) == ("crashed", True)


def test_a_run_that_cannot_be_closed_is_not_running_for_ever(
    ada: Person, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("an odd error")

    with monkeypatch.context() as broken:
        broken.setattr(sync_gists, "close_run", fail)
        with pytest.raises(ValueError, match="an odd error"):
            sync()

    assert (SyncRun.objects.get().outcome, RunLease.objects.get().token) == ("crashed", "")
    assert sync().code == 0


@pytest.mark.parametrize("trigger", ["schedule", "requested"])
@pytest.mark.parametrize("undone", ["the one before", "the one that goes on"])
def test_no_run_is_undone_while_one_goes_on(
    undone: str, trigger: str, linked: int, sync: Sync, pipedrive: PipedriveStandIn
) -> None:
    before, other = SyncRun.objects.get(), create_run(trigger=trigger)
    run = before if undone == "the one before" else other
    hold_lease(other)
    pipedrive.clear_requests()

    with pytest.raises(CommandError, match=f"Run {other.pk} is going on") as caught:
        call_command("undo_run", str(run.pk))

    assert caught.value.returncode == 2
    assert "Wait until it has ended, or stop it; then repeat the command." in str(caught.value)
    assert (pipedrive.requests, Gist.objects.get().push_state) == ([], "pushed")


def test_after_restore_ends_the_run_of_the_backup(ada: Person, sync: Sync) -> None:
    """The backup was made while a run went on; its process does not know this database."""
    run = create_run(trigger="schedule")
    hold_lease(run)

    call_command("after_restore")

    run.refresh_from_db()
    assert (run.outcome, RunLease.objects.exists()) == ("crashed", False)
    assert sync().json["outcome"] == "succeeded"
