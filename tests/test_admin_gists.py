"""The admin's pages of gists: the list, its filters and search, pushing again, skipping."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from people import tracking
from people.models import Gist, Person
from sync.models import PushAttempt
from tests.conftest import Sync
from tests.factories import create_gist, create_person
from tests.standins import GitHubStandIn, PipedriveStandIn

pytestmark = [pytest.mark.django_db, pytest.mark.both]
LIST = "/admin/people/gist/"
STATES = [state.value for state in Gist.PushState]


def page_of(gist: Gist) -> str:
    return f"{LIST}{gist.pk}/change/"


def get(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, response
    return response.content.decode()


def listed(client: Client, query: str) -> list[str]:
    """The descriptions that the list shows with this query."""
    return re.findall(r'field-title"><a [^>]*>([^<]+)', get(client, LIST + query))


def do(client: Client, action: str, *gists: Gist) -> str:
    data = {"action": action, "_selected_action": [gist.pk for gist in gists]}
    return client.post(LIST, data, follow=True).content.decode()


def create_each(person: Person) -> dict[str, Gist]:
    """A gist in each state."""
    return {state: create_gist(person, push_state=state, push_error="no", description=state) for state in STATES}


def test_the_list_shows_state_reason_and_links(admin_client: Client, settings: Settings) -> None:
    settings.PIPEDRIVE_API_URL = "https://acme.pipedrive.com"
    person = create_person()
    gist = create_gist(person, push_state="rejected", push_error="The type is unknown.", pipedrive_activity_id=55)

    page = get(admin_client, LIST)

    assert '<span class="badge badge-error">rejected</span>' in page
    assert "The type is unknown." in page
    assert f'href="/admin/people/person/{person.pk}/change/">@ada</a>' in page
    assert f'href="{gist.html_url}" rel="noopener' in page
    assert 'href="https://acme.pipedrive.com/activities/55" rel="noopener' in page
    assert "(no description)" in page


@pytest.mark.parametrize("state", STATES)
def test_gists_are_filtered_by_state(state: str, admin_client: Client) -> None:
    create_each(create_person())

    assert listed(admin_client, f"?push_state__exact={state}") == [state]


@pytest.mark.parametrize(("days", "count"), [(1, 1), (7, 2), (30, 3)])
def test_gists_are_filtered_by_the_time_when_they_were_stored(days: int, count: int, admin_client: Client) -> None:
    person = create_person()
    for age in (0, 5, 20, 100):
        gist = create_gist(person, description=f"{age} days")
        Gist.objects.filter(pk=gist.pk).update(created_at=timezone.now() - timedelta(days=age))

    assert len(listed(admin_client, f"?stored={days}")) == count


def test_gists_are_found_by_person_id_and_url(admin_client: Client) -> None:
    ada, ben = create_person("ada"), create_person("ben")
    gist, _ = create_gist(ada, description="Hers"), create_gist(ben, description="His")
    Gist.objects.filter(pk=gist.pk).update(github_id="aa5a315d61ae9438b18d")

    for text in (
        "ada",
        "@ADA",
        "https://github.com/ada",
        "aa5a31",
        "AA5A315D61AE9438B18D",
        "gist.github.com/ada/aa5a315d61ae9438b18d",
    ):
        assert listed(admin_client, f"?q={text}") == ["Hers"], text
    assert listed(admin_client, "?q=unknown") == []
    assert listed(admin_client, "?q=ada&push_state__exact=pushed") == []


CHANGES = {
    "push_again": {"rejected": "pending", "skipped": "pending"},
    "skip": {"rejected": "skipped", "pending": "skipped"},
}


@pytest.mark.parametrize("action", CHANGES)
def test_an_action_changes_only_the_states_that_it_may(action: str, admin_client: Client) -> None:
    """A started or pushed gist may have an activity, so it is never skipped."""
    gists = create_each(create_person())

    page = do(admin_client, action, *gists.values())

    states = {state: Gist.objects.get(pk=gist.pk).push_state for state, gist in gists.items()}
    assert states == {state: CHANGES[action].get(state, state) for state in STATES}
    assert re.search(r'class="success">[^<]*\b2 gists', page)
    assert "3 gists were not changed" in page
    assert LogEntry.objects.count() == 2


def test_a_gist_that_a_run_begins_to_push_meanwhile_is_not_skipped() -> None:
    """The UPDATE itself checks the state, whatever was read before."""
    gists = create_each(create_person())

    count = Gist.objects.skip("Skipped by grace.")

    states = {state: Gist.objects.get(pk=gist.pk).push_state for state, gist in gists.items()}
    assert count == 2
    assert states == {**{state: state for state in STATES}, "rejected": "skipped", "pending": "skipped"}


def test_a_skipped_gist_says_by_whom(admin_client: Client) -> None:
    gist = create_gist(create_person())

    do(admin_client, "skip", gist)

    assert "Skipped by admin in the admin." in get(admin_client, page_of(gist))
    gist.refresh_from_db()
    assert gist.push_explanation == "Skipped by admin in the admin."


@pytest.mark.django_db
def test_a_skipped_gist_is_not_pushed_and_a_wider_backfill_choice_does_not_change_that(
    admin_client: Client, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    kept = github.publish("ada", "Kept")
    skipped = github.publish("ada", "Skipped")
    Person.objects.update(backfill="none")
    sync()
    Gist.objects.push_again()
    do(admin_client, "skip", Gist.objects.get(github_id=skipped))
    ada.refresh_from_db()
    tracking.change(ada, {"backfill": "all"})

    sync()

    assert pipedrive.gist_ids() == [kept]


def test_the_page_of_a_gist_explains_it_and_has_buttons(admin_client: Client) -> None:
    gist = create_gist(create_person(), push_state="rejected", push_error="No such type.", description="Notes")
    PushAttempt.objects.create(gist=gist, attempted_at=timezone.now(), outcome="unknown", message="timed out")

    page = get(admin_client, page_of(gist))

    assert "Pipedrive rejected it. Push it again when the cause is gone. No such type." in page
    assert "timed out" in page
    assert "notes.md" in page
    assert re.findall(r'<button type="submit" class="button">([^<]+)<', page) == ["Push again", "Skip (do not push)"]


def test_a_button_pushes_a_gist_again(admin_client: Client) -> None:
    gist = create_gist(create_person(), push_state="rejected", push_error="no")

    page = admin_client.post(f"{LIST}{gist.pk}/action/push_again/", follow=True).content.decode()

    gist.refresh_from_db()
    assert (gist.push_state, gist.push_error) == ("pending", "")
    assert "The next run pushes 1 gist again." in page
    assert "Pushed again." in get(admin_client, f"{LIST}{gist.pk}/history/")


def test_an_action_that_changes_nothing_says_so(admin_client: Client) -> None:
    page = do(admin_client, "skip", create_gist(create_person(), push_state="pushed"))

    assert re.search(r'class="warning">1 gist was not changed', page)


@pytest.mark.parametrize(
    ("discovery", "words"),
    [
        ("", ""),
        ("stream", "shown by GitHub's stream"),
        ("poll", "found by a poll"),
        ("missed", "stream did not show it"),
    ],
)
def test_a_gist_says_how_it_was_found(discovery: str, words: str, admin_client: Client) -> None:
    gist = create_gist(create_person(), discovery=discovery)

    page = unescape(get(admin_client, page_of(gist)))
    listed = get(admin_client, f"{LIST}?discovery__exact=missed")

    assert words in page
    assert (gist.github_id in listed) == (discovery == "missed")
