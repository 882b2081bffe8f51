"""The admin in general: who sees and may do what, escaping, statements that MySQL refuses, constant query counts."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from people.admin.gists import ROW_ACTIONS as GIST_ACTIONS
from people.admin.people_actions import ROW_ACTIONS as PERSON_ACTIONS
from people.models import Consumer, Gist, Person, Visit
from sync.models import Alarm, PushAttempt, SyncRun
from tests.factories import create_gist, create_key, create_person, create_problem, create_run

pytestmark = pytest.mark.django_db
LISTS = ["people/person", "people/gist", "people/visit", "people/consumer", "sync/syncrun", "sync/alarm"]
EVIL = "<script>alert(1)</script>"
# What each action must find, so that it changes something.
PERSON_FIELDS: dict[str, dict[str, Any]] = {"resume": {"state": "paused"}}
GIST_STATES = {"push_skipped": "skipped"}
ACTIONS = [
    *[("person", action.name) for action in PERSON_ACTIONS],
    ("person", "stop_tracking"),
    *[("gist", action.name) for action in GIST_ACTIONS],
]


def create_rows(count: int, text: str = "text") -> None:
    """Create rows of each list, with this text wherever a remote service or a user chooses it."""
    now = timezone.now()
    for number in range(count):
        person = create_person(
            f"person-{number}",
            name=text,
            email=text,
            last_error=text,
            push_error=text,
            failures=1,
            pipedrive_id=number + 1,
            unreadable_gists=[{"id": text, "reason": text}],
        )
        gist = create_gist(person, description=text, push_state="rejected", push_error=text)
        run = create_run(text, finished_at=now, outcome="failed")
        create_problem(run, text, person)
        PushAttempt.objects.create(gist=gist, run_id=run.pk, attempted_at=now, outcome="refused", message=text)
        create_key(f"{text[:40]} {number}")
        Visit.objects.create(person=person, consumer=Consumer.objects.latest("pk"), cursor=1, visited_at=now)
        Alarm.objects.create(code=text[:60], severity="page", message=text, raised_at=now - timedelta(hours=1))


def get_pages() -> list[str]:
    """The URL of each list, and of one row of each."""
    rows = {"people/person": Person, "people/gist": Gist, "people/consumer": Consumer, "sync/alarm": Alarm}
    details = [f"/admin/{page}/{model._default_manager.latest('pk').pk}/change/" for page, model in rows.items()]
    return [*[f"/admin/{page}/" for page in LISTS], *details, f"/admin/sync/syncrun/{create_run().pk}/change/"]


def create_staff(*permissions: str) -> User:
    user = User.objects.create_user("ben", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


@pytest.fixture
def viewer(client: Client) -> Client:
    """Staff who may view everything, and change nothing."""
    user = create_staff(*Permission.objects.filter(codename__startswith="view_").values_list("codename", flat=True))
    client.force_login(user)
    return client


@pytest.mark.parametrize("page", LISTS)
def test_each_list_opens_without_rows(page: str, admin_client: Client) -> None:
    assert admin_client.get(f"/admin/{page}/").status_code == 200


def test_what_others_write_is_escaped_on_each_page(admin_client: Client) -> None:
    create_rows(1, EVIL)
    person = Person.objects.get()

    for url in [*get_pages(), f"/admin/people/person/{person.pk}/delete/"]:
        response = admin_client.get(url)
        assert response.status_code == 200, url
        assert "<script>alert" not in response.content.decode(), url


@pytest.mark.parametrize(
    ("permissions", "links"),
    [
        (["view_person", "view_gist", "view_syncrun", "view_alarm"], ["People", "Gists", "Runs", "Alarms"]),
        (["view_gist", "view_alarm", "view_visit"], ["Gists", "Alarms"]),
        ([], []),
    ],
    ids=["all", "some", "none"],
)
def test_the_header_leads_to_the_lists_that_a_user_may_see(
    permissions: list[str], links: list[str], client: Client
) -> None:
    client.force_login(create_staff(*permissions))

    (header,) = re.findall(r'<ul class="nav-desk">.*?</ul>', client.get("/admin/").content.decode(), re.DOTALL)

    found = dict(re.findall(r'<a href="([^"]*)">(\w+)</a>', header))
    assert [*found.values()] == links
    assert {client.get(url).status_code for url in found} <= {200}


def test_a_viewer_sees_each_page_without_buttons_and_actions(viewer: Client) -> None:
    create_rows(1)

    for url in get_pages():
        page = viewer.get(url).content.decode()
        assert 'aria-label="Actions"' not in page, url
        assert 'name="action"' not in page, url
        assert not re.search(r'type="submit"[^>]*value="(Save|Delete)', page), url
        assert 'class="addlink"' not in page, url
        assert "Import people" not in page, url


@pytest.mark.parametrize(("model", "action"), ACTIONS)
def test_a_viewer_cannot_do_anything(model: str, action: str, viewer: Client) -> None:
    person = create_person(**PERSON_FIELDS.get(action, {}))
    gist = create_gist(person, push_state=GIST_STATES.get(action, "rejected"))
    key = person.pk if model == "person" else gist.pk
    before = list(Person.objects.values()), list(Gist.objects.values())

    viewer.post(f"/admin/people/{model}/", {"action": action, "_selected_action": [key], "confirmed": "yes"})
    button = viewer.post(f"/admin/people/{model}/{key}/action/{action}/")
    delete = viewer.post(f"/admin/people/{model}/{key}/delete/", {"confirmed": "yes"})

    assert (button.status_code, delete.status_code) == (404 if action == "stop_tracking" else 403, 403)
    assert (list(Person.objects.values()), list(Gist.objects.values())) == before
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("page", ["sync/syncrun", "sync/alarm", "people/gist", "people/visit"])
@pytest.mark.parametrize("address", ["add/", "{key}/delete/", "{key}/change/"])
def test_what_only_the_program_writes_cannot_be_changed(page: str, address: str, admin_client: Client) -> None:
    create_rows(1)
    models = {"sync/syncrun": SyncRun, "sync/alarm": Alarm, "people/gist": Gist, "people/visit": Visit}
    key = models[page]._default_manager.latest("pk").pk

    response = admin_client.post(f"/admin/{page}/{address.format(key=key)}", {"confirmed": "yes"})

    assert response.status_code == 403


@pytest.mark.parametrize("query", ["", "?q=ada", "?state=new"])
@pytest.mark.parametrize(("model", "action"), ACTIONS)
def test_no_action_writes_to_a_table_that_it_selects_from(
    model: str, action: str, query: str, admin_client: Client
) -> None:
    """MySQL refuses such a statement (error 1093); MariaDB and SQLite accept it."""
    person = create_person(**PERSON_FIELDS.get(action, {}))
    gist = create_gist(person, push_state=GIST_STATES.get(action, "rejected"))
    key = person.pk if model == "person" else gist.pk
    query = query.replace(
        "state=new", f"state={person.state}" if model == "person" else f"push_state={gist.push_state}"
    )
    data = {"action": action, "_selected_action": [key], "select_across": "1", "confirmed": "yes"}

    with CaptureQueriesContext(connection) as queries:
        admin_client.post(f"/admin/people/{model}/{query}", data)

    writes = [row["sql"] for row in queries if row["sql"].startswith(("UPDATE", "DELETE")) and "people_" in row["sql"]]
    assert writes
    for sql in writes:
        table = re.findall(r"people_\w+", sql)[0]
        assert not re.search(rf"SELECT.*\W{table}\W", sql), sql


@pytest.mark.parametrize(("model", "action"), ACTIONS)
def test_each_action_reaches_all_selected_rows_and_is_in_the_history(
    model: str, action: str, admin_client: Client
) -> None:
    for number in range(60):  # more than a page
        person = create_person(f"person-{number}", **PERSON_FIELDS.get(action, {}))
        create_gist(person, push_state=GIST_STATES.get(action, "rejected"))
    key = Person.objects.latest("id").pk if model == "person" else Gist.objects.latest("id").pk
    data = {"action": action, "_selected_action": [key], "select_across": "1", "confirmed": "yes"}

    page = admin_client.post(f"/admin/people/{model}/", data, follow=True).content.decode()

    assert re.search(r'<li class="success">[^<]*\b60\b', page)
    assert LogEntry.objects.count() == 60


@pytest.mark.parametrize("page", [*LISTS, "person page"])
def test_the_queries_of_a_page_do_not_grow_with_its_rows(page: str, admin_client: Client) -> None:
    def count_queries() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert admin_client.get(url).status_code == 200
        return len(queries)

    create_rows(3)
    person = Person.objects.latest("id")
    url = f"/admin/people/person/{person.pk}/change/" if page == "person page" else f"/admin/{page}/"
    admin_client.get(url)  # The first request fills the cache of content types.
    with_three = count_queries()
    Person.objects.exclude(pk=person.pk).delete()
    Person.objects.filter(pk=person.pk).update(github_username="first", username_key="first")
    create_rows(30)
    for number in range(30):
        gist = create_gist(person)
        PushAttempt.objects.create(gist=gist, attempted_at=timezone.now(), outcome="succeeded")
        Visit.objects.create(person=person, consumer=Consumer.objects.create(name=f"Team {number}"))

    assert count_queries() == with_three <= 12


def test_a_large_number_of_rows_is_not_counted_to_the_end(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("people.admin.base.MAX_COUNT", 2)
    create_rows(3)

    page = admin_client.get("/admin/people/person/").content.decode()

    assert "2+ people" in page
