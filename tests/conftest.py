"""Shared fixtures: the stand-ins, a sync against them in this process or another one, and Ada."""

import itertools
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

import pytest
import requests
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.core.management import call_command
from django.core.management.color import no_style
from django.db import connection
from django.db.utils import OperationalError
from django.test import TransactionTestCase
from pytest_django import Settings
from rest_framework.test import APIClient

from gisttracker.common.apps import service_apps
from gisttracker.desk.viewers import grant_view_permissions
from people.api.throttling import request_counts
from people.models import Person
from sync.clients.transport import Timing
from sync.management.commands.sync_gists import Command
from tests.cpu_time import shared_time
from tests.described import Conformance, DescribedClient
from tests.standins import GitHubStandIn, PipedriveStandIn, respond_after
from tests.standins.seam import new_session
from tests.standins.wire import StandIn
from tests.with_mysql import free_port

GITHUB_TOKEN = "gh-token-3f9c"
PIPEDRIVE_TOKEN = "pd-token-81ad"
ROOT = Path(__file__).parent.parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of the files that are named on the command line, run what the database can; CONTRIBUTING.md has the markers."""
    if connection.vendor == "sqlite":
        for item in items:
            if item.get_closest_marker("server"):
                item.add_marker(pytest.mark.skip(reason="needs a MySQL-compatible server"))
        return
    others = [item for item in items if not uses_database(item)]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in set(others)]


def uses_database(item: pytest.Item) -> bool:
    fixtures = {"db", "transactional_db"} & set(getattr(item, "fixturenames", []))
    return bool(fixtures) or item.get_closest_marker("django_db") is not None


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """`make test ARGS=...` may name files of which a server has nothing to run."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and connection.vendor != "sqlite":
        print("\nNone of these tests needs a server; they run on SQLite.")
        session.exitstatus = pytest.ExitCode.OK


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """SQLite's test database is a file, so that other processes and threads share it."""
    if connection.vendor == "sqlite":
        connection.settings_dict["TEST"]["NAME"] = str(tmp_path_factory.mktemp("database") / "test.sqlite3")


@pytest.fixture(autouse=True, scope="session")
def _flush_without_permissions() -> Iterator[None]:
    """After a test with transactions all rows are deleted, except content types and permissions.

    Django would delete those, too, and create them again, which costs much of the time of such a test.
    """
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(TransactionTestCase, "_fixture_teardown", _delete_rows)
        yield


def _delete_rows(_: TransactionTestCase) -> None:
    kept = {ContentType._meta.db_table, Permission._meta.db_table}
    tables = set(connection.introspection.django_table_names(only_existing=True)) - kept
    connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), sorted(tables)))
    for app in service_apps():
        grant_view_permissions(app)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds between retries of database statements. No test sleeps them."""
    slept: list[float] = []
    monkeypatch.setattr("gisttracker.common.database.sleep", slept.append)
    return slept


@pytest.fixture(autouse=True, scope="session")
def _without_sockets() -> Iterator[None]:
    """The clients in this process reach the stand-ins through the seam."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("sync.clients.transport.new_session", new_session)
        monkeypatch.setattr("sync.clients.webhook.new_session", new_session)
        yield


@pytest.fixture
def github() -> Iterator[GitHubStandIn]:
    with GitHubStandIn(tokens=(GITHUB_TOKEN,)) as standin:
        yield standin


@pytest.fixture
def pipedrive() -> Iterator[PipedriveStandIn]:
    with PipedriveStandIn(tokens=(PIPEDRIVE_TOKEN,)) as standin:
        yield standin


@pytest.fixture(autouse=True)
def _clear_cache() -> None:
    """What one test has cached or counted does not affect the next."""
    cache.clear()
    request_counts.clear()


@pytest.fixture
def conformance() -> Conformance:
    return Conformance()


@pytest.fixture
def api(conformance: Conformance) -> APIClient:
    """Compares each response with the OpenAPI document. Not on a server, where the responses have the same shapes."""
    return DescribedClient(conformance) if connection.vendor == "sqlite" else APIClient()


