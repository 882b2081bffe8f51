"""The group `viewer`: sees everything of the service, changes nothing."""

from io import StringIO

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.db.models import Model
from django.test import Client
from django.utils import timezone

from people.models import ApiKey, Consumer, Person, Visit
from sync.models import Alarm
from tests.factories import create_gist, create_key, create_person, create_run

pytestmark = pytest.mark.django_db
OURS = ("people", "sync")
PAGES = [model._meta for model in admin.site._registry if model._meta.app_label in OURS]
BUTTONS = [
    'name="_save', 'name="_continue"', 'name="_addanother"', "addlink", "deletelink", "changelink",
    'name="action"', 'name="_selected_action"', "related-widget-wrapper-link",
]  # fmt: skip


def migrate() -> None:
    call_command("migrate", stdout=StringIO())


@pytest.fixture
def viewer(client: Client) -> Client:
    """A browser in which a viewer is logged in, and one row of most models."""
    user = User.objects.create_user("vera", is_staff=True)
    user.groups.add(Group.objects.get(name="viewer"))
    gist = create_gist(create_person("ada"), push_state="rejected")
    create_run()
    Alarm.objects.create(code="stale", severity="page", message="People are not polled.", raised_at=timezone.now())
    create_key("Team")
    Visit.objects.create(person=gist.person, consumer=Consumer.objects.get())
    client.force_login(user)
    return client


def test_the_group_may_view_each_model_and_nothing_else() -> None:
    models: list[type[Model]] = [model for app in OURS for model in apps.get_app_config(app).get_models()]

    names = set(Group.objects.get(name="viewer").permissions.values_list("content_type__app_label", "codename"))

    assert names == {(model._meta.app_label, f"view_{model._meta.model_name}") for model in models}


def test_a_later_migrate_keeps_what_operators_have_added() -> None:
    group, added = Group.objects.get(name="viewer"), Permission.objects.get(codename="change_person")
    group.permissions.add(added)
    before = set(group.permissions.all())

    migrate()
    migrate()

    assert set(group.permissions.all()) == before
    assert Group.objects.count() == 1


def test_a_later_migrate_adds_new_models_and_a_lost_group() -> None:
    group = Group.objects.get(name="viewer")
    before = set(group.permissions.all())
    group.permissions.remove(Permission.objects.get(codename="view_alarm"))

    migrate()
    after = set(group.permissions.all())
    Group.objects.all().delete()
    migrate()

    assert after == set(Group.objects.get(name="viewer").permissions.all()) == before


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_viewer_sees_each_list_without_buttons(page: object, viewer: Client) -> None:
    address = f"/admin/{page.app_label}/{page.model_name}/"  # type: ignore[attr-defined]

    response = viewer.get(address)

    text = response.content.decode()
    assert (response.status_code, [button for button in BUTTONS if button in text]) == (200, [])
    assert viewer.get(f"{address}add/").status_code == 403


@pytest.mark.parametrize("model", [meta.model for meta in PAGES], ids=str)
def test_a_viewer_sees_a_row_and_cannot_change_it(model: type[Model], viewer: Client) -> None:
    row = model._default_manager.first()
    if row is None:
        pytest.skip("there is no row of this model")
    address = f"/admin/{model._meta.app_label}/{model._meta.model_name}/{row.pk}"
    before = str(list(model._default_manager.values()))

    response = viewer.get(f"{address}/change/")

    text = response.content.decode()
    assert (response.status_code, [button for button in BUTTONS if button in text]) == (200, [])
    assert viewer.post(f"{address}/change/", {"name": "x", "_save": "Save"}).status_code == 403
    assert viewer.post(f"{address}/delete/", {"post": "yes"}).status_code == 403
    assert str(list(model._default_manager.values())) == before


@pytest.mark.parametrize("action", ["request_sync", "pause", "resume", "delete_selected"])
def test_a_viewer_can_start_no_action(action: str, viewer: Client) -> None:
    person = Person.objects.get()

    viewer.post("/admin/people/person/", {"action": action, "_selected_action": [person.pk], "post": "yes"})

    unchanged = Person.objects.get()
    assert (unchanged.state, unchanged.sync_requested_at) == (person.state, None)


@pytest.mark.parametrize("address", ["auth/user", "auth/group", "axes/accessattempt", "axes/accesslog"])
def test_a_viewer_sees_no_accounts_and_no_logins(address: str, viewer: Client) -> None:
    assert viewer.get(f"/admin/{address}/").status_code == 403


def test_a_viewer_cannot_change_people_with_the_api(viewer: Client, settings: object) -> None:
    settings.API_AUTH = "key"  # type: ignore[attr-defined]

    assert viewer.get("/api/v1/people").status_code == 200
    assert viewer.post("/api/v1/people", {"username": "ben"}).status_code == 403


def test_a_key_is_not_shown(viewer: Client) -> None:
    key = ApiKey.objects.get()

    text = viewer.get(f"/admin/people/consumer/{key.consumer_id}/change/").content.decode()

    assert key.prefix in text
    assert key.hashed_key not in text
    assert "Rotate" not in text
