"""The right to be forgotten: what is erased, and how an account is refused afterwards."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.signals import post_delete
from django.test import Client
from rest_framework.test import APIClient

from people.bulk import track
from people.forget import ERASED, forget, forget_login
from people.models import Consumer, Gist, Person, Suppressed, SuppressionSalt, Visit
from sync.models import Alarm, Problem, PushAttempt
from tests.conftest import get_error
from tests.factories import create_gist, create_key, create_person, create_problem, create_run
from tests.test_people_api import run_concurrently

pytestmark = pytest.mark.django_db
GITHUB_ID, GIST = 987654321987, "5f2a9c6462d9b4418f2d"
REASON = "@ada asked not to be tracked."


@pytest.fixture
def known(db: None, admin_client: Client) -> Person:
    """Ada, with a row in each table that can hold something about her; and Ben."""
    profile = {"name": "Ada Lovelace", "email": "ada@example.com", "company": "Engines", "location": "London"}
    ada = create_person("Ada", github_id=GITHUB_ID, state="active", **profile)
    gist = create_gist(ada, push_state="pushed", pipedrive_activity_id=40)
    Gist.objects.filter(pk=gist.pk).update(github_id=GIST)
    gist.refresh_from_db()
    PushAttempt.objects.create(gist=gist, attempted_at=gist.created_at, outcome="succeeded")
    Visit.objects.create(person=ada, consumer=Consumer.objects.create(name="Sales"))
    user = User.objects.get(username="admin")
    LogEntry.objects.create(user=user, action_flag=1, object_repr="@Ada", object_id="999")
    create_gist(create_person("ben", github_id=1002, state="conflict"))
    run = create_run("GitHub is down", outcome="failed")
    for person in Person.objects.all():
        create_problem(run, "no", person)
    create_problem(run, "odd", ada, gist=gist, code="gist")
    alarm = Alarm.objects.create(code="x", severity="ticket", message="2 failed", raised_at=gist.created_at)
    alarm.people.set(Person.objects.all())
    return ada


def dump() -> str:
    """All rows of all tables, except the log of this test's own users."""
    output = io.StringIO()
    call_command("dumpdata", exclude=["contenttypes", "auth", "sessions", "axes"], stdout=output)
    return output.getvalue()


@pytest.mark.both
def test_nothing_about_a_forgotten_person_is_left(api: APIClient, known: Person) -> None:
    assert all(text in dump() for text in ("Ada", "Engines", "London", str(GITHUB_ID), GIST))

    response = api.delete("/api/v1/people/ada?forget=true")

    left = dump()
    assert response.status_code == 204
    profile = ("ada@", "Lovelace", "Engines", "London", "@ada", "@Ada", "/ada", '"ada"', '"Ada"')
    for text in (*profile, str(GITHUB_ID), GIST):
        assert text not in left, text
    assert [model.objects.count() for model in (Person, Gist, PushAttempt, Visit)] == [1, 1, 0, 0]


@pytest.mark.both
def test_what_is_about_others_is_kept(known: Person) -> None:
    forget(Person.objects.filter(pk=known.pk), by="test")

    assert Person.objects.get().github_username == "ben"
    assert list(Problem.objects.values_list("reason", "person__github_username")) == [
        ("GitHub is down", None),
        ("no", "ben"),
    ]
    assert Alarm.objects.get().named_message == "2 failed\nPeople: @ben"


def test_people_in_conflict_are_polled_again(known: Person) -> None:
    """One of them may be another row of the forgotten account."""
    forget(Person.objects.filter(pk=known.pk), by="test")

    assert Person.objects.get(github_username="ben").sync_requested_at is not None


def test_the_admin_log_keeps_who_did_what(known: Person) -> None:
    forget(Person.objects.filter(pk=known.pk), by="test")

    entry = LogEntry.objects.get()
    assert (entry.user.get_username(), entry.action_flag, entry.object_repr) == ("admin", 1, ERASED)


@pytest.mark.both
def test_if_something_cannot_be_erased_nothing_is(known: Person) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError

    post_delete.connect(fail, sender=Person)
    try:
        with pytest.raises(RuntimeError):
            forget(Person.objects.filter(pk=known.pk), by="test")
    finally:
        post_delete.disconnect(fail, sender=Person)

    assert (Person.objects.count(), Suppressed.objects.count()) == (2, 0)


