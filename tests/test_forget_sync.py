"""The right to be forgotten during runs: an account that comes back is erased, and nothing is created again."""

import io
import json
import logging
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from rest_framework.test import APIClient

from gisttracker.config import logs
from people.forget import forget, forget_login
from people.models import Gist, Person, Suppressed
from sync.models import ApiState, Problem, PushAttempt
from tests.conftest import DuringRequest, Sync, get_error
from tests.factories import let_time_pass, track
from tests.standins import GitHubStandIn, PipedriveStandIn, respond
from tests.test_forget import dump

pytestmark = pytest.mark.django_db(transaction=True)
REMOVED = "A person asked not to be tracked, so it was removed."


@pytest.fixture
def renamed(ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync) -> int:
    """The GitHub id of Ada, who was tracked, was forgotten, and has renamed her account to @countess."""
    github.publish("ada", "Hers")
    sync()
    ada.refresh_from_db()
    forget_login("ada", by="test")
    github.rename("ada", "countess")
    github.clear_requests()
    pipedrive.clear_requests()
    return ada.github_id or 0


@pytest.mark.both
@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("way", ["api", "bulk", "import", "admin"])
def test_a_renamed_account_that_is_added_again_is_erased_before_anything_is_stored(
    way: str,
    others: int,
    renamed: int,
    api: APIClient,
    admin_client: APIClient,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    tmp_path: object,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for number in range(others):
        track(github, f"person-{number}")
    if way == "api":
        assert api.post("/api/v1/people", {"username": "countess"}).status_code == 201
    elif way == "bulk":
        assert api.post("/api/v1/people/bulk", ["@Countess"], format="json").json()["created"] == 1
    elif way == "import":
        file = tmp_path / "people.csv"  # type: ignore[operator]
        file.write_text("username\ncountess\n")
        call_command("import_people", str(file))
    else:
        admin_client.post("/admin/people/person/add/", {"github_username": "countess"})
        assert Person.objects.filter(username_key="countess").exists()

    summary = sync()

    assert (summary.code, summary.json["outcome"]) == (0, "succeeded")
    assert summary.problems == [REMOVED]
    assert "@countess was removed" in caplog.text.lower()
    assert (Person.objects.count(), Gist.objects.count(), len(pipedrive.requests)) == (others, 0, 0)
    assert not github.requests_to("gists") or others
    assert get_error(api.post("/api/v1/people", {"username": "countess"})) == {
        "code": "suppressed",
        "detail": "@countess asked not to be tracked.",
        "attr": "username",
    }


@pytest.mark.both
def test_the_run_does_not_store_whom_it_has_removed(renamed: int, api: APIClient, sync: Sync) -> None:
    api.post("/api/v1/people", {"username": "countess"})

    sync()

    assert "countess" not in dump()
    assert Problem.objects.get().reason == REMOVED


@pytest.mark.both
def test_each_of_many_renamed_accounts_is_erased(github: GitHubStandIn, sync: Sync) -> None:
    """Many at once are no outage: each of them is confirmed by its id."""
    for number in range(12):
        track(github, f"person-{number}")
    sync()
    forget(Person.objects.all(), by="test")
    for number in range(12):
        github.rename(f"person-{number}", f"renamed-{number}")
        Person.objects.create(github_username=f"renamed-{number}")

    summary = sync()

    assert (summary.code, Person.objects.count(), Problem.objects.get().count) == (0, 0, 12)


def test_a_login_that_was_added_while_it_was_forgotten_is_erased_without_a_request(
    github: GitHubStandIn, sync: Sync
) -> None:
    forget_login("ada", by="test")
    Person.objects.create(github_username="Ada")

    summary = sync()

    assert (Person.objects.count(), len(github.requests)) == (0, 0)
    assert summary.problems == [REMOVED]


@pytest.mark.both
def test_a_restored_person_is_erased_when_the_profile_is_read(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    sync()
    ada.refresh_from_db()
    forget_login("ada", by="test")
    ada.pk, ada.full_read_at, ada.etag = None, datetime.now(UTC) - timedelta(days=9), ""
    ada.save(force_insert=True)
    github.rename("ada", "countess")
    github.publish("countess", "New")

    sync()

    assert (Person.objects.count(), Gist.objects.count(), len(pipedrive.activities)) == (0, 0, 0)


def test_a_forgotten_account_that_became_an_organisation_is_erased(
    renamed: int, github: GitHubStandIn, sync: Sync
) -> None:
    github.accounts[renamed].type = "Organization"
    Person.objects.create(github_username="countess")

    sync()

    assert not Person.objects.exists()


@pytest.mark.both
def test_the_second_row_of_a_forgotten_account_is_erased_too(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    sync()
    github.rename("ada", "countess")
    Person.objects.create(github_username="countess")
    sync()
    conflict = Person.objects.get(username_key="countess")
    assert conflict.state == "conflict"

    forget(Person.objects.exclude(pk=conflict.pk), by="test")
    sync("--requested")

    assert not Person.objects.exists()


def test_another_account_is_tracked_under_its_own_login(renamed: int, github: GitHubStandIn, sync: Sync) -> None:
    track(github, "ben", gists=1)
    sync()
    github.rename("ben", "ada")  # He has taken the login of the forgotten account.
    Person.objects.update(full_read_at=None)

    summary = sync("--full")

    assert (summary.code, summary.problems) == (0, [])
    assert Person.objects.get().github_username == "ada"


def test_a_dry_run_erases_nothing(renamed: int, sync: Sync) -> None:
    Person.objects.create(github_username="countess")

    summary = sync("--dry-run")

    assert summary.json["forecast"] == ["@countess: asked not to be tracked, so it would be removed"]
    assert Person.objects.exists()


# --- GitHub is wrong ---
@pytest.mark.parametrize("login", ["countess", "ben"])
@pytest.mark.parametrize("by_id", ["right", "404", "500", "another login"])
def test_a_person_is_not_erased_for_a_profile_that_is_not_its_own(
    login: str, by_id: str, renamed: int, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    track(github, "ben", gists=1)
    lie = {"id": renamed, "login": login, "type": "User", "name": "x", "email": None, "public_gists": 0}
    github.fail("account", respond(200, json.dumps(lie)))
    if by_id == "another login":
        github.fail("account_by_id", respond(200, json.dumps({**lie, "login": "mallory"})))
    elif by_id != "right":
        github.fail("account_by_id", respond(int(by_id), '{"message": "Not Found"}'), times=9)

    sync()

    ben = Person.objects.get()
    assert (ben.github_username, ben.github_id, pipedrive.activities_of(0)) == ("ben", None, [])
    assert str(renamed) not in ben.last_error
    github.heal()
    sync()
    assert Person.objects.get().gists.count() == 1


# --- texts of errors ---
LOGIN_ECHO, ID_ECHO = "no @ada, Ada or /users/ada", "no {github_id} or /user/{github_id}"
PERSON_ECHO = "name Ada Lovelace (@ada), @ada, ada@example.com"
GIST_ECHO = "subject A secret poem, https://gist.github.com/ada/{gist} or {gist}"
# Each response repeats what its request names.
ERRORS = [
    ("github", "gists", 401, LOGIN_ECHO),
    ("github", "gists", 403, LOGIN_ECHO),
    ("github", "gists", 500, LOGIN_ECHO),
    ("github", "gists", 200, LOGIN_ECHO),
    ("github", "account_by_id", 401, ID_ECHO),
    ("github", "account_by_id", 403, ID_ECHO),
    ("pipedrive", "search_persons", 400, "term ada@example.com"),
    ("pipedrive", "create_person", 403, PERSON_ECHO),
    ("pipedrive", "create_person", 500, PERSON_ECHO),
    ("pipedrive", "create_activity", 400, GIST_ECHO),
    ("pipedrive", "create_activity", 401, GIST_ECHO),
    ("pipedrive", "create_activity", 500, GIST_ECHO),
    ("pipedrive", "list_activities", 403, ""),
]


@pytest.mark.parametrize(("service", "operation", "status", "echo"), ERRORS)
def test_no_text_of_an_error_outlives_whom_it_was_about(
    service: str,
    operation: str,
    status: int,
    echo: str,
    linked: int,
    ada: Person,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
) -> None:
    """Neither in the problems of runs, nor in alarms, the state of an API, or the rows of others."""
    ada.refresh_from_db()
    gist = github.publish("ada", "A secret poem")
    Person.objects.update(full_read_at=None, pipedrive_matched_at=None)
    if service == "pipedrive" and operation.endswith(("person", "persons")):
        pipedrive.persons.clear()
        Person.objects.update(pipedrive_id=None, email="ada@example.com")
    text = echo.format(github_id=ada.github_id, gist=gist)
    body = json.dumps({"success": False, "error": text, "message": text})
    {"github": github, "pipedrive": pipedrive}[service].fail(operation, respond(status, body), times=999)
    for _ in range(3):
        sync()
        Person.objects.update(next_attempt_at=None, next_push_at=None)
        let_time_pass(timedelta(hours=4))
    sync()
    texts = [*Problem.objects.values_list("reason", flat=True), *ApiState.objects.values_list("message", flat=True)]
    names = {"ada", "lovelace", str(ada.github_id), "poem", *Gist.objects.values_list("github_id", flat=True)}

    forget_login("ada", by="test")

    left = dump().lower()
    assert any(f"returned {status}" in text for text in texts)
    assert [name for name in names if re.search(rf"\b{name}\b", left)] == []


# --- forgotten during a run ---
MOMENTS = [
    ("github", "account"),
    ("github", "gists"),
    ("pipedrive", "activity_types"),
    ("pipedrive", "list_activities"),
    ("pipedrive", "search_persons"),
    ("pipedrive", "create_person"),
    ("pipedrive", "create_activity"),
]


@pytest.mark.both
@pytest.mark.parametrize(("service", "operation"), MOMENTS)
@pytest.mark.parametrize("refuses", [False, True], ids=["accepted", "refused"])
def test_nothing_is_created_here_after_a_person_was_forgotten(
    service: str,
    operation: str,
    refuses: bool,
    ada: Person,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    during_request: DuringRequest,
) -> None:
    gists = [github.publish("ada", f"Gist {number}") for number in range(3)]
    if refuses:
        pipedrive.refused_subjects.update(f"Gist {number}" for number in range(3))
    during_request({"github": github, "pipedrive": pipedrive}[service], operation, lambda: forget_login("ada", by="t"))

    sync()

    left = dump()
    assert (Person.objects.count(), Gist.objects.count(), PushAttempt.objects.count()) == (0, 0, 0)
    assert len(pipedrive.activities) <= (operation == "create_activity")
    for text in ("ada@example.com", "Lovelace", "@ada", "/ada", *gists):
        assert text not in left, text
    assert Suppressed.objects.has_login("ada")


@pytest.mark.parametrize("operation", ["create_activity", None])
def test_the_next_run_does_not_take_a_forgotten_persons_activities_for_a_restored_backup(
    operation: str | None,
    ada: Person,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    during_request: DuringRequest,
) -> None:
    track(github, "ben", gists=1)
    sync()
    github.publish("ada", "The newest at Pipedrive")
    if operation:
        during_request(pipedrive, operation, lambda: forget_login("ada", by="test"))
    sync()
    forget_login("ada", by="test")
    github.publish("ben", "Next")

    summary = sync()

    assert (summary.code, summary.problems, summary.counts["gists_pushed"]) == (0, [], 1)


def test_activities_under_an_earlier_login_are_no_restored_backup_either(
    ada: Person, github: GitHubStandIn, sync: Sync
) -> None:
    track(github, "ben", gists=1)
    sync("--person", "ben")
    github.publish("ada", "Under the earlier login")
    sync()
    github.rename("ada", "countess")
    Person.objects.update(full_read_at=None)
    sync("--full")
    forget_login("countess", by="test")
    github.publish("ben", "Next")

    summary = sync()

    assert summary.problems == []


# --- logs ---
# What Pipedrive may repeat of a request that it refuses.
ECHOES = {
    "search_persons": "term xq@quill.example",
    "create_person": "name Xenia Quillfeather (@ada) with xq@quill.example",
    "create_activity": "subject Zanzibar marginalia",
    "edit_activity": "subject Zanzibar marginalia, edited",
}


@pytest.mark.parametrize("formatter", [logs.TextFormatter(), logs.JsonFormatter()], ids=["text", "json"])
@pytest.mark.parametrize("trouble", ["", *ECHOES])
def test_no_log_record_of_a_run_holds_more_than_the_login(
    trouble: str,
    formatter: logging.Formatter,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    settings: object,
) -> None:
    settings.PUSH_EDITS = True  # type: ignore[attr-defined]
    github.add_account("ada", name="Xenia Quillfeather", email="xq@quill.example")
    Person.objects.create(github_username="ada")
    gist = github.publish("ada", "Zanzibar marginalia")
    if trouble:
        echo = json.dumps({"success": False, "error": f"{ECHOES[trouble]}: invalid"})
        pipedrive.fail(trouble, respond(400, echo))
    output, handler = io.StringIO(), logging.StreamHandler()
    handler.setStream(output)
    handler.setFormatter(formatter)
    handler.setLevel(logging.DEBUG)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        summaries = [sync()]
        github.edit("ada", gist, description="Zanzibar marginalia, edited")
        summaries.append(sync())
    finally:
        root.removeHandler(handler)

    logged = output.getvalue() + "".join(summary.output + summary.errors for summary in summaries)
    assert not trouble or "ada" in logged
    for text in ("Xenia", "Quillfeather", "quill.example", "Zanzibar"):
        assert text not in logged, text


@pytest.mark.parametrize(
    "line",
    [
        'GET "/api/v1/people?search=Quillfeather&page=2 HTTP/1.1" 200',
        'GET "/api/v1/people?page=1&search=xq%40quill.example HTTP/1.1" 200',
        "Duplicate entry 'xq@quill.example' for key",
        "odd: <xq+1@sub.quill.example>",
    ],
)
def test_addresses_and_search_terms_are_redacted_everywhere(line: str) -> None:
    redacted = logs.redact(line)

    assert "[personal]" in redacted
    assert "quill" not in redacted.lower()


@pytest.mark.parametrize("line", ["@ada: no", "@ada, gist 1: no", "gisttracker@1", "GET /people?state=new HTTP/1.1"])
def test_logins_and_other_text_are_not_redacted(line: str) -> None:
    assert logs.redact(line) == line
