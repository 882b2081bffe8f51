"""The admin: lists, actions and permissions."""

import pytest
from django.contrib.auth.models import Permission, User
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
