"""The admin's pages of people: the list, its filters and search, adding, the actions, the page of a person."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import ADDITION, DELETION, LogEntry
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from people.keys import get_anonymous_consumer, get_user_consumer
from people.models import Consumer, Gist, Person, Visit
from people.models.github_names import parse_login
from people.tracking import parse_new_login
from sync.models import PushAttempt
from tests.factories import create_gist, create_key, create_person
from tests.test_admin import create_staff

pytestmark = pytest.mark.django_db
NOW = timezone.now
LONG_AGO = NOW() - timedelta(days=2)
LIST = "/admin/people/person/"


def page_of(person: Person) -> str:
    return f"/admin/people/person/{person.pk}/change/"


def get(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, response
    return response.content.decode()


def listed(client: Client, query: str) -> list[str]:
    """The logins that the list shows with this query."""
    return sorted(re.findall(r'field-login">(?:<a [^>]*>)?@([\w-]+)', get(client, LIST + query)))


def add(client: Client, **fields: Any) -> tuple[int, str]:
    response = client.post(f"{LIST}add/", fields)
    return response.status_code, response.content.decode()


def do(client: Client, action: str, *people: Person, **fields: str) -> str:
    """Use an action of the list; returns the page that follows."""
    data = {"action": action, "_selected_action": [person.pk for person in people], **fields}
    return client.post(LIST, data, follow=True).content.decode()


# --- the list ---


def test_the_list_shows_what_an_operator_needs(admin_client: Client, settings: Settings) -> None:
    settings.PIPEDRIVE_API_URL = "https://acme.pipedrive.com"
    person = create_person(name="Ada Lovelace", state="active", polled_at=NOW(), last_error="odd", pipedrive_id=7)
    for state in ("pushed", "pending", "started", "rejected"):
        create_gist(person, push_state=state, description=f"A {state} gist")

    page = get(admin_client, LIST)

    assert "Ada Lovelace" in page
    assert 'href="https://github.com/ada" rel="noopener' in page
    assert 'href="https://acme.pipedrive.com/person/7" rel="noopener' in page
    assert '<span class="badge badge-ok">active</span> <span class="reason" title="odd">odd</span>' in page
    assert "4 (2 unpushed, 1 rejected)" in page
    assert "A rejected gist" in page  # the newest
    assert "just now" in page


@pytest.mark.parametrize("url", ["https://api.pipedrive.com", "http://127.0.0.1:8001", "https://evilpipedrive.com"])
def test_without_the_companys_host_pipedrive_ids_are_no_links(
    url: str, admin_client: Client, settings: Settings
) -> None:
    settings.PIPEDRIVE_API_URL = url
    person = create_person(pipedrive_id=4711)

    assert "/person/4711" not in get(admin_client, LIST)
    assert "4711" in get(admin_client, page_of(person))


def test_profiles_are_linked_on_the_configured_host(admin_client: Client, settings: Settings) -> None:
    settings.GITHUB_API_URL = "https://git.example.com/api/v3"
    create_person()

    assert 'href="https://git.example.com/ada"' in get(admin_client, LIST)


STALENESS: dict[str, tuple[dict[str, Any], bool]] = {
    "fresh": ({"state": "active", "polled_at": NOW()}, False),
    "stale": ({"state": "active", "polled_at": LONG_AGO}, True),
    "never polled, just added": ({"state": "new"}, False),
    "never polled, added long ago": ({"state": "new", "created_at": LONG_AGO}, True),
    "paused": ({"state": "paused", "polled_at": LONG_AGO}, False),
    "gone": ({"state": "gone", "polled_at": LONG_AGO}, False),
}


@pytest.mark.both
@pytest.mark.parametrize("name", STALENESS)
def test_stale_people_are_red_and_found_by_the_filter(name: str, admin_client: Client) -> None:
    fields, is_stale = STALENESS[name]
    person = create_person()
    Person.objects.filter(pk=person.pk).update(**fields)

    cell = re.search(r'<td class="field-last_polled">(.*?)</td>', get(admin_client, LIST))
    assert cell is not None
    assert ("badge-error" in cell[1]) is is_stale
    assert listed(admin_client, "?condition=stale") == (["ada"] if is_stale else [])


FILTERS: dict[str, dict[str, Any]] = {
    "?state__exact=gone": {"state": "gone"},
    "?condition=never_polled": {"polled_at": None},
    "?condition=not_linked": {"pipedrive_id": None},
    "?condition=in_backoff": {"next_attempt_at": NOW() + timedelta(hours=1)},
    "?condition=in_backoff&state__exact=active": {"next_push_at": NOW() + timedelta(hours=1)},
}


@pytest.mark.both
@pytest.mark.parametrize("query", [*FILTERS, "?condition=has_rejected"])
def test_each_filter_selects(query: str, admin_client: Client) -> None:
    usual: dict[str, Any] = {
        "state": "active",
        "polled_at": NOW(),
        "pipedrive_id": 1,
        "next_attempt_at": LONG_AGO,
    }
    create_gist(create_person("ben", **usual), push_state="pushed")
    ada = create_person("ada", **{**usual, **FILTERS.get(query, {})})
    create_gist(ada, push_state="rejected")

    assert listed(admin_client, query) == ["ada"]


def test_an_unknown_condition_is_not_ignored(admin_client: Client) -> None:
    assert admin_client.get(f"{LIST}?condition=nonsense").headers["Location"].endswith("?e=1")


@pytest.mark.both
@pytest.mark.parametrize(
    ("text", "logins"),
    [
        ("ada", ["ada"]),
        ("@ADA", ["ada"]),
        ("vela", ["ada"]),
        ("ada " * 1200, ["ada"]),  # more words than SQLite compares
        ("ada@example.com", ["ada"]),
        ("ada lov", ["ada"]),
        ("ada hopper", []),
        ("583231", ["ada"]),  # her GitHub id
        ("58", ["58-gists"]),  # not the beginning of an id
        ("%", []),
        ("9" * 30, []),
        ("\0", ["58-gists", "ada", "grace"]),
    ],
)
def test_people_are_found(text: str, logins: list[str], admin_client: Client) -> None:
    create_person("ada", name="Ada Lovelace", email="ada@example.com", github_id=583231)
    create_person("grace", name="Grace Hopper", github_id=5)
    create_person("58-gists")

    response = admin_client.get(LIST, {"q": text})

    assert sorted(re.findall(r'field-login"><a [^>]*>@([\w-]+)', response.content.decode())) == logins


# --- adding ---


@pytest.mark.parametrize("text", ["ada", "@ada", " Ada ", "https://github.com/ada", "github.com/ADA?tab=repositories"])
def test_a_person_is_added_by_a_login_a_name_or_a_url(text: str, admin_client: Client) -> None:
    status, _ = add(admin_client, github_username=text, backfill=" None ", pipedrive_id="7")

    person = Person.objects.get()
    assert status == 302
    assert (person.username_key, person.backfill, person.pipedrive_id) == ("ada", "none", 7)
    assert LogEntry.objects.get().action_flag == ADDITION


NOT_AN_ID = "Must be a whole number from 1 to 9223372036854775807."
BAD_PEOPLE = {
    "empty": ({"github_username": ""}, "This field is required."),
    "too long": ({"github_username": "a" * 40}, "A GitHub user name has 1 to 39 characters"),
    "much too long": ({"github_username": "a" * 500}, "A GitHub user name has 1 to 39 characters"),
    "another host": ({"github_username": "https://gitlab.com/ada"}, "is not a profile on github.com"),
    "a repository": ({"github_username": "https://github.com/ada/notes"}, "page or repository of @ada"),
    "a space": ({"github_username": "ada lovelace"}, "A GitHub user name has 1 to 39 characters"),
    "markup": ({"github_username": "<b>"}, "A GitHub user name has 1 to 39 characters"),
    "backfill": ({"backfill": "some"}, "Must be all, none or a date"),
    "Pipedrive id 0": ({"pipedrive_id": "0"}, NOT_AN_ID),
    "a huge Pipedrive id": ({"pipedrive_id": "9" * 20}, NOT_AN_ID),
    "a Pipedrive id in words": ({"pipedrive_id": "seven"}, NOT_AN_ID),
    "tracked": ({"github_username": "grace"}, "@grace is already tracked."),
    "tracked, in another case": ({"github_username": "https://github.com/GRACE"}, "@grace is already tracked."),
}


@pytest.mark.parametrize("name", BAD_PEOPLE)
def test_what_the_api_refuses_is_an_error_of_the_form(name: str, admin_client: Client) -> None:
    create_person("grace")
    fields, message = BAD_PEOPLE[name]

    status, page = add(admin_client, **{"github_username": "ada", **fields})

    assert status == 200
    assert message in page
    assert Person.objects.count() == 1


@pytest.mark.both
def test_a_person_added_by_another_process_meanwhile_is_an_error_of_the_form(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_person("ada")
    checks = iter([parse_login, parse_new_login])  # The other process commits after the first check.
    monkeypatch.setattr("people.admin.forms.parse_new_login", lambda text: next(checks)(text))

    status, page = add(admin_client, github_username="ADA")

    assert status == 200
    assert "@ada is already tracked." in page


# --- changing ---


def test_only_the_pipedrive_person_can_be_changed(admin_client: Client) -> None:
    person = create_person(pipedrive_id=3, pipedrive_linked_at=NOW(), backfill="none")
    fields = {"pipedrive_id": "7", "github_username": "mallory", "state": "gone", "backfill": "all"}

    response = admin_client.post(page_of(person), fields)

    person.refresh_from_db()
    assert response.status_code == 302
    assert (person.pipedrive_id, person.pipedrive_linked_at) == (7, None)
    assert (person.github_username, person.state, person.backfill) == ("ada", "new", "none")


def test_an_unchanged_pipedrive_person_stays_linked(admin_client: Client) -> None:
    linked_at = NOW()
    person = create_person(pipedrive_id=3, pipedrive_linked_at=linked_at)

    admin_client.post(page_of(person), {"pipedrive_id": "3"})

    person.refresh_from_db()
    assert person.pipedrive_linked_at == linked_at


@pytest.mark.parametrize("pipedrive_id", ["0", "-1", "9" * 20, "x"])
def test_an_invalid_pipedrive_id_is_an_error_of_the_form(pipedrive_id: str, admin_client: Client) -> None:
    person = create_person(pipedrive_id=3)

    response = admin_client.post(page_of(person), {"pipedrive_id": pipedrive_id})

    assert response.status_code == 200
    assert "errorlist" in response.content.decode()
    assert Person.objects.get().pipedrive_id == 3


# --- actions ---


MESSAGES = {
    "request_sync": ("2 people come first in the next run.", "1 person is paused and was not changed"),
    "pause": ("2 people are paused.", "1 person was paused already."),
    "push_rejected": ("The next run pushes 3 rejected gists again.", "1 person has no rejected gists."),
    "push_skipped": ("The next run pushes 2 skipped gists.", "2 people have no skipped gists."),
}


@pytest.mark.both
@pytest.mark.parametrize("action", MESSAGES)
def test_an_action_says_what_it_did_and_what_it_left(action: str, admin_client: Client) -> None:
    ada, ben, cleo = create_person("ada"), create_person("ben"), create_person("cleo", state="paused")
    for person, state in ((ada, "rejected"), (ada, "rejected"), (ben, "rejected"), (ben, "skipped"), (ben, "skipped")):
        create_gist(person, push_state=state, push_error="no")

    page = do(admin_client, action, ada, ben, cleo)

    for message in MESSAGES[action]:
        assert message in page


@pytest.mark.both
def test_rejected_and_skipped_gists_are_pushed_separately(admin_client: Client) -> None:
    person = create_person()
    rejected, skipped = create_gist(person, push_state="rejected"), create_gist(person, push_state="skipped")

    do(admin_client, "push_rejected", person)
    after_first = set(Gist.objects.filter(push_state="pending"))
    do(admin_client, "push_skipped", person)

    assert after_first == {rejected}
    assert set(Gist.objects.filter(push_state="pending")) == {rejected, skipped}


@pytest.mark.both
def test_nothing_is_written_about_people_whom_an_action_leaves(admin_client: Client) -> None:
    ada, ben = create_person("ada", state="paused"), create_person("ben")

    do(admin_client, "pause", ada, ben)

    assert [entry.object_repr for entry in LogEntry.objects.all()] == ["@ben"]


@pytest.mark.both
def test_a_large_action_has_one_summary_in_the_history(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("people.admin.actions.MAX_LOGGED", 2)
    people = [create_person(f"person-{number}") for number in range(5)]

    do(admin_client, "pause", *people)

    assert sorted(entry.object_repr for entry in LogEntry.objects.all())[0] == "3 more people"
    assert LogEntry.objects.count() == 3


def test_the_buttons_of_a_person_are_those_that_change_something(admin_client: Client) -> None:
    person = create_person(state="paused")
    create_gist(person, push_state="rejected")

    labels = re.findall(r'<button type="submit" class="button">([^<]+)<', get(admin_client, page_of(person)))

    assert labels == ["Resume (poll again)", "Push rejected gists again"]


@pytest.mark.both
def test_a_button_does_what_it_says(admin_client: Client) -> None:
    person = create_person()

    page = admin_client.post(f"{LIST}{person.pk}/action/pause/", follow=True).content.decode()

    assert "1 person is paused." in page
    assert Person.objects.get().state == "paused"
    assert "Paused." in get(admin_client, f"{LIST}{person.pk}/history/")


def test_a_button_needs_a_post_with_a_csrf_token(admin_client: Client) -> None:
    person = create_person()
    strict = Client(enforce_csrf_checks=True, headers={"Cookie": admin_client.cookies.output(header="", sep=";")})
    strict.cookies = admin_client.cookies

    assert admin_client.get(f"{LIST}{person.pk}/action/pause/").status_code == 405
    assert strict.post(f"{LIST}{person.pk}/action/pause/").status_code == 403
    assert Person.objects.get().state == "new"


@pytest.mark.parametrize(("address", "status"), [("999/action/pause/", 302), ("1/action/nonsense/", 404)])
def test_a_button_of_an_unknown_row_or_action_changes_nothing(address: str, status: int, admin_client: Client) -> None:
    assert admin_client.post(LIST + address).status_code == status


# --- stop tracking ---


@pytest.mark.both
def test_stopping_shows_what_goes_and_what_stays_before_anything_is_deleted(admin_client: Client) -> None:
    ada, ben = create_person("ada"), create_person("ben")
    create_gist(ada)
    create_gist(ben)
    Visit.objects.create(person=ada, consumer=Consumer.objects.create(name="Sales"))

    asked = do(admin_client, "stop_tracking", ada, ben)
    before = Person.objects.count()
    page = do(admin_client, "stop_tracking", ada, ben, confirmed="yes")

    for text in ("@ada, @ben", "2 stored gists", "1 visit marker:", "Pipedrive keeps its records"):
        assert text in asked
    assert f'name="_selected_action" value="{ada.pk}"' in asked
    assert (before, Person.objects.count(), Gist.objects.count(), Visit.objects.count()) == (2, 0, 0, 0)
    assert "2 people are not tracked any more. Pipedrive keeps its records." in page
    assert LogEntry.objects.filter(action_flag=DELETION).count() == 2


def test_the_page_of_a_person_leads_to_the_same_question(admin_client: Client) -> None:
    person = create_person()
    PushAttempt.objects.create(gist=create_gist(person), attempted_at=NOW(), outcome="succeeded")
    url = f"{LIST}{person.pk}/delete/"
    link = f'href="{url}"' in get(admin_client, page_of(person))

    question = get(admin_client, url)
    response = admin_client.post(url, {"confirmed": "yes"})

    assert link
    assert "1 stored gist," in question
    assert response.headers["Location"] == LIST
    assert not Person.objects.exists()
    assert not PushAttempt.objects.exists()


def test_the_delete_action_of_django_is_not_offered(admin_client: Client) -> None:
    create_person()

    assert "delete_selected" not in get(admin_client, LIST)


@pytest.mark.parametrize(
    ("permission", "action", "is_done"),
    [
        ("change_person", "pause", True),
        ("change_person", "stop_tracking", False),
        ("change_person", "push_rejected", False),
        ("change_gist", "push_rejected", True),
        ("change_gist", "pause", False),
        ("delete_person", "stop_tracking", True),
        ("delete_person", "pause", False),
    ],
)
def test_each_action_has_its_own_permission(permission: str, action: str, is_done: bool, client: Client) -> None:
    person = create_person()
    create_gist(person, push_state="rejected")
    client.force_login(create_staff("view_person", permission))

    do(client, action, person, confirmed="yes")

    left = Person.objects.filter(state="new", gists__push_state="rejected")
    assert left.exists() is not is_done


# --- the page of a person ---


def test_the_page_says_how_a_person_is_and_what_happens_next(admin_client: Client) -> None:
    person = create_person(
        state="active",
        state_changed_at=LONG_AGO,
        failures=4,
        failing_since=LONG_AGO,
        last_error="GitHub returned HTTP 502.",
        next_attempt_at=NOW() + timedelta(hours=6),
        push_failures=2,
        push_failing_since=LONG_AGO,
        push_error="Pipedrive refused the owner.",
        polled_at=LONG_AGO,
        unreadable_gists=[{"id": "5f", "reason": "no owner"}],
    )

    page = get(admin_client, page_of(person))

    for text in ("GitHub returned HTTP 502.", "Pipedrive refused the owner.", "after 4 failures", "5f: no owner"):
        assert text in page
    assert re.search(r"In backoff until [\d-]+ [\d:]+ UTC \(in 5.hours\)", page)
    assert '<span class="badge badge-warning">active</span>' in page
    assert re.search(r'successful: <time [^>]*badge-error">2.days ago', page)


def test_the_page_shows_the_profile_escaped(admin_client: Client) -> None:
    person = create_person(name="Ada Lovelace", company="<b>@engines</b>", location="London & Turin", github_id=7)

    page = get(admin_client, page_of(person))

    assert "Ada Lovelace · &lt;b&gt;@engines&lt;/b&gt; · London &amp; Turin · GitHub id 7" in page


NEXT_POLL: dict[str, dict[str, Any]] = {
    "None: the person is paused.": {"state": "paused"},
    "First in the next run: a sync was requested.": {"sync_requested_at": NOW()},
    "The account is checked again once a day.": {"state": "gone"},
    "In the next run.": {"state": "active"},
}


@pytest.mark.parametrize("text", NEXT_POLL)
def test_the_page_says_when_the_next_poll_is(text: str, admin_client: Client) -> None:
    assert text in get(admin_client, page_of(create_person(**NEXT_POLL[text])))


def test_the_page_explains_each_gist_with_its_attempts(admin_client: Client, settings: Settings) -> None:
    settings.PIPEDRIVE_API_URL = "https://acme.pipedrive.com"
    person = create_person()
    gist = create_gist(person, push_state="pushed", pipedrive_activity_id=55, description="Notes")
    PushAttempt.objects.create(
        gist=gist,
        run_id=9,
        attempted_at=NOW(),
        outcome="refused",
        status=400,
        message="no type",
        duration=0.25,
    )

    page = get(admin_client, page_of(person))

    assert "It is in Pipedrive as activity 55." in page
    assert 'href="https://acme.pipedrive.com/activities/55"' in page
    assert f'href="{gist.html_url}" rel="noopener' in page
    assert re.search(r"create <span [^>]*>refused</span> \(HTTP 400\) in 0.[23] s", page)
    assert 'href="/admin/sync/syncrun/9/change/">run 9</a> no type' in page


def test_a_url_that_is_no_web_address_becomes_no_link(admin_client: Client) -> None:
    person = create_person()
    Gist.objects.filter(pk=create_gist(person).pk).update(html_url="javascript:alert(1)")

    assert "javascript:" not in get(admin_client, page_of(person))


@pytest.mark.both
def test_gists_are_shown_page_by_page(admin_client: Client) -> None:
    person = create_person()
    for number in range(60):
        create_gist(person, description=f"Number {number}.")

    first, second = get(admin_client, page_of(person)), get(admin_client, page_of(person) + "?gists=2")
    odd = get(admin_client, page_of(person) + "?gists=x")

    assert ("Number 59." in first, "Number 5." in first) == (True, False)
    assert ("Number 59." in second, "Number 5." in second) == (False, True)
    assert "Number 59." in odd


def test_visits_have_the_names_of_their_consumers(admin_client: Client) -> None:
    person, user = create_person(), create_staff()
    create_key("Sales")
    for consumer in (Consumer.objects.get(), get_user_consumer(user), get_anonymous_consumer()):
        Visit.objects.create(person=person, consumer=consumer, cursor=3, visited_at=NOW())

    for page in (get(admin_client, page_of(person)), get(admin_client, "/admin/people/visit/")):
        for name in ("Sales", f"ben (staff {user.pk})", "anonymous"):
            assert name in page
