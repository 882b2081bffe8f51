"""NOTIFY_URL and PING_URL: what they get, and that they never block or fail a run, nor show a secret."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone
from pytest_django import Settings

from gisttracker.config.environment import read
from people.models import Person
from sync.clients import webhook
from sync.health.alarms import send_notifications, update_alarms
from sync.health.problems import Code, Health, HealthProblem
from sync.models import Alarm
from tests.conftest import ROOT, Sync, Worker
from tests.factories import create_person, let_time_pass
from tests.standins import GitHubStandIn, PipedriveStandIn, WebhookStandIn, reset, respond, respond_after, silence
from tests.standins.faults import Fault
from tests.with_mysql import free_port

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("judging")]
PROBLEM = HealthProblem(Code.POLLS_STALE, "8 people were not polled.", "See the log.")
SECRET_PATH = "/services/T000/verysecret"


def clock() -> Any:
    return timezone.now()


@pytest.fixture
def receiver() -> Iterator[WebhookStandIn]:
    with WebhookStandIn() as standin:
        yield standin


@pytest.fixture
def notified(receiver: WebhookStandIn, settings: Settings) -> WebhookStandIn:
    settings.NOTIFY_URL = receiver.url + SECRET_PATH
    return receiver


@pytest.fixture
def pinged(receiver: WebhookStandIn, settings: Settings, configured: Settings) -> WebhookStandIn:
    settings.PING_URL = f"{receiver.url}/ping/uuid"
    return receiver


@pytest.fixture(autouse=True)
def _short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "PAUSE", 0.01)


# --- NOTIFY_URL ---
def test_a_notification_has_text_for_chats_and_fields_for_programs(
    notified: WebhookStandIn, settings: Settings
) -> None:
    settings.ENVIRONMENT_NAME = "production"

    update_alarms(Health((PROBLEM,)), clock())
    send_notifications(clock)
    update_alarms(Health(), clock())
    send_notifications(clock)

    raised, resolved = [request.json for request in notified.requests]
    assert raised["text"] == "gisttracker (production): page: 8 people were not polled.\nSee the log."
    assert resolved["text"].startswith("gisttracker (production): resolved: polls_stale, which began at ")
    assert [body["status"] for body in (raised, resolved)] == ["raised", "resolved"]
    assert (raised["code"], raised["severity"], raised["environment"]) == ("polls_stale", "page", "production")
    assert notified.requests[0].path == SECRET_PATH


def test_a_problem_that_lasts_is_reported_once_and_its_message_is_kept_up_to_date(notified: WebhookStandIn) -> None:
    update_alarms(Health((PROBLEM,)), clock())
    send_notifications(clock)
    update_alarms(Health((HealthProblem(Code.POLLS_STALE, "9 people were not polled.", ""),)), clock())
    send_notifications(clock)

    assert len(notified.requests) == 1
    assert Alarm.objects.get().message == "9 people were not polled."


def ending(end: str, *, is_urgent: bool = False) -> Health:
    return Health((HealthProblem(Code.GITHUB_TOKEN_EXPIRES, f"It ends on {end}.", "", is_urgent=is_urgent),))


def test_a_ticket_that_becomes_a_page_is_sent_again_and_ends_once(notified: WebhookStandIn) -> None:
    for health in (ending("Friday"), ending("Friday"), ending("Friday", is_urgent=True)) * 2 + (Health(),) * 2:
        update_alarms(health, clock())
        send_notifications(clock)

    bodies = [request.json for request in notified.requests]
    sent = [(body["status"], body["severity"]) for body in bodies]
    ticket, page = ("raised", "ticket"), ("raised", "page")
    assert sent == [ticket, page, ticket, page, ("resolved", "page")]
    assert Alarm.objects.count() == 1


def test_a_notification_keeps_its_id_when_it_is_repeated_and_the_next_one_has_another(notified: WebhookStandIn) -> None:
    notified.fail("post", respond(500), times=3)
    update_alarms(ending("Friday"), clock())
    send_notifications(clock)  # in vain
    Alarm.objects.update(next_send_at=None)
    send_notifications(clock)
    update_alarms(ending("Friday", is_urgent=True), clock() + timedelta(days=12))
    send_notifications(clock)

    *tickets, page = [request.json["id"] for request in notified.requests]
    assert (len(tickets), len({*tickets}), page in tickets) == (4, 1, False)


def test_another_end_is_told(notified: WebhookStandIn) -> None:
    for end in ("Friday", "Friday", "Sunday"):
        update_alarms(ending(end), clock())
        send_notifications(clock)

    assert [request.json["message"] for request in notified.requests] == ["It ends on Friday.", "It ends on Sunday."]


def test_a_page_that_is_raised_while_its_ticket_is_sent_is_not_lost(notified: WebhookStandIn) -> None:
    update_alarms(ending("Friday"), clock())
    notified.fail("post", respond_after(lambda: update_alarms(ending("Friday", is_urgent=True), clock())))
    send_notifications(clock)

    send_notifications(clock)

    assert [request.json["severity"] for request in notified.requests] == ["ticket", "page"]


def test_the_end_of_a_page_that_was_not_sent_is_sent_since_its_ticket_was(notified: WebhookStandIn) -> None:
    update_alarms(ending("Friday"), clock())
    send_notifications(clock)
    update_alarms(ending("Friday", is_urgent=True), clock())
    update_alarms(Health(), clock())

    send_notifications(clock)

    assert [request.json["status"] for request in notified.requests] == ["raised", "resolved"]


@pytest.mark.parametrize(
    "fault", [reset(), respond(500), respond(429), reset(after=True)], ids=lambda fault: fault.name
)
def test_a_failure_that_passes_is_tried_again_at_once(fault: Fault, notified: WebhookStandIn) -> None:
    notified.fail("post", fault)
    update_alarms(Health((PROBLEM,)), clock())

    send_notifications(clock)

    assert len(notified.requests) == 2
    assert Alarm.objects.get().raise_sent_at is not None


@pytest.mark.parametrize(
    "fault",
    [
        reset(),
        respond(500),
        respond(404),
        respond(403, "invalid_token"),
        respond(302, "", {"location": "/x"}),
        silence(60),
    ],
    ids=lambda fault: fault.name,
)
def test_a_receiver_that_fails_neither_fails_a_run_nor_loses_a_notification(
    fault: Fault,
    notified: WebhookStandIn,
    sync: Sync,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhook, "MAX_SECONDS", 0.5)
    create_person("ada")
    github.add_account("ada")
    sync()
    notified.fail("post", fault, times=1000)
    github.fail_always("", respond(502))
    let_time_pass(timedelta(hours=6))
    sync()
    let_time_pass(timedelta(hours=1))

    broken = sync("--requested")
    notified.heal()
    let_time_pass(timedelta(minutes=3))
    notified.clear_requests()
    sync("--requested")

    assert "NOTIFY_URL did not accept the notification" in caplog.text
    assert broken.code == 0
    assert [request.json["code"] for request in notified.requests] == ["polls_stale"]
    assert notified.requests[0].json["message"].endswith("People: @ada")
    assert "verysecret" not in caplog.text + broken.errors + broken.output


def test_a_problem_that_another_one_explains_is_not_over(notified: WebhookStandIn) -> None:
    explains = HealthProblem(Code.NOT_RUNNING, "No run has begun.", "")
    update_alarms(Health((PROBLEM,)), clock())
    update_alarms(Health((explains,), frozenset([Code.POLLS_STALE])), clock())
    update_alarms(Health((PROBLEM,)), clock())
    send_notifications(clock)

    assert Alarm.objects.filter(resolved_at=None).get().code == "polls_stale"
    assert [request.json["code"] for request in notified.requests] == ["polls_stale"]


def test_a_receiver_that_is_too_slow_gets_the_end_of_an_alarm(
    notified: WebhookStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "MAX_SECONDS", 0.5)
    notified.fail("post", silence(60, after=True))
    update_alarms(Health((PROBLEM,)), clock())
    send_notifications(clock)
    tries = len(notified.requests)
    update_alarms(Health(), clock())
    let_time_pass(timedelta(minutes=3))
    send_notifications(clock)

    assert tries == 1  # It has probably processed it.
    assert [request.json["status"] for request in notified.requests] == ["raised", "resolved"]


def test_a_notification_that_is_refused_does_not_keep_back_others(notified: WebhookStandIn) -> None:
    notified.fail("post", respond(400))
    update_alarms(Health((PROBLEM, HealthProblem(Code.API_SUNSET, "Soon.", ""))), clock())

    send_notifications(clock)

    assert [request.json["code"] for request in notified.requests] == ["polls_stale", "api_sunset"]


def test_an_alarm_that_was_over_before_it_could_be_sent_is_not_sent(notified: WebhookStandIn) -> None:
    update_alarms(Health((PROBLEM,)), clock())
    update_alarms(Health(), clock())

    send_notifications(clock)

    assert notified.requests == []


@pytest.mark.slow("starts four processes")
def test_of_several_processes_one_sends(notified: WebhookStandIn, database_variables: dict[str, str]) -> None:
    update_alarms(Health((PROBLEM,)), clock())
    code = (
        "import django; django.setup()\n"
        "from django.utils import timezone; from sync.health.alarms import send_notifications\n"
        "send_notifications(timezone.now)"
    )
    variables = {**database_variables, "NOTIFY_URL": notified.url + SECRET_PATH}

    processes = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=variables) for _ in range(4)]

    assert [process.wait(timeout=60) for process in processes] == [0] * 4
    assert len(notified.requests) == 1


def test_a_sender_that_died_leaves_the_notification_to_the_next_one(notified: WebhookStandIn) -> None:
    update_alarms(Health((PROBLEM,)), clock())
    Alarm.objects.update(next_send_at=timezone.now() + timedelta(minutes=2))
    send_notifications(clock)
    before = len(notified.requests)
    let_time_pass(timedelta(minutes=3))

    send_notifications(clock)

    assert (before, len(notified.requests)) == (0, 1)


def test_sync_status_notifies_when_no_run_does(notified: WebhookStandIn) -> None:
    person = create_person("ada", state="active")
    Person.objects.filter(pk=person.pk).update(created_at=timezone.now() - timedelta(hours=7))

    with pytest.raises(SystemExit):
        call_command("sync_status", "--notify")
    with pytest.raises(SystemExit):
        call_command("sync_status", "--notify")

    assert [request.json["code"] for request in notified.requests] == ["not_running"]


# --- PING_URL ---
def paths(receiver: WebhookStandIn) -> list[str]:
    return [request.path for request in receiver.requests]


def test_a_run_reports_its_beginning_and_its_end(pinged: WebhookStandIn, sync: Sync) -> None:
    sync()

    assert paths(pinged) == ["/ping/uuid/start", "/ping/uuid"]
    assert len({request.query["rid"] for request in pinged.requests}) == 1


def test_a_failed_run_reports_the_end_of_its_log_without_secrets(
    pinged: WebhookStandIn, sync: Sync, github: GitHubStandIn
) -> None:
    create_person("ada")
    github.fail_always("", respond(502, "<html>"))

    assert sync().code == 3

    assert paths(pinged) == ["/ping/uuid/start", "/ping/uuid/fail"]
    text = pinged.requests[1].body.decode()
    assert "returned 502" in text
    assert text.endswith("exit code 3")


@pytest.mark.slow("starts sync_gists as a process")
def test_a_run_that_is_stopped_and_started_again_is_no_failure(
    pinged: WebhookStandIn, worker: Worker, ada: Person
) -> None:
    process = worker(
        PING_URL=f"{pinged.url}/ping/uuid", DATABASE_HOST="127.0.0.1", DATABASE_PORT=str(free_port())
    )  # It waits for the database.
    assert process.stderr
    process.stderr.readline()
    process.terminate()

    process.communicate(timeout=60)

    assert (process.returncode, paths(pinged)) == (75, ["/ping/uuid/start", "/ping/uuid/log"])


@pytest.mark.parametrize("arguments", [["--requested"], ["--person", "ada"], ["--dry-run"]])
def test_only_runs_for_all_people_are_reported(
    arguments: list[str], pinged: WebhookStandIn, sync: Sync, ada: Person
) -> None:
    sync(*arguments)

    assert pinged.requests == []


@pytest.mark.slow("starts sync_gists as a process")
@pytest.mark.parametrize(
    ("variables", "code", "words"),
    [
        ({"PIPEDRIVE_TOKEN": ""}, 78, "PIPEDRIVE_TOKEN is not set"),
        ({"DATABASE_HOST": "", "SQLITE_PATH": "/nonexistent/x.sqlite3"}, 69, "OperationalError"),
    ],
)
def test_a_run_that_cannot_begin_is_a_failure(
    variables: dict[str, str], code: int, words: str, pinged: WebhookStandIn, worker: Worker
) -> None:
    process = worker(PING_URL=f"{pinged.url}/ping/uuid", **variables)
    _, errors = process.communicate(timeout=120)

    assert process.returncode == code, errors
    assert paths(pinged) == ["/ping/uuid/start", "/ping/uuid/fail"]
    assert words in pinged.requests[1].body.decode()


@pytest.mark.parametrize("fault", [reset(), respond(500), silence(60)], ids=lambda fault: fault.name)
def test_a_health_check_service_that_fails_does_not_fail_a_run(
    fault: Fault,
    pinged: WebhookStandIn,
    sync: Sync,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhook, "MAX_SECONDS", 0.5)
    pinged.fail("post", fault, times=1000)

    assert sync().code == 0

    assert "PING_URL did not accept the report" in caplog.text
    assert "uuid" not in caplog.text


def test_a_query_of_the_url_is_kept(pinged: WebhookStandIn, sync: Sync, settings: Settings) -> None:
    settings.PING_URL += "?create=1"

    sync()

    assert [request.query["create"] for request in pinged.requests] == ["1", "1"]


# --- both ---
def test_a_host_that_does_not_exist_is_named_without_the_secret() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    error = webhook.post(f"http://127.0.0.1:{port}{SECRET_PATH}", json={})

    assert error == f"127.0.0.1:{port} refused the connection"


@pytest.mark.parametrize("name", ["PING_URL", "NOTIFY_URL"])
@pytest.mark.parametrize(
    "value", ["hooks.example.com/x", "ftp://x/y", "https://u:p@x/y", "https://x/y z", "https:///verysecret"]
)
def test_an_invalid_url_is_refused_without_showing_it(
    name: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        read(Path("no .env file"), {name: value})

    errors = capsys.readouterr().err
    assert stopped.value.code == 78
    assert (name in errors, value in errors, len(errors.splitlines())) == (True, False, 1)


def test_the_bodies_are_json(notified: WebhookStandIn) -> None:
    update_alarms(Health((PROBLEM,)), clock())
    send_notifications(clock)

    assert notified.requests[0].headers["content-type"] == "application/json"
    assert json.loads(notified.requests[0].body)
