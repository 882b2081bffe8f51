"""The progress bar of sync_gists on a real terminal, and the trigger of a run."""

import os
import pty
import re
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator

import pytest
from django.core.management import CommandError
from pytest_django import Settings

from people.models import Person
from sync.models import SyncRun
from tests.conftest import GITHUB_TOKEN, PIPEDRIVE_TOKEN, ROOT, DuringRequest, Sync, Worker, wait_until
from tests.factories import track, track_people
from tests.standins import GitHubStandIn, PipedriveStandIn, respond

pytestmark = pytest.mark.django_db(transaction=True)


class Terminal:
    """A pseudo-terminal of 120 columns, and what was written to it so far."""

    def __init__(self) -> None:
        self.output = ""
        self._main, self.end = pty.openpty()
        termios.tcsetwinsize(self.end, (40, 120))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._main, 65536):
                self.output += data.decode(errors="replace")
        except OSError:  # Linux: the last process has closed the other end.
            return

    def close(self) -> None:
        os.close(self.end)
        self._thread.join(60)
        os.close(self._main)


@pytest.fixture
def sync_on_terminal(
    configured: Settings, database_variables: dict[str, str]
) -> Iterator[tuple[Terminal, Callable[..., int]]]:
    """A terminal, and a function that runs `sync_gists` on it in another process and returns its exit code."""
    terminal = Terminal()
    variables = {
        **database_variables,
        "GITHUB_API_URL": configured.GITHUB_API_URL,
        "GITHUB_TOKEN": GITHUB_TOKEN,
        "PIPEDRIVE_API_URL": configured.PIPEDRIVE_API_URL,
        "PIPEDRIVE_TOKEN": PIPEDRIVE_TOKEN,
        "DJANGO_SETTINGS_MODULE": "tests.process_settings",
    }

    def run(*arguments: str) -> int:
        command = [sys.executable, str(ROOT / "manage.py"), "sync_gists", "--concurrency", "1", *arguments]
        return subprocess.run(
            command, env=variables, stdout=terminal.end, stderr=terminal.end, stdin=terminal.end, check=False
        ).returncode

    yield terminal, run
    terminal.close()


def rendered(output: str) -> list[str]:
    """The lines that a reader sees at the end: a carriage return begins a line again."""
    lines = []
    for line in output.replace("\x1b[A", "").split("\n"):
        cells: list[str] = []
        for part in line.split("\r"):
            cells[: len(part)] = list(part)
        lines.append("".join(cells).rstrip())
    return lines


@pytest.mark.slow("starts sync_gists as a process")
def test_the_bar_moves_with_each_person_and_each_activity(
    sync_on_terminal: tuple[Terminal, Callable[..., int]],
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    during_request: DuringRequest,
) -> None:
    """Each request is only answered after the bar has shown what was finished before it."""
    terminal, run = sync_on_terminal
    track_people(github, 3)
    track(github, "ada", gists=3)

    def wait_for(text: str) -> Callable[[], None]:
        return lambda: wait_until(lambda: text in terminal.output)

    for number in (2, 3, 4):
        during_request(github, "gists", wait_for(f" {number - 1}/4 "), nth=number)
    for number in (2, 3):
        during_request(pipedrive, "create_activity", wait_for(f"activities created: {number - 1}"), nth=number)

    assert run() == 0, terminal.output
    assert "failed: 0 people, 0 gists" in terminal.output


@pytest.mark.slow("starts sync_gists as a process")
def test_log_lines_do_not_tear_the_bar(
    sync_on_terminal: tuple[Terminal, Callable[..., int]], github: GitHubStandIn, during_request: DuringRequest
) -> None:
    terminal, run = sync_on_terminal
    track_people(github, 4)
    for number in range(3):
        github.fail_always(f"/person-{number}", respond(422, f'{{"message": "odd {PIPEDRIVE_TOKEN}"}}'))
    during_request(github, "gists", lambda: wait_until(lambda: " 0/4 " in terminal.output))

    run()

    lines = rendered(terminal.output)
    logged = [line for line in lines if " WARNING " in line]
    assert len(logged) >= 3, terminal.output
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ WARNING ", line) for line in logged)
    assert not [line for line in lines if "it/s" in line or " people/s" in line or "/4 [" in line]
    assert not [line for line in logged if PIPEDRIVE_TOKEN in line]
    assert any("[secret]" in line for line in logged)


@pytest.mark.slow("starts sync_gists as a process")
def test_nothing_is_drawn_without_a_terminal(ada: Person, github: GitHubStandIn, worker: Worker) -> None:
    github.publish("ada")

    _, errors = worker().communicate(timeout=60)

    assert errors == ""


# --- the trigger ---
@pytest.mark.parametrize(
    ("arguments", "trigger"),
    [
        ([], "manual"),
        (["--trigger", "schedule"], "schedule"),
        (["--trigger", "manual"], "manual"),
        (["--person", "ada"], "person"),
        (["--requested"], "requested"),
    ],
    ids=str,
)
def test_the_trigger_of_a_run_is_given(arguments: list[str], trigger: str, ada: Person, sync: Sync) -> None:
    assert sync(*arguments).code == 0

    assert SyncRun.objects.get().trigger == trigger


@pytest.mark.parametrize("option", [["--person", "ada"], ["--requested"]], ids=str)
def test_a_run_for_some_people_refuses_a_trigger(option: list[str], ada: Person, sync: Sync) -> None:
    with pytest.raises(CommandError, match="--trigger is for runs for all people") as error:
        sync(*option, "--trigger", "schedule")

    assert error.value.returncode == 2
    assert not SyncRun.objects.exists()


def test_an_unknown_trigger_is_refused(ada: Person, sync: Sync) -> None:
    with pytest.raises(CommandError, match="invalid choice: 'requested'"):
        sync("--trigger", "requested")