# --- refused ---
@pytest.mark.parametrize("name", ["ada", "ADA", "@ada", " ada ", "https://github.com/ada", "gist.github.com/Ada/"])
@pytest.mark.parametrize("way", ["api", "json", "csv", "file", "json_file", "admin"])
def test_a_forgotten_login_is_refused(
    way: str, name: str, api: APIClient, admin_client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forget_login("ada", by="test")

    if way == "api":
        response = api.post("/api/v1/people", {"username": name})
        assert response.status_code == 400
        message = json.dumps(response.json())
    elif way in ("json", "csv"):
        body, kind = {
            "json": (json.dumps([{"username": name}]), "application/json"),
            "csv": (f"username\n{name}\n", "text/csv"),
        }[way]
        report = api.post("/api/v1/people/bulk", body, content_type=kind).json()
        assert (report["created"], report["rejected"]) == (0, 1)
        message = report["results"][0]["reason"]
    elif way == "admin":
        message = admin_client.post("/admin/people/person/add/", {"github_username": name}).content.decode()
    else:
        file = tmp_path / f"people.{'json' if way == 'json_file' else 'csv'}"
        file.write_text(json.dumps([name]) if way == "json_file" else f"username\n{name}\n")
        with pytest.raises(SystemExit):
            call_command("import_people", str(file))
        message = capsys.readouterr().out

    assert REASON.lower() in message.lower()
    assert not Person.objects.exists()


def test_a_refused_row_does_not_affect_others(db: None) -> None:
    forget_login("ada", by="test")

    report = track([{"username": name} for name in ("ben", "ada", "cleo")])

    assert [(row.username, row.result.value) for row in report.results] == [
        ("ben", "created"),
        ("ada", "rejected"),
        ("cleo", "created"),
    ]


def test_a_login_without_any_suppression_costs_no_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashlib.scrypt", None)

    assert track([{"username": "ada"}]).created == 1


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_deleted_suppression_allows_the_login_again(by_hand: bool, api: APIClient, admin_client: Client) -> None:
    forget_login("ada", by="test")
    forget_login("ben", by="test")
    if by_hand:
        (row,) = Suppressed.objects.matching("ada")
        admin_client.post(f"/admin/people/suppressed/{row.pk}/delete/", {"post": "yes"})
    else:
        data = {"action": "delete_selected", "_selected_action": [Suppressed.objects.matching("ada").get().pk]}
        admin_client.post("/admin/people/suppressed/", {**data, "post": "yes"})

    assert api.post("/api/v1/people", {"username": "ada"}).status_code == 201
    assert api.post("/api/v1/people", {"username": "ben"}).status_code == 400


@pytest.mark.parametrize("term", ["ada", "@Ada", str(GITHUB_ID)])
def test_the_admin_finds_a_suppression_without_showing_whose_it_is(
    term: str, known: Person, admin_client: Client
) -> None:
    forget_login("ada", by="key:1")
    forget_login("ben", by="key:2")

    page = admin_client.get(f"/admin/people/suppressed/?q={term}").content.decode()

    assert ("key:1" in page, "key:2" in page) == (True, False)
    assert "digest" not in page


# --- the API ---
def test_a_login_that_is_not_tracked_can_be_forgotten(api: APIClient) -> None:
    create_problem(create_run(), "of before she was deleted", create_person("ada"))
    Person.objects.all().delete()

    assert api.delete("/api/v1/people/ada?forget=true").status_code == 204
    assert get_error(api.post("/api/v1/people", {"username": "ada"}))["detail"] == REASON
    assert "@ada" not in dump()


@pytest.mark.both
def test_forgetting_can_be_repeated(api: APIClient, known: Person) -> None:
    responses = [api.delete("/api/v1/people/ada?forget=true").status_code for _ in range(2)]

    assert (responses, Suppressed.objects.count()) == ([204, 204], 2)


@pytest.mark.both
@pytest.mark.parametrize("query", ["forget=false", ""])
def test_a_person_who_is_only_deleted_may_be_tracked_again(query: str, api: APIClient, known: Person) -> None:
    assert api.delete(f"/api/v1/people/ada?{query}").status_code == 204
    assert api.delete(f"/api/v1/people/ada?{query}").status_code == 404
    assert api.post("/api/v1/people", {"username": "ada"}).status_code == 201


@pytest.mark.parametrize(
    "query", ["forget=yes", "forget=", "forget=1", "forget=True", "forget", "forget=true&forget=true", "forgot=true"]
)
def test_an_invalid_parameter_erases_nothing(query: str, api: APIClient, known: Person) -> None:
    assert api.delete(f"/api/v1/people/ada?{query}").status_code == 400
    assert Person.objects.count() == 2


def test_a_name_that_is_no_login_is_not_found(api: APIClient) -> None:
    assert api.delete("/api/v1/people/a%20b?forget=true").status_code == 404


@pytest.mark.parametrize("login", ["ada", "untracked"])
def test_a_read_only_key_cannot_forget(login: str, api: APIClient, known: Person, settings: Any) -> None:
    settings.API_AUTH = "key"
    api.credentials(HTTP_AUTHORIZATION=f"Api-Key {create_key(read_only=True)}")

    assert api.delete(f"/api/v1/people/{login}?forget=true").status_code == 403
    assert (Person.objects.count(), Suppressed.objects.count()) == (2, 0)


# --- hashes ---
def test_the_rows_hold_neither_login_nor_id(known: Person) -> None:
    forget(Person.objects.filter(pk=known.pk), by="test")

    assert {row.kind for row in Suppressed.objects.all()} == {"login", "github_id"}
    assert all(len(row.digest) == 64 for row in Suppressed.objects.all())
    plain = {hashlib.sha256(text.encode()).hexdigest() for text in ("ada", str(GITHUB_ID))}
    assert not set(Suppressed.objects.values_list("digest", flat=True)) & plain


def test_another_database_has_other_hashes() -> None:
    forget_login("ada", by="test")
    first = Suppressed.objects.get().digest
    for table in (Suppressed, SuppressionSalt):
        table.objects.all().delete()

    forget_login("ada", by="test")

    assert Suppressed.objects.get().digest != first


def test_an_id_is_no_login() -> None:
    forget_login("1001", by="test")

    assert (Suppressed.objects.has_login("1001"), Suppressed.objects.has_github_id(1001)) == (True, False)


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_people_are_forgotten_by_several_processes_at_once(known: Person, api: APIClient) -> None:
    """All use one salt, and each may be the one that creates it."""
    run_concurrently(lambda: forget_login("ada", by="test"), 4)

    assert (SuppressionSalt.objects.count(), Suppressed.objects.count(), Person.objects.count()) == (1, 2, 1)
    assert (Suppressed.objects.has_login("ada"), Suppressed.objects.has_github_id(GITHUB_ID)) == (True, True)


@pytest.mark.both
@pytest.mark.parametrize("login", ["Ada", "ben"])
def test_a_person_who_was_never_polled_is_forgotten_by_login(login: str) -> None:
    create_person(login)

    forget_login(login.upper(), by="test")

    assert [row.kind for row in Suppressed.objects.all()] == ["login"]


@pytest.mark.both
def test_prune_keeps_suppressions() -> None:
    forget_login("ada", by="test")

    call_command("prune")

    assert Suppressed.objects.has_login("ada")


# --- after a backup was restored ---
@pytest.mark.both
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("login", "github_id"), [("ada", GITHUB_ID), ("countess", GITHUB_ID), ("ada", None)])
def test_a_restored_person_is_erased_again(
    login: str, github_id: int | None, known: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    forget_login("ada", by="test")
    create_gist(create_person(login, github_id=github_id))

    call_command("after_restore")

    assert list(Person.objects.values_list("github_username", flat=True)) == ["ben"]
    assert "Removed 1 person who asked not to be tracked" in capsys.readouterr().out


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_suppressions_are_carried_over_a_restore_as_documented(known: Person, tmp_path: Path) -> None:
    forget_login("ada", by="test")
    file = str(tmp_path / "forgotten.json")
    call_command("dumpdata", "people.suppressionsalt", "people.suppressed", output=file)
    for table in (Suppressed, SuppressionSalt):
        table.objects.all().delete()
    create_person("ada", github_id=GITHUB_ID)

    call_command("loaddata", file)
    call_command("after_restore")

    assert list(Person.objects.values_list("github_username", flat=True)) == ["ben"]


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_another_account_that_has_the_login_now_is_kept(known: Person) -> None:
    forget_login("ada", by="test")
    create_person("ada", github_id=2002)

    call_command("after_restore")

    assert Person.objects.filter(github_username="ada").exists()


# --- the admin ---
def test_the_action_shows_what_is_erased_and_needs_a_confirmation(admin_client: Client, known: Person) -> None:
    data = {"action": "forget_people", "_selected_action": [known.pk]}

    page = admin_client.post("/admin/people/person/", data).content.decode()

    assert Person.objects.filter(pk=known.pk).exists()
    for text in ("@Ada", "1 stored gist", "1 visit marker", "Pipedrive keeps its records"):
        assert text in page, text


def test_the_page_of_a_person_leads_to_the_same_question(admin_client: Client, known: Person) -> None:
    url = f"/admin/people/person/{known.pk}/forget/"

    asked = admin_client.get(url).content.decode()
    before = Person.objects.filter(pk=known.pk).exists()
    admin_client.post(url, {"confirmed": "yes"})

    assert "@Ada" in asked
    assert before
    assert not Person.objects.filter(pk=known.pk).exists()


@pytest.mark.both
@pytest.mark.parametrize("selection", [{}, {"select_across": "1"}])
def test_confirmed_people_are_forgotten(selection: dict[str, str], admin_client: Client, known: Person) -> None:
    data = {"action": "forget_people", "_selected_action": [known.pk], "confirmed": "yes", **selection}

    response = admin_client.post("/admin/people/person/", data, follow=True)

    left = 0 if selection else 1
    assert (Person.objects.count(), "Pipedrive keeps its records" in response.content.decode()) == (left, True)
    entry = LogEntry.objects.latest("pk")
    assert (entry.user.get_username(), entry.object_id) == ("admin", None)
    assert "ada" not in f"{entry.object_repr} {entry.change_message}".lower()
    assert Suppressed.objects.first().requested_by == f"user:{entry.user.pk}"  # type: ignore[union-attr]


def test_staff_who_may_not_delete_cannot_forget(client: Client, known: Person) -> None:
    user = User.objects.create_user("cleo", is_staff=True)
    for codename in ("view_person", "change_person"):
        user.user_permissions.add(Permission.objects.get(codename=codename))
    client.force_login(user)

    client.post(
        "/admin/people/person/", {"action": "forget_people", "_selected_action": [known.pk], "confirmed": "yes"}
    )

    assert Person.objects.filter(pk=known.pk).exists()


@pytest.mark.both
def test_no_statement_selects_from_its_own_table(admin_client: Client, known: Person) -> None:
    """MySQL refuses that; MariaDB and SQLite do not."""
    statements: list[str] = []

    def record(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        statements.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(record):
        admin_client.post(
            "/admin/people/person/?q=ada",
            {"action": "forget_people", "_selected_action": [known.pk], "confirmed": "yes"},
        )

    writes = [sql for sql in statements if sql.startswith(("UPDATE", "DELETE"))]
    assert any("people_person" in sql for sql in writes)
    assert not [sql for sql in writes if "SELECT" in sql]


# --- export ---
def export(login: str) -> Any:
    output = io.StringIO()
    call_command("export_person", login, stdout=output)
    return json.loads(output.getvalue())


@pytest.mark.parametrize("state", ["new", "active", "gone", "conflict", "paused"])
@pytest.mark.parametrize("name", ["ada", "@ADA", "https://github.com/ada"])
def test_everything_about_a_person_is_exported(state: str, name: str, known: Person) -> None:
    Person.objects.filter(pk=known.pk).update(state=state)

    exported = export(name)

    assert set(exported["person"]) >= {"github_username", "github_id", "name", "email", "pipedrive_id", "backfill"}
    assert (exported["person"]["email"], exported["person"]["state"]) == ("ada@example.com", state)
    assert (exported["person"]["company"], exported["person"]["location"]) == ("Engines", "London")
    (gist,) = exported["gists"]
    assert (gist["files"][0]["name"], gist["attempts"][0]["outcome"]) == ("notes.md", "succeeded")
    assert [visit["consumer"] for visit in exported["visits"]] == ["Sales"]
    assert [problem["reason"] for problem in exported["problems"]] == ["no", "odd"]
    assert [len(exported[name]) for name in ("alarms", "admin_log")] == [1, 1]
    assert exported["suppressed"] == {"login": False, "github_id": False}
    assert exported["person"]["created_at"].endswith("Z")


def test_each_table_about_a_person_is_in_the_export(known: Person) -> None:
    tables = {str(relation.get_accessor_name()) for relation in Person._meta.related_objects}

    assert tables - set(export("ada")) == set()
    assert {"gists", "visits", "suspicions", "hints"} <= tables


@pytest.mark.both
def test_the_export_holds_nothing_about_others(known: Person) -> None:
    others = json.dumps(export("ada"))

    assert '"ben"' not in others
    assert "1002" not in others


@pytest.mark.parametrize(
    ("login", "message"),
    [("ben", "Nothing of this login is held"), ("ada", "Only a salted hash of this login"), ("a b", "1 to 39")],
)
def test_an_unknown_login_is_not_exported(login: str, message: str) -> None:
    forget_login("ada", by="test")

    with pytest.raises(CommandError, match=message) as error:
        call_command("export_person", login)

    assert error.value.returncode == 2