@dataclass
class Summary:
    """The exit code and the output of sync_gists."""

    code: int
    output: str
    errors: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.output)

    @property
    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = self.json["counts"]
        return counts

    @property
    def problems(self) -> list[str]:
        """The reasons, that of most people first."""
        return [problem["reason"] for problem in self.json["problems"]]

    @property
    def people_in_trouble(self) -> set[str]:
        """The logins of those whose poll or push failed."""
        failed = [problem["people"] for problem in self.json["problems"] if problem["code"] in ("poll", "push")]
        return set(itertools.chain.from_iterable(failed))


Sync = Callable[..., Summary]
Worker = Callable[..., subprocess.Popen[str]]


class DuringRequest(Protocol):
    def __call__(self, standin: StandIn, operation: str, action: Callable[[], object], *, nth: int = 1) -> None: ...


@pytest.fixture
def configured(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Settings that lead to the stand-ins, without waits for our own rate limits and without a settle delay."""
    monkeypatch.setattr("sync.clients.pipedrive.WINDOW_SECONDS", 0.0)
    settings.GITHUB_API_URL, settings.GITHUB_TOKEN = github.url, GITHUB_TOKEN
    settings.PIPEDRIVE_API_URL, settings.PIPEDRIVE_TOKEN = pipedrive.url, PIPEDRIVE_TOKEN
    settings.GITHUB_REQUESTS_PER_MINUTE = 1_000_000
    settings.SETTLE_SECONDS = 0
    settings.GITHUB_STREAM = False  # The tests of the stream turn it on.
    return settings


@pytest.fixture
def judging() -> None:
    """With it, runs judge the service's health and raise alarms, which costs a fifth of a run."""


@pytest.fixture
def sync(
    request: pytest.FixtureRequest,
    db: None,
    configured: Settings,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Sync:
    """Run `sync_gists`, by default with --json, in this process and with short retries.

    Its threads have connections of their own, so nothing may be in a transaction of the test.
    """
    monkeypatch.setattr(Command, "timing", Timing(retry=0.001, burst_pause=0.001, secondary_pause=0.001))
    if "judging" not in request.fixturenames:
        monkeypatch.setattr("sync.management.commands.sync_gists.report_health", lambda clock: None)

    def run(*arguments: str, as_json: bool = True) -> Summary:
        capsys.readouterr()
        code = 0
        try:
            call_command("sync_gists", *(["--json"] if as_json else []), *arguments)
        except SystemExit as error:
            code = int(error.code or 0)
        captured = capsys.readouterr()
        return Summary(code, captured.out, captured.err)

    return run


@pytest.fixture
def database_variables(transactional_db: None) -> dict[str, str]:
    return database_environment()


def database_environment() -> dict[str, str]:
    """Environment variables with which another process uses the test database."""
    database = connection.settings_dict
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "gisttracker.config.settings",
        "PYTHONWARNINGS": "ignore",
        "SQLITE_PATH": str(database["NAME"]),
        "DATABASE_NAME": str(database["NAME"]) if connection.vendor == "mysql" else "",
    }


@dataclass
class WebServer:
    """The web service, running as in production. `log` has its output, also of the tests before."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        with shared_time():
            self.process.terminate()
            self.process.wait(timeout=60)


class Servers:
    """Calling it returns the URL of a web server with these settings. The tests of a module share it."""

    def __init__(self, folder: Path) -> None:
        variables = {"SECRET_KEY": secrets.token_urlsafe(50), "REQUIRE_HTTPS": "false", "API_AUTH": ""}
        self.environment = {**database_environment(), **variables}
        self._folder = folder
        self._servers: list[WebServer] = []
        self._shared: dict[frozenset[tuple[str, str]], WebServer] = {}

    def __call__(self, **variables: str) -> str:
        return self.shared(**variables).url

    def shared(self, **variables: str) -> WebServer:
        settings = frozenset(variables.items())
        if settings not in self._shared:
            with shared_time():
                self._shared[settings] = self.start(**variables)
        return self._shared[settings]

    def start(self, *, config: str = "gisttracker.web.gunicorn", **variables: str) -> WebServer:
        """A server for one test, which may do what it likes with it."""
        port, path = str(free_port()), self._folder / f"server-{len(self._servers)}.log"
        with path.open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-c", f"python:{config}", "gisttracker.web.asgi"],
                cwd=ROOT,
                env={**self.environment, "LISTEN_PORT": port, **variables},
                stdout=log,
                stderr=log,
            )
        server = WebServer(f"http://127.0.0.1:{port}", path, process)
        self._servers.append(server)
        wait_until(lambda: is_ready(f"{server.url}/readyz"))
        return server

    def stop(self) -> None:
        for server in self._servers:
            server.stop()


@pytest.fixture(scope="module")
def servers(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    servers = Servers(tmp_path_factory.mktemp("servers"))
    yield servers
    servers.stop()


@pytest.fixture
def serve(servers: Servers, transactional_db: None) -> Servers:
    return servers


@pytest.fixture
def worker(configured: Settings, database_variables: dict[str, str]) -> Iterator[Worker]:
    """Start `manage.py sync_gists` in another process, on the test database."""
    started = []
    environment = {
        **database_variables,
        "DJANGO_SETTINGS_MODULE": "tests.process_settings",
        "GITHUB_API_URL": configured.GITHUB_API_URL,
        "GITHUB_TOKEN": GITHUB_TOKEN,
        "PIPEDRIVE_API_URL": configured.PIPEDRIVE_API_URL,
        "PIPEDRIVE_TOKEN": PIPEDRIVE_TOKEN,
    }

    def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "sync_gists", "--json", *arguments],
            env={**environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def during_request() -> Iterator[DuringRequest]:
    """Do something, which may use the database, during the nth next request of an operation.

    The stand-in processes the request before the action and responds after it. At the end of the test, every action
    must have ended without an error.
    """
    results: list[Future[None]] = []

    def schedule(standin: StandIn, operation: str, action: Callable[[], object], *, nth: int = 1) -> None:
        result: Future[None] = Future()
        results.append(result)

        def act() -> None:
            try:
                action()
                result.set_result(None)
            except BaseException as error:
                result.set_exception(error)
            finally:
                connection.close()

        standin.fail(operation, respond_after(act), nth=nth)

    yield schedule
    for result in results:
        assert result.done(), "the request was not made, or the action has not ended"
        result.result()


@pytest.fixture
def ada(db: None, github: GitHubStandIn) -> Person:
    """Tracked, with an account; tests publish her gists."""
    github.add_account("ada", name="Ada Lovelace", email="ada@example.com")
    return Person.objects.create(github_username="ada")


@pytest.fixture
def linked(ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync) -> int:
    """The id of Ada's Pipedrive person, which the service has created, and which has one activity."""
    github.publish("ada", "First")
    sync()
    ada.refresh_from_db()
    return ada.pipedrive_id or 0


def fail_statements(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """From now on, each statement fails with this error of MySQL."""

    def execute(*_: object, **__: object) -> NoReturn:
        raise OperationalError(code, "at db.internal")

    monkeypatch.setattr("django.db.backends.utils.CursorWrapper.execute", execute)


def get_error(response: Any) -> dict[str, Any]:
    """Return the only error of a response."""
    (error,) = response.json()["errors"]
    assert isinstance(error, dict)
    return error


def manage(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run manage.py in a process of its own, with these environment variables and without a database server."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DATABASE_")}
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env={**environment, "DJANGO_SETTINGS_MODULE": "gisttracker.config.settings", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def is_ready(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def run_concurrently(function: Callable[[], None], count: int) -> None:
    """Run the function in this many threads at the same time. Raises what one of them raised."""

    def run() -> None:
        try:
            function()
        finally:
            connection.close()  # each thread has its own

    with ThreadPoolExecutor(count) as pool:
        for future in [pool.submit(run) for _ in range(count)]:
            future.result()


def wait_until(condition: Callable[[], bool]) -> None:
    """Poll a condition. Fails after 60 s, which is far more than a busy machine needs."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true within 60 s"
        time.sleep(0.01)
