"""The database fails, restarts, is locked or configured wrongly; runs die; clocks are wrong."""

import itertools
import os
import select
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.utils import timezone

from gisttracker.common.database import Retry, retried, retried_on_conflict
from gisttracker.config import checks
from people.keys import get_user_consumer
from people.models import ApiKey, Consumer, Gist, Person, Visit
from sync.clock import database_clock
from sync.models import PushAttempt
from tests.conftest import DuringRequest, Sync, Worker, fail_statements
from tests.factories import create_gist, create_key, create_person, create_run, let_time_pass, track_people
from tests.standins import GitHubStandIn, PipedriveStandIn, respond

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]


class _Forward(socketserver.BaseRequestHandler):
    """One connection: both directions, until one side closes or the proxy is stopped."""

    server: "_ProxyServer"

    def handle(self) -> None:
        with socket.create_connection(self.server.target) as server, suppress(OSError):
            pair = {self.request: server, server: self.request}
            while not self.server.is_down.is_set():
                for source in select.select(list(pair), [], [], 0.05)[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    pair[source].sendall(data)


class _ProxyServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    block_on_close = True
    target: tuple[str, int]
    is_down: threading.Event


class Proxy:
    """A TCP proxy in front of the database server; while it is down, connections are closed and refused."""

    def __init__(self, host: str, port: int) -> None:
        self.target, self.port = (host, port), 0
        self.start()

    def start(self) -> None:
        self.server = _ProxyServer(("127.0.0.1", self.port), _Forward)
        self.server.target, self.server.is_down = self.target, threading.Event()
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.server.is_down.set()
        self.server.shutdown()
        self.server.server_close()

    def restart(self, seconds: float) -> None:
        """Stop at once, and start after this time."""
        self.stop()
        threading.Timer(seconds, self.start).start()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    settings = connection.settings_dict
    server = Proxy(str(settings["HOST"] or "127.0.0.1"), int(settings["PORT"] or 3306))
    yield server
    server.stop()


# --- errors that pass ---
@pytest.mark.slow("starts sync_gists as a process")
@pytest.mark.server
@pytest.mark.parametrize("operation", ["gists", "create_activity"])
def test_a_run_survives_a_restart_of_the_database(
    operation: str,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    worker: Worker,
    proxy: Proxy,
    during_request: DuringRequest,
) -> None:
    track_people(github, 20, gists=1)
    standin = github if operation == "gists" else pipedrive
    during_request(standin, operation, lambda: proxy.restart(3), nth=5)

    process = worker(DATABASE_PORT=str(proxy.port), DATABASE_HOST="127.0.0.1", TEST_LEASE_SECONDS="600")
    _, errors = process.communicate(timeout=120)

    assert process.returncode == 0, errors
    assert Person.objects.filter(state="active", failures=0).count() == 20
    assert Gist.objects.exclude(push_state="pushed").count() == 0
    assert len(pipedrive.activities) == len(set(pipedrive.gist_ids())) == 20


@pytest.mark.parametrize(
    "error",
    [
        *(OperationalError(code, "...") for code in (1040, 1053, 1203, 1213, 1290, 1927, 2002, 2003, 2006, 2013, 4031)),
        OperationalError("database is locked"),
        InterfaceError(0, ""),
    ],
    ids=str,
)
def test_an_error_that_passes_is_tried_again(error: Exception) -> None:
    assert retried(fail_with(error, error))() == "done"


@pytest.mark.parametrize("retry", [retried, retried_on_conflict])
def test_a_retry_waits_longer_each_time(retry: Retry, pauses: list[float]) -> None:
    assert retry(fail_with(*[OperationalError(1213, "Deadlock")] * 6))() == "done"

    assert len(pauses) == 6
    assert all(before < after for before, after in itertools.pairwise(pauses))


@pytest.mark.parametrize("retry", [retried, retried_on_conflict])
def test_an_error_without_end_is_raised(retry: Retry, pauses: list[float]) -> None:
    with pytest.raises(OperationalError):
        retry(fail_with(*[OperationalError(1213, "Deadlock")] * 100))()

    assert len(pauses) == len(retry.pauses)
    assert max(pauses) <= 4


@pytest.mark.parametrize("retry", [retried, retried_on_conflict])
def test_nothing_is_tried_again_when_the_time_is_over(retry: Retry, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("gisttracker.common.database.time.monotonic", lambda: now[0])
    calls = []

    @retry
    def statement() -> None:
        calls.append(1)
        now[0] += retry.seconds / 2 + 1
        raise OperationalError(1213, "Deadlock")

    with pytest.raises(OperationalError):
        statement()
    assert len(calls) == 2


@pytest.mark.parametrize("code", [2003, 2006, 2013])
def test_a_web_request_does_not_wait_for_a_database_that_is_away(code: int, pauses: list[float]) -> None:
    with pytest.raises(OperationalError):
        retried_on_conflict(fail_with(OperationalError(code, "...")))()

    assert pauses == []


@pytest.mark.parametrize("code", [1205, 1213])
def test_a_web_request_is_repeated_after_a_conflict(code: int) -> None:
    assert retried_on_conflict(fail_with(OperationalError(code, "...")))() == "done"


def fail_with(*errors: Exception) -> Callable[[], str]:
    """A statement that raises these errors, one after the other, before it succeeds."""
    left = list(errors)

    def statement() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return statement


@pytest.mark.parametrize("code", [1044, 1045, 1049, 1064, 1146, 1205])
def test_an_error_that_stays_is_raised_at_once(code: int) -> None:
    calls = []

    @retried
    def statement() -> None:
        calls.append(1)
        raise OperationalError(code, "...")

    with pytest.raises(OperationalError):
        statement()
    assert len(calls) == 1


def test_nothing_is_repeated_inside_a_transaction() -> None:
    calls = []

    @retried
    def statement() -> None:
        calls.append(1)
        raise OperationalError(2006, "server has gone away")

    with pytest.raises(OperationalError), transaction.atomic():
        statement()
    assert len(calls) == 1


# --- locks ---
@contextmanager
def locked(person: Person) -> Iterator[None]:
    """Another connection keeps the person's row locked."""
    is_locked, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                Person.objects.select_for_update().get(pk=person.pk)
                is_locked.set()
                may_end.wait(60)
        finally:
            connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    is_locked.wait(60)
    try:
        yield
    finally:
        may_end.set()
        thread.join()


@pytest.mark.server
def test_a_locked_row_stops_no_other_person(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    track_people(github, 20)
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION innodb_lock_wait_timeout = 1")

    with locked(ada):
        summary = sync()
    after = sync()

    assert (summary.code, summary.counts["people_polled"], after.counts["people_polled"]) == (0, 20, 21)


@pytest.mark.server
def test_a_row_locked_during_the_poll_stops_no_other_person(
    ada: Person, github: GitHubStandIn, sync: Sync, during_request: DuringRequest
) -> None:
    track_people(github, 20, gists=1)
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION innodb_lock_wait_timeout = 1")
    lock = locked(Person.objects.get(github_username="person-7"))
    during_request(github, "gists", lock.__enter__)

    summary = sync()
    lock.__exit__(None, None, None)

    assert (summary.code, summary.counts["people_polled"]) == (0, 20)
    assert Gist.objects.count() == 19


@pytest.mark.server
@pytest.mark.parametrize("moment", ["search_items", "create_person", "create_activity"])
def test_a_row_locked_during_the_push_stops_no_other_person(
    moment: str, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, during_request: DuringRequest
) -> None:
    people = track_people(github, 4, gists=2)
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION innodb_lock_wait_timeout = 1")
    lock = locked(people[0])
    during_request(pipedrive, moment, lock.__enter__)

    summary = sync()
    lock.__exit__(None, None, None)
    pushed = Gist.objects.filter(push_state="pushed").exclude(person=people[0]).count()
    let_time_pass(timedelta(minutes=5))
    after = sync()

    assert (summary.json["outcome"], pushed, after.json["outcome"]) == ("succeeded", 6, "succeeded")
    assert len(pipedrive.gist_ids()) == len(set(pipedrive.gist_ids())) == 8


# --- clocks ---
@pytest.mark.parametrize("days", [1, 400])
def test_times_in_the_future_hide_no_people(
    days: int, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    """As after a clock that was a day ahead during a run."""
    track_people(github, 5, gists=1)
    sync()
    future = timezone.now() + timedelta(days=days)
    columns = ("attempted_at", "polled_at", "full_read_at", "push_attempted_at")
    Person.objects.update(**dict.fromkeys(columns, future), next_attempt_at=future + timedelta(days=1))
    for person in Person.objects.all():
        github.publish(person.github_username, "New")

    summary = sync()

    assert (summary.counts["people_polled"], summary.counts["gists_pushed"]) == (5, 5)
    assert sync().counts["people_polled"] == 5  # The wrong times are gone, and a round has an end.


def test_a_request_in_the_future_does_not_repeat_the_poll_for_ever(
    ada: Person, github: GitHubStandIn, sync: Sync
) -> None:
    Person.objects.update(sync_requested_at=timezone.now() + timedelta(days=1))
    github.fail_always("/ada", respond(403, '{"message": "no"}'))

    assert sync("--max-people", "5").counts["people_failed"] == 1


def test_a_run_in_the_future_is_not_healthy(ada: Person, capsys: pytest.CaptureFixture[str]) -> None:
    tomorrow = timezone.now() + timedelta(days=1)
    Person.objects.update(created_at=timezone.now() - timedelta(days=1))
    create_run(outcome="succeeded", trigger="schedule", started_at=tomorrow, finished_at=tomorrow)

    with pytest.raises(SystemExit) as end:
        call_command("sync_status")

    assert end.value.code == 1
    assert "in the future - check the clock" in capsys.readouterr().out


def test_a_step_of_this_machine_s_clock_does_not_move_the_clock_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = database_clock()
    before = clock()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 86400)
    monkeypatch.setattr("django.utils.timezone.now", lambda: datetime.now().astimezone() + timedelta(days=1))

    assert timedelta() <= clock() - before < timedelta(hours=1)


# --- a database that cannot be used ---
@pytest.mark.server
def test_a_character_set_other_than_utf8mb4_is_refused_with_the_statement_that_fixes_it(client: Client) -> None:
    name = connection.settings_dict["NAME"]
    assert checks.check_character_set(None, databases=["default"]) == []
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE of_other_software (text VARCHAR(10)) CHARACTER SET latin1")
        cursor.execute("ALTER TABLE sync_syncrun CONVERT TO CHARACTER SET latin1")
        cursor.execute(f"ALTER DATABASE `{name}` CHARACTER SET latin1")
    try:
        (error,) = checks.check_character_set(None, databases=["default"])
        readyz = client.get("/readyz")
        with pytest.raises(SystemCheckError) as migrate:
            call_command("migrate", verbosity=0, skip_checks=False)
        with connection.cursor() as cursor:
            for statement in str(error.hint).removeprefix("Run as its administrator: ").strip(";").split(";"):
                cursor.execute(statement)
        fixed = checks.check_character_set(None, databases=["default"])
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE of_other_software")
            cursor.execute("ALTER TABLE sync_syncrun CONVERT TO CHARACTER SET utf8mb4")
            cursor.execute(f"ALTER DATABASE `{name}` CHARACTER SET utf8mb4")

    assert f"ALTER TABLE `{name}`.`sync_syncrun` CONVERT TO CHARACTER SET utf8mb4" in str(error.hint)
    assert "of_other_software" not in str(error.hint)
    assert "utf8mb4" in str(migrate.value)
    assert (readyz.status_code, "utf8mb4" in readyz.json()["status"], fixed) == (503, True, [])


@pytest.mark.django_db
def test_readyz_is_503_until_all_migrations_are_applied(client: Client) -> None:
    before = client.get("/readyz").status_code
    MigrationRecorder(connection).record_unapplied("people", "0001_initial")

    response = client.get("/readyz")

    assert (before, response.status_code) == (200, 503)
    assert response.json()["status"] == "1 migration is not applied. Run `manage.py migrate`."


def test_readyz_is_503_while_the_database_is_read_only(client: Client) -> None:
    on_off: Any = {
        "sqlite": ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
        "mysql": ("SET SESSION TRANSACTION READ ONLY", "SET SESSION TRANSACTION READ WRITE"),
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(on_off[0])
    try:
        response = client.get("/readyz")
    finally:
        with connection.cursor() as cursor:
            cursor.execute(on_off[1])

    assert (response.status_code, response.json()["status"]) == (503, "The database cannot be used: it is read-only.")


@pytest.mark.parametrize("path", ["/api/v1/people", "/api/v1/status", "/admin/login/"])
@pytest.mark.parametrize("code", [1040, 1205, 2003, 2006])
def test_a_database_that_is_not_available_is_503_with_retry_after(
    code: int, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_statements(monkeypatch, code)

    response = Client(raise_request_exception=False).get(path)

    if path != "/admin/login/" or response.status_code != 200:  # The login page needs no database.
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert b"db.internal" not in response.content


@pytest.mark.slow("starts manage.py as a process")
def test_an_unreachable_database_has_an_exit_code_of_its_own() -> None:
    command = [sys.executable, "manage.py", "sync_status", "--database-host", "127.0.0.1", "--database-port", "9"]

    assert subprocess.run(command, env=os.environ, capture_output=True, check=False).returncode == 69


@pytest.mark.server
def test_the_database_itself_deletes_what_refers_to_a_deleted_row() -> None:
    """So another program, or a statement by hand, leaves nothing behind."""
    user = User.objects.create_user("ben", is_staff=True)
    gist = create_gist(create_person("ada"))
    Visit.objects.create(person=gist.person, consumer=get_user_consumer(user))
    PushAttempt.objects.create(gist=gist, attempted_at=timezone.now(), outcome="succeeded")
    create_key("Team")

    with connection.cursor() as cursor:
        for statement in ("DELETE FROM people_person", "DELETE FROM people_consumer", "DELETE FROM auth_user"):
            cursor.execute(statement)

    for model in (Gist, Visit, PushAttempt, Consumer, ApiKey):
        assert not model._default_manager.exists(), model


@pytest.mark.server
def test_the_server_can_keep_all_constraints() -> None:
    assert [str(warning) for warning in run_checks(databases=["default"], tags=["models"])] == []
