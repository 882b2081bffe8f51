"""Logs: text or JSON, with context fields and without secrets."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import requests

from gisttracker.config import logs
from people.models import Person
from sync.poll import poll
from tests.conftest import GITHUB_TOKEN, PIPEDRIVE_TOKEN, ROOT, Servers, Sync, wait_until
from tests.factories import create_key, create_person
from tests.standins import GitHubStandIn, PipedriveStandIn, respond

Worker = Callable[..., subprocess.Popen[str]]
SECRET = 'quoted"and\\odd-secret'


@pytest.fixture
def registered_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """SECRET is registered; there are no global fields."""
    monkeypatch.setattr(logs, "_secrets", set())
    monkeypatch.setattr(logs, "_global_fields", {})
    logs.register_secrets([SECRET, ""])


def make_record(
    message: str, *arguments: object, error: BaseException | None = None, **extra: object
) -> logging.LogRecord:
    exc_info = (type(error), error, error.__traceback__) if error else None
    record = logging.getLogger("urllib3").makeRecord("urllib3", logging.INFO, "f", 1, message, arguments, exc_info)
    record.__dict__.update(extra)
    return record


def raise_error(message: str) -> Exception:
    """Return an exception that has a traceback."""
    try:
        raise ValueError(message)
    except ValueError as error:
        return error


@pytest.mark.parametrize("formatter", [logs.TextFormatter(), logs.JsonFormatter()], ids=["text", "json"])
def test_no_record_of_any_library_contains_a_secret(formatter: logging.Formatter, registered_secret: None) -> None:
    encoded = "quoted%22and%5Codd-secret"

    output = formatter.format(
        make_record(f"%s and {SECRET}", [SECRET, encoded], error=raise_error(f"failed with {SECRET}"), extra=SECRET)
    )

    assert "odd-secret" not in output
    assert "[secret]" in output
    assert "Traceback" in output


@pytest.mark.django_db
def test_no_record_contains_an_api_key(registered_secret: None) -> None:
    key = create_key()

    output = logs.TextFormatter().format(make_record("Authorization: Api-Key %s", key))

    assert output.endswith("Authorization: Api-Key [secret]")


def test_a_json_record_is_one_line_with_its_context(registered_secret: None) -> None:
    logs.bind_global(run=7)

    line = logs.JsonFormatter().format(make_record("Two\nlines", person="ada", gist="aa11"))

    fields = json.loads(line)
    assert "\n" not in line
    assert fields.pop("time")
    assert fields == {
        "level": "INFO",
        "logger": "urllib3",
        "message": "Two\nlines",
        "run": 7,
        "person": "ada",
        "gist": "aa11",
    }


def test_a_text_record_names_its_run(registered_secret: None) -> None:
    logs.bind_global(run=7)

    assert logs.TextFormatter().format(make_record("Hello")).endswith(" INFO urllib3 [run 7]: Hello")


@pytest.mark.slow("starts sync_gists as a process")
@pytest.mark.django_db(transaction=True)
def test_a_run_logs_its_person_and_gist_as_json(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, worker: Worker
) -> None:
    gist_id = github.publish("ada")
    pipedrive.fail("create_activity", respond(400, json.dumps({"error": f"bad {PIPEDRIVE_TOKEN}"})))

    _, errors = worker(LOG_FORMAT="json").communicate(timeout=30)

    (line,) = [json.loads(line) for line in errors.splitlines()]
    assert (line["person"], line["gist"], line["level"]) == ("ada", gist_id, "WARNING")
    assert line["run"] > 0
    assert PIPEDRIVE_TOKEN not in errors


@pytest.mark.slow("starts manage.py as a process")
@pytest.mark.django_db(transaction=True)
def test_an_uncaught_exception_is_logged_without_secrets(db: None) -> None:
    command = [sys.executable, str(ROOT / "manage.py"), "sync_status", "--database-host", "127.0.0.1"]
    command += [
        "--database-port",
        "9",
        "--database-password",
        "a-password-that-must-not-be-logged",
        "--log-format",
        "json",
    ]

    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "gisttracker.config.settings"}
    completed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert completed.returncode == 69  # not the exit code of an old status
    assert "Can't connect" in json.loads(completed.stderr.splitlines()[-1])["message"]
    assert "must-not-be-logged" not in completed.stderr


@pytest.mark.django_db(transaction=True)
def test_an_unexpected_error_of_one_person_does_not_affect_others(
    ada: Person, github: GitHubStandIn, sync: Sync, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise KeyError(GITHUB_TOKEN)

    github.add_account("ben")
    create_person("ben")
    github.publish("ada")
    monkeypatch.setattr(poll, "_names_only_this_account", lambda target, poll, page: fails() if page.gists else True)

    summary = sync()

    assert (summary.code, summary.counts["people_failed"]) == (0, 1)
    assert dict(Person.objects.values_list("github_username", "state")) == {"ada": "new", "ben": "active"}
    assert GITHUB_TOKEN not in Person.objects.get(github_username="ada").last_error
    assert "KeyError" in Person.objects.get(github_username="ada").last_error


@pytest.mark.slow("starts a web server")
@pytest.mark.django_db(transaction=True)
def test_all_lines_about_a_request_have_its_id(serve: Servers) -> None:
    server = serve.start(LOG_FORMAT="json")

    requests.get(f"{server.url}/api/v1/people?odd=1", headers={"X-Request-ID": "rid-88"}, timeout=10)
    requests.get(f"{server.url}/api/v1/people", headers={"Host": "evil.test"}, timeout=10)

    wait_until(lambda: "/api/v1/people HTTP" in server.log.read_text())  # The access log is written after the response.
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert [line["request"] for line in lines if line["logger"] == "django.request"] == ["rid-88"]
    assert [line["message"][-6:] for line in lines if "odd=1" in line["message"]] == ["rid-88"]
    assert "Traceback" not in str(lines)
