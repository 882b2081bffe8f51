"""`manage.py doctor`: for each thing that operators get wrong, a line with what to do."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests_mock
from django.core.management import call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from sync.clients.github import GitHubClient
from sync.clients.transport import Timing
from sync.health.alarms import build_notification
from sync.models import Alarm, GitHubIdField
from tests.conftest import GITHUB_TOKEN, PIPEDRIVE_TOKEN, fail_statements, manage
from tests.factories import publish_now
from tests.standins import GitHubStandIn, PipedriveStandIn, WebhookStandIn, refuse, respond, silence
from tests.standins.wire import StandIn

SECRET = "T000verysecret"
PAGE = "<!DOCTYPE html><html>Sign in</html>"


@dataclass
class World:
    """Two APIs, a receiver and settings that are all right."""

    github: GitHubStandIn
    pipedrive: PipedriveStandIn
    receiver: WebhookStandIn
    settings: Settings


@dataclass
class Result:
    code: int
    lines: list[str]
    output: str

    def of(self, subject: str) -> list[str]:
        return [line for line in self.lines if f": {subject}: " in line]

    @property
    def trouble(self) -> list[str]:
        return [line for line in self.lines if not line.startswith(("ok: ", "not checked: "))]


Doctor = Callable[..., Result]


@pytest.fixture
def world(github: GitHubStandIn, pipedrive: PipedriveStandIn, configured: Settings) -> Iterator[World]:
    configured.GITHUB_STREAM = True
    github.add_account("ada")
    for seconds in (60, 40, 20):
        publish_now(github, "ada", ago=timedelta(seconds=seconds))
    with WebhookStandIn() as receiver:
        yield World(github, pipedrive, receiver, configured)


@pytest.fixture
def doctor(db: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Doctor:
    for module in ("github", "pipedrive"):
        monkeypatch.setattr(f"sync.doctor.{module}.TIMING", Timing(retry=0.001))

    def run(*arguments: str) -> Result:
        code = 0
        try:
            call_command("doctor", *arguments)
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        output, errors = capsys.readouterr()
        assert errors == ""
        return Result(code, output.splitlines()[:-1], output)

    return run


# --- all right ---
def test_all_is_right(world: World, doctor: Doctor) -> None:
    result = doctor()

    assert (result.code, result.trouble) == (0, [])
    assert result.output.endswith("\nproblems: 0, warnings: 0\n")
    assert [line.split(": ")[1] for line in result.lines] == [
        "database",
        *["GitHub"] * 4,
        "GitHub stream",
        *["Pipedrive", "Pipedrive", "Pipedrive permission", "Pipedrive activity type", "Pipedrive field"],
        *["NOTIFY_URL", "PING_URL"],
    ]


def test_it_shows_whose_tokens_these_are_and_what_is_left(world: World, doctor: Doctor) -> None:
    world.settings.GITHUB_TOKEN = "github_pat_1234"
    world.github.tokens.add("github_pat_1234")

    lines = "\n".join(doctor().lines)

    assert "GITHUB_TOKEN is a fine-grained token of operator" in lines
    assert "5,000 of 5,000 requests are left until 20" in lines
    assert f"GITHUB_TOKEN is valid until {timezone.now() + timedelta(days=90):%Y-%m}" in lines
    assert "10,499,998 of 10,500,000 tokens of today are left" in lines
    assert "PIPEDRIVE_TOKEN is Olga Operator's, of the company Acme" in lines
    assert "GitHub stream: 3 gists in the last ten minutes, the newest 2" in lines


def test_as_json_it_is_one_object(world: World, doctor: Doctor) -> None:
    world.settings.PIPEDRIVE_TOKEN = ""

    content = json.loads(doctor("--json").output)

    assert content["exit_code"] == 78
    (problem,) = [finding for finding in content["findings"] if finding["level"] == "problem"]
    assert (problem["subject"], problem["text"]) == ("Pipedrive", "PIPEDRIVE_TOKEN is not set")
    assert problem["action"].startswith("Set PIPEDRIVE_TOKEN to the token of a user")


@pytest.mark.both
def test_it_writes_nothing_and_sends_nothing(world: World, doctor: Doctor) -> None:
    world.settings.NOTIFY_URL = world.settings.PING_URL = f"{world.receiver.url}/{SECRET}"

    with CaptureQueriesContext(
        connection,
    ) as captured:
        doctor()

    statements = {query["sql"].split()[0] for query in captured.captured_queries}
    assert statements <= {"SELECT", "SHOW", "PRAGMA"}
    assert {request.method for request in [*world.github.requests, *world.pipedrive.requests]} == {"GET"}
    assert world.receiver.requests == []


# --- what is wrong ---
def with_other_github(world: World) -> None:
    """A GitHub Enterprise Server, without the path of its API."""
    world.github.prefix = "/api/v3"


def with_app_token(world: World) -> None:
    world.settings.GITHUB_TOKEN = "ghs_1234"
    world.github.app_tokens.add("ghs_1234")


def with_entries(*minutes_ago: int) -> Callable[[World], None]:
    """The stream has gists that were published and updated so many minutes ago, in this order."""

    def arrange(world: World) -> None:
        moments = [f"{timezone.now() - timedelta(minutes=ago):%Y-%m-%dT%H:%M:%SZ}" for ago in minutes_ago]
        rows = [{"id": f"a{i}", "created_at": moment, "updated_at": moment} for i, moment in enumerate(moments)]
        world.github.fail_always("/gists/public", respond(200, json.dumps(rows)))

    return arrange


def with_settings(**values: Any) -> Callable[[World], None]:
    def arrange(world: World) -> None:
        for name, value in values.items():
            setattr(world.settings, name, value)

    return arrange


def with_field(name: str, kind: str, *, wanted: str = "") -> Callable[[World], None]:
    def arrange(world: World) -> None:
        world.pipedrive.fields["abc"], world.pipedrive.field_types["abc"] = name, kind
        world.settings.PIPEDRIVE_GITHUB_FIELD = wanted

    return arrange


def with_attributes(standin: str, **values: Any) -> Callable[[World], None]:
    def arrange(world: World) -> None:
        for name, value in values.items():
            setattr(getattr(world, standin), name, value)

    return arrange


def at_github(url: str, fault: Any) -> Callable[[World], None]:
    return lambda world: world.github.fail_always(url, fault)


def at_pipedrive(url: str, fault: Any) -> Callable[[World], None]:
    return lambda world: world.pipedrive.fail_always(url, fault)


NEW = "https://github.com/settings/tokens"
UNAUTHORIZED = respond(401, '{"success": false, "error": "unauthorized access"}')
FORBIDDEN = respond(403, '{"success": false, "error": "Forbidden"}')
NO_PEOPLE = {"can_add_people": False}
NO_FIELDS = {"can_add_custom_fields": False}
VARIANTS: dict[str, tuple[Callable[[World], None], int, str, str, str]] = {
    # --- GitHub ---
    "a wrong or revoked token": (
        with_settings(GITHUB_TOKEN="ghp_wrong"), 78, "problem: GitHub", "GITHUB_TOKEN was refused", NEW,
    ),
    "no token": (with_settings(GITHUB_TOKEN=""), 0, "warning: GitHub", "60 requests an hour", NEW),
    "the token of an app": (with_app_token, 0, "warning: GitHub", "not one of a user", "ends within an hour"),
    "a token that may do too much": (
        with_attributes("github", announcements={"x-oauth-scopes": "repo, gist"}),
        0, "warning: GitHub", "has scopes that are not needed (repo, gist)", "without scopes",
    ),
    "a token that ends soon": (
        with_attributes("github", token_end=f"{timezone.now() + timedelta(days=13):%Y-%m-%d %H:%M:%S} UTC"),
        0, "warning: GitHub", "GITHUB_TOKEN is valid until 20", "Create a token without scopes",
    ),
    "GitHub's website": (
        with_settings(GITHUB_API_URL="https://github.com"),
        78, "problem: GitHub", "GitHub's website", "Set it to https://api.github.com",
    ),
    "an Enterprise Server without its path": (
        with_other_github, 78, "problem: GitHub", "returned 404", "https://HOST/api/v3",
    ),
    "a page of another software": (
        at_github("", respond(200, PAGE)), 78, "problem: GitHub", "an invalid body", "Check GITHUB_API_URL",
    ),
    "no connection to GitHub": (
        at_github("", refuse()), 3, "problem: GitHub", "refused the connection", "the network and HTTPS_PROXY",
    ),
    "a token over plain HTTP": (
        with_settings(GITHUB_API_URL="http://github.example"),
        78, "problem: GitHub", "GITHUB_TOKEN would be sent unencrypted", "Use https",
    ),
    "a limit that is nearly used up": (
        with_attributes("github", used={True: 4600, False: 0}),
        0, "warning: GitHub", "400 of 5,000 requests are left until 20", "which other software uses the limit",
    ),
    "an API version that GitHub does not know": (
        with_attributes("github", versions=()), 78, "problem: GitHub", "does not support our API version", "Upgrade",
    ),
    "an API version that ends soon": (
        with_attributes("github", announcements={"sunset": "Fri, 10 Mar 2028 00:00:00 GMT"}),
        0, "warning: GitHub", "stops working on Fri, 10 Mar 2028", "Upgrade gisttracker",
    ),
    "a GitHub that shows no accounts": (
        at_github("/users/ghost", respond(404, '{"message": "Not Found"}')),
        3, "problem: GitHub", "does not show /users/ghost", "Check GITHUB_API_URL",
    ),
    # --- the stream ---
    "a GitHub without stream": (
        at_github("/gists/public", respond(404, '{"message": "Not Found"}')),
        0, "warning: GitHub stream", "does not offer its stream", "set GITHUB_STREAM=false",
    ),
    "a stream that fails": (
        at_github("/gists/public", respond(502)), 0, "warning: GitHub stream", "502", "set GITHUB_STREAM=false",
    ),
    "an empty stream": (with_entries(), 0, "warning: GitHub stream", "no gist of the last ten minutes", "set GITHUB"),
    "a stream that ignores since": (
        with_entries(1, 2, 30, 60), 0, "warning: GitHub stream", "2 of 4 gists are older", "set GITHUB_STREAM=false",
    ),
    "a shuffled stream": (
        with_entries(3, 1, 2), 0, "warning: GitHub stream", "not in the documented order", "set GITHUB_STREAM=false",
    ),
    # --- Pipedrive ---
    "no Pipedrive token": (
        with_settings(PIPEDRIVE_TOKEN=""), 78, "problem: Pipedrive", "is not set", "Personal preferences > API",
    ),
    "a wrong Pipedrive token": (
        with_settings(PIPEDRIVE_TOKEN="wrong"),
        78, "problem: Pipedrive", "PIPEDRIVE_TOKEN was refused", "Personal preferences > API",
    ),
    "an account that is not paid": (
        at_pipedrive("", respond(402, '{"success": false, "error": "payment"}')),
        78, "problem: Pipedrive", "returned 402", "is it paid?",
    ),
    "Pipedrive's web pages": (
        at_pipedrive("", respond(200, PAGE, {"content-type": "text/html"})),
        78, "problem: Pipedrive", "this is not Pipedrive's own response", "https://YOURCOMPANY.pipedrive.com",
    ),
    "a login page": (
        at_pipedrive("", respond(302, "", {"location": "https://app.pipedrive.com/auth/login"})),
        78, "problem: Pipedrive", "this is not Pipedrive's own response", "https://YOURCOMPANY.pipedrive.com",
    ),
    "a Pipedrive token over plain HTTP": (
        with_settings(PIPEDRIVE_API_URL="http://acme.example"),
        78, "problem: Pipedrive", "PIPEDRIVE_TOKEN would be sent unencrypted", "Use https",
    ),
    "a block by Cloudflare": (
        at_pipedrive("users/me", respond(403, PAGE)), 3, "problem: Pipedrive", "rate limit resets at", "Repeat this",
    ),
    "no connection to Pipedrive": (
        at_pipedrive("", refuse()), 3, "problem: Pipedrive", "refused the connection", "Check PIPEDRIVE_API_URL",
    ),
    "few daily tokens": (
        with_attributes("pipedrive", daily_tokens=30_000, spent=29_000),
        0, "warning: Pipedrive", "998 of 30,000 tokens of today are left", "which other software uses the tokens",
    ),
    "no daily tokens": (
        with_attributes("pipedrive", daily_tokens=30_000, spent=30_000),
        3, "problem: Pipedrive", "rate limit resets at", "Repeat this command then",
    ),
    "an activity type that does not exist": (
        with_settings(PIPEDRIVE_ACTIVITY_TYPE="Gist"),
        78, "problem: Pipedrive activity type", "is 'Gist', which does not exist", "one of: call, meeting, task",
    ),
    "an activity type that is not active": (
        with_settings(PIPEDRIVE_ACTIVITY_TYPE="lunch"),
        78, "problem: Pipedrive activity type", "'lunch', which does not exist at Pipedrive or is not active", "one of",
    ),
    "activity types that the user may not see": (
        at_pipedrive("activityTypes", FORBIDDEN), 78, "problem: Pipedrive activity type", "403", "the permissions of",
    ),
    "a user who may not add persons": (
        with_attributes("pipedrive", permissions=NO_PEOPLE),
        78, "problem: Pipedrive permission", "may not add persons", "Let an administrator allow it",
    ),
    "a user who may not add the field": (
        with_attributes("pipedrive", permissions=NO_FIELDS),
        0, "warning: Pipedrive field", "may not add the field 'GitHub ID'", "Let an administrator create a text field",
    ),
    "a field that does not exist": (
        with_settings(PIPEDRIVE_GITHUB_FIELD="GitHub"),
        78, "problem: Pipedrive field", "PIPEDRIVE_GITHUB_FIELD is 'GitHub'", "Create it there, name another one",
    ),
    "a field of another type": (
        with_field("GitHub", "double", wanted="GitHub"),
        78, "problem: Pipedrive field", "'GitHub' of persons has the type double", "Create a text field",
    ),
    "a field of that name and another type": (
        with_field("GitHub ID", "enum"),
        78, "problem: Pipedrive field", "'GitHub ID' of persons has the type enum", "set PIPEDRIVE_GITHUB_FIELD",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_wrong_is_one_line_with_what_to_do(name: str, world: World, doctor: Doctor) -> None:
    arrange, code, beginning, what, to_do = VARIANTS[name]
    arrange(world)

    result = doctor()

    lines = [line for line in result.trouble if line.startswith(f"{beginning}: ")]
    assert (result.code, len(lines)) == (code, 1), result.output
    assert what in lines[0]
    assert to_do in lines[0]
    assert result.trouble == lines


def test_a_limit_that_is_used_up_is_shown_with_its_end(world: World, doctor: Doctor) -> None:
    world.github.used = {True: 5000, False: 0}

    result = doctor()

    assert result.code == 3
    assert "0 of 5,000 requests are left until 20" in result.trouble[0]
    assert "rate limit resets at 20" in result.trouble[1]
    assert result.trouble[1].endswith("Repeat this command then")
    assert result.of("GitHub stream") == ["not checked: GitHub stream: it needs GitHub"]


@pytest.mark.parametrize(
    ("host", "beginning", "to_do"),
    [
        ("acme", "", ""),
        ("api", "ok: Pipedrive: api.pipedrive.com works", "Set PIPEDRIVE_API_URL to https://acme.pipedrive.com"),
        ("other", "warning: Pipedrive: other.pipedrive.com is not", "Set PIPEDRIVE_API_URL to https://acme.pipedrive"),
    ],
)
def test_the_address_of_the_company_is_compared(
    host: str, beginning: str, to_do: str, world: World, doctor: Doctor
) -> None:
    world.settings.PIPEDRIVE_API_URL = f"https://{host}.pipedrive.com"
    user = {"id": 1, "name": "Olga", "company_name": "Acme", "company_domain": "acme"}
    with requests_mock.Mocker(real_http=True) as http:
        http.get(f"https://{host}.pipedrive.com/api/v1/users/me", json={"success": True, "data": user})
        lines = doctor().of("Pipedrive")

    assert [(line.startswith(beginning), to_do in line) for line in lines[1:]] == [(True, True)][: bool(to_do)]


@pytest.mark.parametrize("are_hidden", [False, True])
def test_what_cannot_be_known_without_writing_is_said(are_hidden: bool, world: World, doctor: Doctor) -> None:
    world.pipedrive.permissions = {}
    if are_hidden:
        world.pipedrive.fail_always("permissions", FORBIDDEN)

    (line,) = doctor().of("Pipedrive permission")

    assert line == (
        "ok: Pipedrive permission: Pipedrive does not say whether the user may add persons; "
        "whether it may add activities shows only when the first one is created"
    )


@pytest.mark.parametrize(
    ("key", "fields", "wanted", "line"),
    [
        ("", {"abc": "GitHub ID"}, "", "ok: Pipedrive field: 'GitHub ID' is a text field of persons"),
        ("abc", {"abc": "Renamed"}, "", "ok: Pipedrive field: 'GitHub ID' is a text field of persons"),
        ("", {}, "none", "ok: Pipedrive field: PIPEDRIVE_GITHUB_FIELD is none"),
        ("abc", {}, "", "warning: Pipedrive field: people are found by e-mail and name only: The field was deleted"),
        ("", {}, "", "ok: Pipedrive field: the first run creates the field 'GitHub ID' of persons"),
    ],
)
def test_the_field_is_found_as_runs_find_it(
    key: str, fields: dict[str, str], wanted: str, line: str, world: World, doctor: Doctor
) -> None:
    GitHubIdField.objects.create(pk=1, key=key)
    world.pipedrive.fields, world.settings.PIPEDRIVE_GITHUB_FIELD = fields, wanted

    (found,) = doctor().of("Pipedrive field")

    assert found.startswith(line)


def test_why_runs_have_no_field_is_shown(world: World, doctor: Doctor) -> None:
    GitHubIdField.objects.create(pk=1, problem="Pipedrive allows no further field.", checked_at=timezone.now())

    (found,) = doctor().of("Pipedrive field")

    assert found.endswith("people are found by e-mail and name only: Pipedrive allows no further field")


def test_a_token_without_end_is_all_right(world: World, doctor: Doctor) -> None:
    world.github.token_end = ""

    assert "ok: GitHub: GitHub names no end of GITHUB_TOKEN" in doctor().lines


def test_a_quiet_enterprise_server_is_all_right(world: World, doctor: Doctor) -> None:
    world.github.prefix = "/api/v3"
    world.settings.GITHUB_API_URL = f"{world.github.url}/api/v3"
    with_entries()(world)

    assert doctor().of("GitHub stream") == ["ok: GitHub stream: 0 gists in the last ten minutes"]


def test_a_stream_that_is_switched_off_is_not_read(world: World, doctor: Doctor) -> None:
    world.settings.GITHUB_STREAM = False

    assert doctor().of("GitHub stream") == ["ok: GitHub stream: GITHUB_STREAM is false: gists are found by polls only"]
    assert world.github.requests_to("stream") == []


def test_a_server_without_rate_limit_is_all_right(world: World, doctor: Doctor) -> None:
    world.github.prefix = "/api/v3"
    world.settings.GITHUB_API_URL = f"{world.github.url}/api/v3"
    world.github.fail_always("/rate_limit", respond(404, '{"message": "Rate limiting is not enabled."}'))

    result = doctor()

    assert (result.code, result.trouble) == (0, [])
    assert result.of("GitHub")[0] == "ok: GitHub: it has no rate limit"


# --- the database ---
@pytest.mark.both
@pytest.mark.django_db
def test_a_migration_that_is_missing_is_a_problem(world: World, doctor: Doctor) -> None:
    MigrationRecorder.Migration.objects.filter(app="sync").delete()

    result = doctor()

    line = "problem: database: 1 migration is not applied. Run `manage.py migrate`"
    assert (result.code, result.trouble) == (69, [line])


@pytest.mark.both
def test_the_product_and_its_version_are_shown(world: World, doctor: Doctor) -> None:
    (line,) = doctor().of("database")

    assert line.startswith(("ok: database: SQLite 3.", "ok: database: MariaDB 1", "ok: database: MySQL "))
    assert line.endswith("and all migrations are applied")


def test_a_clock_that_differs_is_shown(world: World, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    behind = timezone.now() - timedelta(hours=1)
    monkeypatch.setattr("sync.doctor.database.database_clock", lambda: lambda: behind)

    result = doctor()

    line = "warning: database: its clock is 1 h 0 min behind this machine's. Let NTP set the clocks of both machines"
    assert (result.code, result.trouble) == (0, [line])


def test_a_database_that_is_down_leaves_the_other_checks(world: World, doctor: Doctor) -> None:
    with pytest.MonkeyPatch.context() as broken:
        fail_statements(broken, 2002)
        result = doctor()

    assert result.code == 69
    assert result.trouble == [
        "problem: database: The database cannot be used: the server is not reachable (at db.internal). "
        "Check that it runs, DATABASE_HOST, DATABASE_PORT and the network"
    ]
    assert len(result.of("Pipedrive field")) == 1


# --- NOTIFY_URL and PING_URL ---
@pytest.mark.parametrize(
    ("fault", "code", "level", "what", "to_do"),
    [
        (None, 0, "ok", "returned 200: ok", ""),
        (respond(400, "invalid_payload"), 78, "problem", "returned 400: invalid_payload", "what its receiver accepts"),
        (respond(404, f"no {SECRET}"), 78, "problem", "returned 404: no [secret]", "Check the URL"),
        (respond(302, "", {"location": "/x"}), 78, "problem", "returned 302", "redirects are not followed"),
        (respond(503, "busy"), 3, "problem", "returned 503: busy", "Check the URL"),
        (respond(200, PAGE), 0, "warning", "returned 200: <!DOCTYPE html>", "This is a web page"),
        (respond(200, "OK (not found)"), 0, "warning", "returned 200: OK (not found)", "copy it again"),
        (silence(60), 3, "problem", "did not respond in time", "the network and HTTPS_PROXY"),
        (refuse(), 3, "problem", "refused the connection", "the network and HTTPS_PROXY"),
    ],
    ids=["accepted", "400", "404", "302", "503", "web page", "unknown", "hangs", "no connection"],
)
@pytest.mark.parametrize("name", ["NOTIFY_URL", "PING_URL"])
def test_the_answer_of_a_receiver_is_shown(
    name: str, fault: Any, code: int, level: str, what: str, to_do: str, world: World, doctor: Doctor
) -> None:
    setattr(world.settings, name, f"{world.receiver.url}/services/{SECRET}?token={SECRET}2")
    if fault:
        world.receiver.fail_always("", fault)

    result = doctor("--notify")

    (found,) = result.of(name)
    assert result.code == code
    assert found.startswith(f"{level}: {name}: ")
    assert what in found
    assert to_do in found
    assert SECRET not in result.output


def test_a_test_has_the_fields_of_a_notification(world: World, doctor: Doctor) -> None:
    world.settings.NOTIFY_URL, world.settings.ENVIRONMENT_NAME = world.receiver.url, "production"
    alarm = Alarm.objects.create(code="polls_stale", severity="page", message="x", raised_at=timezone.now())

    doctor("--notify")

    (request,) = world.receiver.requests
    assert request.json.keys() == build_notification(alarm, timezone.now()).keys()
    assert request.json["text"] == "gisttracker (production): This is a test by `manage.py doctor`. Nothing is wrong."


def test_a_test_of_the_ping_changes_nothing_in_what_is_known_of_the_runs(world: World, doctor: Doctor) -> None:
    world.settings.PING_URL = f"{world.receiver.url}/ping/uuid?create=1"

    doctor("--notify")

    (request,) = world.receiver.requests
    assert (request.path, request.query["create"]) == ("/ping/uuid/log", "1")


@pytest.mark.parametrize("name", ["NOTIFY_URL", "PING_URL"])
def test_whether_a_url_is_set_is_shown(name: str, world: World, doctor: Doctor) -> None:
    unset = doctor().of(name)
    setattr(world.settings, name, f"{world.receiver.url}/{SECRET}")

    assert unset == [f"ok: {name}: it is not set. docs/operations.md describes the notifications"]
    assert doctor().of(name) == [f"ok: {name}: it is set. `manage.py doctor --notify` sends a test"]


# --- containment ---
def test_a_defect_in_a_check_leaves_the_others(world: World, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GitHubClient, "get_rate_limit", lambda _: 1 / 0)

    result = doctor()

    line = "problem: GitHub: the check ended with ZeroDivisionError: division by zero. Please report this defect"
    assert (result.code, result.trouble) == (3, [line])
    assert len(result.of("Pipedrive field")) == 1


@pytest.mark.parametrize("name", ["github", "pipedrive"])
def test_a_host_that_hangs_is_given_up(
    name: str, world: World, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    standin: StandIn = getattr(world, name)
    standin.over_sockets = True
    standin.fail_always("", silence(60))
    monkeypatch.setattr("sync.doctor.findings.MAX_SECONDS", 0.2)
    monkeypatch.setattr("sync.clients.session.STOP_GRACE_SECONDS", 0.1)

    result = doctor()

    assert result.code == 3
    assert [line.split(". ")[0].split(": ")[2] for line in result.trouble] == [
        "there was no complete answer within 0.2 s"
    ]
    assert f"Check {name.upper()}_API_URL" in result.trouble[0]


@pytest.mark.parametrize("reset", [0, 2**32, 2**40, 253402300800, -1, "soon", None, 1e300])
def test_an_odd_reset_of_the_limit_is_no_defect(reset: object, world: World, doctor: Doctor) -> None:
    core = {"limit": 5000, "remaining": 4999, "reset": reset}
    world.github.fail_always("rate_limit", respond(200, json.dumps({"resources": {"core": core}})))

    assert "defect" not in doctor().output


def test_no_token_is_shown(world: World, doctor: Doctor) -> None:
    world.settings.NOTIFY_URL = f"{world.receiver.url}/{SECRET}"
    world.github.fail_always("", respond(403, json.dumps({"message": f"no {GITHUB_TOKEN}"})))
    world.pipedrive.fail_always("", respond(403, json.dumps({"success": False, "error": f"no {PIPEDRIVE_TOKEN}"})))
    world.receiver.fail_always("", respond(403, f"no {SECRET}"))

    result = doctor("--notify")

    assert [line.split(": ")[1] for line in result.trouble] == ["GitHub", "Pipedrive", "NOTIFY_URL"]
    assert result.output.count("no [secret]") == 3
    assert not any(secret in result.output for secret in (GITHUB_TOKEN, PIPEDRIVE_TOKEN, SECRET))


@pytest.mark.slow("starts manage.py as a process")
@pytest.mark.parametrize(("folder", "advice"), [("", "Run `manage.py migrate`"), ("missing", "Check SQLITE_PATH")])
def test_a_database_that_is_not_there_is_not_created(world: World, tmp_path: Path, folder: str, advice: str) -> None:
    database = tmp_path / folder / "new.sqlite3"
    apis = {"GITHUB_API_URL": world.github.url, "PIPEDRIVE_API_URL": world.pipedrive.url, "ALLOW_INSECURE": "true"}

    completed = manage(
        "doctor", SQLITE_PATH=str(database), GITHUB_TOKEN=GITHUB_TOKEN, PIPEDRIVE_TOKEN=PIPEDRIVE_TOKEN, **apis
    )

    first, *others = completed.stdout.splitlines()
    assert first.startswith(f"problem: database: there is no SQLite file {database} yet. {advice}")
    assert any(line.startswith("ok: Pipedrive field") for line in others), "everything else was checked"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow("starts manage.py as a process")
def test_a_newcomer_with_nothing_gets_lines_and_no_traceback(tmp_path: Path) -> None:
    database = tmp_path / "new.sqlite3"

    completed = manage("doctor", SQLITE_PATH=str(database), GITHUB_API_URL="http://127.0.0.1:9")

    assert (completed.returncode, completed.stderr) == (78, "")
    lines = completed.stdout.splitlines()
    assert lines[0].startswith(f"problem: database: there is no SQLite file {database} yet. Run `manage.py migrate`")
    assert [line.split(": ")[:2] for line in lines[1:5]] == [
        ["warning", "GitHub"],
        ["problem", "GitHub"],
        ["not checked", "GitHub stream"],
        ["problem", "Pipedrive"],
    ]
    assert list(tmp_path.iterdir()) == []
