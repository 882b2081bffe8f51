"""The admin: lists, actions and permissions."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client

from people.models import Gist, Person
from tests.conftest import Sync
from tests.factories import create_gist, create_person
from tests.standins import GitHubStandIn

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def person(db: None) -> Person:
    return create_person("ada", last_error="GitHub does not know this account any more.")


@pytest.mark.parametrize("page", ["people/person", "people/gist", "people/visit", "sync/syncrun"])
def test_each_list_opens(
    page: str, ada: Person, github: GitHubStandIn, sync: Sync, admin_client: Client, client: Client
) -> None:
    github.publish("ada", "Notes")
    sync()
    client.get("/api/v1/people/ada")

    response = admin_client.get(f"/admin/{page}/")

    assert response.status_code == 200
    assert "1 " in response.content.decode()


def test_a_rejected_gist_can_be_pushed_again(admin_client: Client, person: Person) -> None:
    gist = create_gist(person, push_state="rejected", push_error="no")

    admin_client.post("/admin/people/gist/", {"action": "push_again", "_selected_action": [gist.pk]})

    gist.refresh_from_db()
    assert (gist.push_state, gist.push_error) == ("pending", "")


def test_a_sync_can_be_requested(admin_client: Client, person: Person) -> None:
    admin_client.post("/admin/people/person/", {"action": "request_sync", "_selected_action": [person.pk]})

    person.refresh_from_db()
    assert person.sync_requested_at is not None


def test_staff_without_permission_cannot_push_a_gist(client: Client, person: Person) -> None:
    gist = create_gist(person, push_state="rejected")
    user = User.objects.create_user("ben", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_gist"))
    client.force_login(user)

    client.post("/admin/people/gist/", {"action": "push_again", "_selected_action": [gist.pk]})

    assert Gist.objects.get().push_state == "rejected"


def test_the_list_of_people_shows_the_last_error(admin_client: Client, person: Person) -> None:
    assert person.last_error in admin_client.get("/admin/people/person/").content.decode()


def test_only_the_pipedrive_person_can_be_changed(admin_client: Client, person: Person) -> None:
    address = f"/admin/people/person/{person.pk}/change/"

    response = admin_client.post(address, {"pipedrive_id": "7", "github_username": "mallory", "state": "gone"})

    person.refresh_from_db()
    assert response.status_code == 302
    assert (person.pipedrive_id, person.github_username, person.state) == (7, "ada", "new")


# --- statements that MySQL refuses and other databases accept ---
FILTERED_ACTIONS = [
    *[
        ("person", action, query)
        for action in ("request_sync", "pause", "resume")
        for query in ("", "?q=ada", "?state=new")
    ],
    *[("gist", "push_again", query) for query in ("", "?q=ada", "?push_state=rejected")],
]


@pytest.mark.parametrize(("model", "action", "query"), FILTERED_ACTIONS)
def test_no_action_updates_a_table_that_it_selects_from(
    model: str, action: str, query: str, admin_client: Client, person: Person
) -> None:
    """MySQL refuses such a statement (error 1093); MariaDB and SQLite accept it."""
    gist = create_gist(person, push_state="rejected")
    selected = person.pk if model == "person" else gist.pk
    statements: list[str] = []

    def record(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        statements.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(record):
        admin_client.post(f"/admin/people/{model}/{query}", {"action": action, "_selected_action": [selected]})

    updates = [sql for sql in statements if sql.startswith(("UPDATE", "DELETE")) and f"people_{model}" in sql]
    assert updates
    assert not [sql for sql in updates if sql.count(f"people_{model}") > 1 and "SELECT" in sql]


def test_an_action_for_all_selected_people_reaches_each_of_them(admin_client: Client) -> None:
    for number in range(120):
        create_person(f"person-{number}")
    data = {"action": "pause", "select_across": "1", "_selected_action": [Person.objects.latest("id").pk]}

    admin_client.post("/admin/people/person/", data)

    assert Person.objects.filter(state="paused").count() == 120
