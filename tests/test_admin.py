"""The admin, as somebody who is asked what is wrong uses it."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from people.models import Gist, Person
from tests.conftest import Sync
from tests.factories import publish
from tests.standins import GitHubStandIn

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def person(db: None) -> Person:
    return Person.objects.create(github_username="ada", last_error="GitHub does not know this account any more.")


@pytest.mark.parametrize("page", ["people/person", "people/gist", "people/visit", "sync/syncrun"])
def test_every_list_opens(
    page: str, ada: Person, github: GitHubStandIn, sync: Sync, admin_client: Client, client: Client
) -> None:
    github.publish("ada", "Notes")
    sync()
    client.get("/api/v1/people/ada")

    answer = admin_client.get(f"/admin/{page}/")

    assert answer.status_code == 200
    assert "1 " in answer.content.decode()


def test_a_rejected_gist_is_pushed_again(admin_client: Client, person: Person) -> None:
    (gist,) = publish(person, 1, push_state="rejected", push_error="no")

    admin_client.post("/admin/people/gist/", {"action": "push_again", "_selected_action": [gist.pk]})

    gist.refresh_from_db()
    assert (gist.push_state, gist.push_error) == ("pending", "")


def test_a_person_is_synced_as_soon_as_possible(admin_client: Client, person: Person) -> None:
    admin_client.post("/admin/people/person/", {"action": "request_sync", "_selected_action": [person.pk]})

    person.refresh_from_db()
    assert person.sync_requested_at is not None


def test_who_may_only_look_cannot_push(client: Client, person: Person) -> None:
    (gist,) = publish(person, 1, push_state="rejected")
    user = User.objects.create_user("ben", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_gist"))
    client.force_login(user)

    client.post("/admin/people/gist/", {"action": "push_again", "_selected_action": [gist.pk]})

    assert Gist.objects.get().push_state == "rejected"


def test_the_reason_of_trouble_is_in_the_list_of_people(admin_client: Client, person: Person) -> None:
    assert person.last_error in admin_client.get("/admin/people/person/").content.decode()


def test_another_pipedrive_person_is_given_and_nothing_else_is_written(admin_client: Client, person: Person) -> None:
    address = f"/admin/people/person/{person.pk}/change/"

    answer = admin_client.post(address, {"pipedrive_id": "7", "github_username": "mallory", "state": "gone"})

    person.refresh_from_db()
    assert answer.status_code == 302
    assert (person.pipedrive_id, person.github_username, person.state) == (7, "ada", "new")
