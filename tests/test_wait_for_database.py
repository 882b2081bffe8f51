"""`manage.py wait_for_database`, with a server that starts late, and others that refuse."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import OperationalError

from gisttracker.management.commands import wait_for_database
from tests.conftest import ROOT, manage
from tests.with_mysql import Server, find_server_program, free_port

UNREACHABLE = OperationalError(2003, "Can't connect to MySQL server on 'db' (111)")
STARTING = OperationalError(2013, "Lost connection to MySQL server at 'handshake'")
DENIED = OperationalError(1045, "Access denied for user 'pipedrive'@'10.0.0.7' (using password: YES)")
UNKNOWN = OperationalError(1049, "Unknown database 'pipedrive'")
NO_ENCRYPTION = OperationalError(2026, "SSL connection error: SSL is required but the server doesn't support it")


@pytest.fixture
def late_server(tmp_path: Path) -> Iterator[Server]:
    """A server with its data, not started yet. It has a port of its own, also if the tests use another server."""
    program = find_server_program(os.environ.get("MYSQL_SERVER", ""))
    if not program:
        pytest.skip("no MySQL-compatible server is installed")
    server = Server(program, tmp_path)
    yield server
    server.stop()


def start_waiting(*arguments: str, **variables: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DATABASE_")}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "wait_for_database", *arguments],
        env={**environment, **variables, "DJANGO_SETTINGS_MODULE": "gisttracker.config.settings"},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow("starts manage.py as a process")
def test_it_waits_for_a_server_that_starts_late(late_server: Server) -> None:
    process = start_waiting(**{**late_server.variables, "DATABASE_NAME": "mysql"})
    assert process.stderr
    waiting = process.stderr.readline()
    late_server.start()

    _, rest = process.communicate(timeout=120)

    assert f"Waiting up to 300 s for the database at 127.0.0.1:{late_server.port}: Can't connect to" in waiting
    assert "The database is available after " in rest
    assert (process.returncode, len(rest.splitlines())) == (0, 1), rest


@pytest.mark.slow("starts manage.py as a process")
def test_it_gives_up_with_the_exit_code_of_an_unusable_database() -> None:
    completed = manage("wait_for_database", "--timeout", "1", DATABASE_HOST="127.0.0.1", DATABASE_PORT=str(free_port()))

    lines = completed.stderr.splitlines()
    assert (completed.returncode, len(lines)) == (69, 2), completed.stderr
    assert "Waiting up to 1 s for the database at 127.0.0.1:" in lines[0]
    assert "The database cannot be used: the server is not reachable (Can't connect to" in lines[1]


@pytest.mark.slow("starts manage.py as a process")
def test_it_waits_while_connections_are_accepted_and_closed(late_server: Server) -> None:
    """A proxy does that while its server is not there yet."""
    with socket.create_server(("127.0.0.1", late_server.port)) as proxy:
        process = start_waiting(**{**late_server.variables, "DATABASE_NAME": "mysql"})
        for _ in range(2):
            proxy.accept()[0].close()
    late_server.start()

    _, errors = process.communicate(timeout=120)

    assert "Waiting up to 300 s" in errors
    assert process.returncode == 0, errors


@pytest.mark.slow("starts manage.py as a process")
def test_a_usable_database_needs_no_line(tmp_path: Path) -> None:
    completed = manage("wait_for_database", SQLITE_PATH=str(tmp_path / "new.sqlite3"))

    assert (completed.returncode, completed.stdout, completed.stderr) == (0, "", "")


# --- errors, a second from each other ---
class Waiting:
    """Runs the command in a time of its own: `now`. The last of the errors stays."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self._errors: list[OperationalError | None] = []
        monkeypatch.setattr(wait_for_database, "time", self)
        monkeypatch.setattr(wait_for_database, "try_to_connect", self._try_to_connect)

    def __call__(self, *errors: OperationalError | None) -> None:
        self._errors = list(errors)
        call_command("wait_for_database")

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def _try_to_connect(self) -> OperationalError | None:
        return self._errors.pop(0) if len(self._errors) > 1 else self._errors[0]


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Waiting:
    return Waiting(monkeypatch)


@pytest.mark.parametrize(
    ("error", "seconds"), [(UNREACHABLE, 300), (STARTING, 300), (DENIED, 60), (UNKNOWN, 60), (NO_ENCRYPTION, 0)]
)
def test_each_error_has_its_time_to_pass(error: OperationalError, seconds: int, wait: Waiting) -> None:
    with pytest.raises(OperationalError, match=re.escape(error.args[1])):
        wait(error)

    assert wait.now == seconds


def test_a_server_that_comes_late_has_its_own_time_for_being_set_up(
    wait: Waiting, caplog: pytest.LogCaptureFixture
) -> None:
    wait(*[UNREACHABLE] * 280, *[DENIED] * 15, None)

    assert wait.now == 295
    assert [re.sub(r" for the database at .*?: ", ": ", record.getMessage()) for record in caplog.records] == [
        f"Waiting up to 300 s: {UNREACHABLE.args[1]}",
        f"Waiting up to 20 s: {DENIED.args[1]}",
        "The database is available after 295 s.",
    ]


def test_a_server_that_becomes_unreachable_again_has_the_rest_of_the_time(wait: Waiting) -> None:
    """After its first initialization, the server of an image is started again."""
    wait(*[DENIED] * 50, *[UNREACHABLE] * 200, None)

    assert wait.now == 250
