"""What tests share: the stand-ins, a worker that syncs against them, people to track."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection
from pytest_django import Settings
from rest_framework.test import APIClient

from people.models import Person
from sync.clients.transport import Timing
from sync.management.commands.sync_gists import Command
from tests.standins import GitHubStandIn, PipedriveStandIn
from tests.with_mysql import free_port

GITHUB_TOKEN = "gh-token-3f9c"
PIPEDRIVE_TOKEN = "pd-token-81ad"
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """SQLite's test database is a file, so that other processes and threads share it."""
    if connection.vendor == "sqlite":
        connection.settings_dict["TEST"]["NAME"] = str(tmp_path_factory.mktemp("database") / "test.sqlite3")


@pytest.fixture
def github() -> Iterator[GitHubStandIn]:
    with GitHubStandIn(tokens=(GITHUB_TOKEN,)) as standin:
        yield standin


@pytest.fixture
def pipedrive() -> Iterator[PipedriveStandIn]:
    with PipedriveStandIn(tokens=(PIPEDRIVE_TOKEN,)) as standin:
        yield standin


@pytest.fixture(autouse=True)
def _forget_counts() -> None:
    """What one test counted is not another's."""
    cache.clear()


@pytest.fixture
def api() -> APIClient:
    return APIClient()


@dataclass
class Summary:
    """What a run of sync_gists printed, and how it ended."""

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


Sync = Callable[..., Summary]


@pytest.fixture
def configured(github: GitHubStandIn, pipedrive: PipedriveStandIn, settings: Settings) -> Settings:
    """Settings that lead to the stand-ins, without a pace and without waiting for cut-off pushes."""
    settings.GITHUB_API_URL, settings.GITHUB_TOKEN = github.url, GITHUB_TOKEN
    settings.PIPEDRIVE_API_URL, settings.PIPEDRIVE_TOKEN = pipedrive.url, PIPEDRIVE_TOKEN
    settings.GITHUB_REQUESTS_PER_MINUTE = 0
    settings.PUSH_RECONCILE_AFTER_SECONDS = 0
    return settings


@pytest.fixture
def sync(configured: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Sync:
    """Run `sync_gists --json` in this process, with short retries."""
    monkeypatch.setattr(Command, "timing", Timing(retry=0.001))

    def run(*arguments: str) -> Summary:
        capsys.readouterr()
        code = 0
        try:
            call_command("sync_gists", "--json", *arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return Summary(code, printed.out, printed.err)

    return run


@pytest.fixture
def database_variables(transactional_db: None) -> dict[str, str]:
    """The environment that leads another process to the test database."""
    database = connection.settings_dict
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "gisttracker.settings",
        "PYTHONWARNINGS": "ignore",
        "SQLITE_PATH": str(database["NAME"]),
        "DATABASE_NAME": str(database["NAME"]) if connection.vendor == "mysql" else "",
    }


@pytest.fixture
def serve(database_variables: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Start the web service as in production, with these settings. Returns its URL."""
    started = []

    def start(**variables: str) -> str:
        port = str(free_port())
        environment = {
            **database_variables,
            "SECRET_KEY": secrets.token_urlsafe(50),
            "REQUIRE_HTTPS": "false",
            "API_AUTH": "",
        }
        with (tmp_path / "server.log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-c", "python:gisttracker.gunicorn", "gisttracker.wsgi"],
                cwd=ROOT,
                env={**environment, "LISTEN_PORT": port, **variables},
                stdout=log,
                stderr=log,
            )
        started.append(process)
        wait_until(lambda: is_ready(f"http://127.0.0.1:{port}/readyz"))
        return f"http://127.0.0.1:{port}"

    yield start
    for process in started:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def worker(configured: Settings, database_variables: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `manage.py sync_gists` as a process of its own, on the test database."""
    started = []
    environment = {
        **database_variables,
        "GITHUB_API_URL": configured.GITHUB_API_URL,
        "GITHUB_TOKEN": GITHUB_TOKEN,
        "PIPEDRIVE_API_URL": configured.PIPEDRIVE_API_URL,
        "PIPEDRIVE_TOKEN": PIPEDRIVE_TOKEN,
        "GITHUB_REQUESTS_PER_MINUTE": "0",
        "PUSH_RECONCILE_AFTER_SECONDS": "0",
        "SYNC_LEASE_SECONDS": "5",
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
def ada(db: None, github: GitHubStandIn) -> Person:
    """Tracked; has an account, but no gists yet."""
    github.add_account("ada", name="Ada Lovelace", email="ada@example.com")
    return Person.objects.create(github_username="ada")


def is_ready(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def wait_until(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not happens():
        assert time.monotonic() < deadline, "it did not happen within 30 s"
        time.sleep(0.01)
