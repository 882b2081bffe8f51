"""The admin in a real browser: what an operator does at night, and what a viewer cannot do."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import Group, User
from playwright.sync_api import Browser

from people.models import ApiKey, Gist, Person
from tests.browser import CHROMIUM, Desk, Scheme, open_desk, start_browser
from tests.sample_data import LOST, REFUSAL, fill

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow("starts a web server and a browser")]
PASSWORD = "a long password 42"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM:
        assert not os.environ.get("CI"), "Chromium is required in CI"
        pytest.skip("Chromium is not installed (apt-get install chromium), so nothing is tested in a browser")
    # Playwright runs an event loop in this thread, in which Django would refuse to use the database.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with start_browser() as browser:
        yield browser
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def base(serve: Callable[..., str]) -> str:
    fill()
    password = PBKDF2PasswordHasher().encode(PASSWORD, "salt", iterations=1000)  # as in production, but fast
    User.objects.create(username="admin", password=password, is_staff=True, is_superuser=True)
    viewer = User.objects.create(username="viewer", password=password, is_staff=True)
    viewer.groups.add(Group.objects.get(name="viewer"))
    return serve(PIPEDRIVE_API_URL="https://yourcompany.pipedrive.com", ENVIRONMENT_NAME="staging")


@pytest.fixture
def desk(browser: Browser, base: str) -> Iterator[Desk]:
    """Logged in as an administrator. No page may send a request to another host, or report an error."""
    with open_desk(browser, base) as desk:
        desk.log_in("admin", PASSWORD)
        yield desk
        assert desk.foreign == []
        assert desk.errors == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1366), ("dark", 390)])
def test_the_panel_is_read_at_a_glance(browser: Browser, base: str, scheme: Scheme, width: int) -> None:
    with open_desk(browser, base, scheme=scheme, width=width) as desk:
        desk.log_in("admin", PASSWORD)
        page = desk.page

        assert "2 problems, not urgent." in desk.text
        assert f"{LOST} (@ken)" in desk.text.replace("\xa0", " ")
        assert "staging" in desk.text
        assert page.get_by_role("img", name="The last 30 runs for all people").is_visible()
        assert page.get_by_role("img", name="New gists in the last 30 days").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width  # Nothing is cut off.
        desk.follow(desk.page.get_by_role("link", name="@ken").first)
        assert "@ken" in desk.text
        assert (desk.foreign, desk.errors) == ([], [])


def test_filters_and_search_find_people(desk: Desk) -> None:
    desk.open("/admin/people/person/")
    desk.follow(desk.page.get_by_role("link", name="stale: not polled for too long"))
    stale = desk.text
    desk.open("/admin/people/person/?state=gone")
    gone = desk.text
    desk.open("/admin/people/person/")
    desk.page.locator("#searchbar").fill("Lovelace")
    desk.press("Search")

    assert ("@radia" in stale, "@ada" in stale) == (True, False)
    assert ("@cleo" in gone, "@ada" in gone) == (True, False)
    assert ("@ada" in desk.text, "@ken" in desk.text) == (True, False)


def test_a_key_is_created_rotated_and_revoked(desk: Desk) -> None:
    desk.open("/admin/people/consumer/add/")
    desk.page.get_by_label("Name").fill("crm-bot")
    desk.press("Create key")
    first = desk.page.locator("code").first.inner_text()
    desk.follow(desk.page.get_by_role("link", name="Go to crm-bot"))
    desk.page.get_by_label("The old keys stay valid for").select_option("1 day")
    desk.press("Rotate")
    second = desk.page.locator("code").first.inner_text()
    desk.follow(desk.page.get_by_role("link", name="Go to crm-bot"))
    desk.press(f"Revoke the key {first[:8]}")

    assert desk.messages == f"The key {first[:8]} is revoked."
    keys = dict(ApiKey.objects.filter(consumer__name="crm-bot").values_list("prefix", "revoked"))
    assert keys == {first[:8]: True, second[:8]: False}
    assert first not in desk.text


PERSON_ACTIONS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("Sync soon", "ada", "1 person comes first in the next run.", {"sync_requested_at__isnull": False}),
    ("Pause (stop polling)", "ada", "1 person is paused.", {"state": "paused"}),
    ("Resume (poll again)", "dora", "1 person is resumed.", {"state": "active"}),
    (
        "Push rejected gists again",
        "barbara",
        "The next run pushes 2 rejected gists again.",
        {"gists__push_state": "pending"},
    ),
]


def test_every_action_for_people_reports_what_it_did(desk: Desk) -> None:
    for label, login, message, expected in PERSON_ACTIONS:
        desk.open(f"/admin/people/person/?q={login}")
        desk.page.locator("input[name=_selected_action]").first.check()
        desk.run_action(label)

        assert desk.messages == message, label
        assert Person.objects.filter(github_username=login, **expected).exists(), label


def test_every_action_is_a_button_of_the_page_of_a_person(desk: Desk) -> None:
    for label, login, message, expected in PERSON_ACTIONS:
        person = Person.objects.get(github_username=login)
        desk.open(f"/admin/people/person/{person.pk}/change/")
        desk.press(label)

        assert desk.messages == message, label
        assert Person.objects.filter(github_username=login, **expected).exists(), label


def test_a_person_is_not_tracked_any_more_after_a_page_that_says_what_goes(desk: Desk) -> None:
    desk.open("/admin/people/person/?q=ada")
    desk.page.locator("input[name=_selected_action]").first.check()
    desk.run_action("Stop tracking …")
    warning = desk.text
    before = Person.objects.filter(github_username="ada").exists()
    desk.press("Stop tracking")

    assert "Pipedrive keeps" in warning
    assert before
    assert not Person.objects.filter(github_username="ada").exists()


def test_a_person_is_forgotten_and_cannot_be_added_again(desk: Desk) -> None:
    person = Person.objects.get(github_username="ada")
    desk.open(f"/admin/people/person/{person.pk}/change/")
    desk.follow(desk.page.get_by_role("link", name="Forget …"))
    warning = desk.text
    desk.press("Forget")
    forgotten = desk.messages
    desk.open("/admin/people/person/add/")
    desk.page.locator("#id_github_username").fill("https://github.com/Ada")
    desk.press("Save")

    assert "Pipedrive keeps its records: delete the persons and activities there." in warning
    assert forgotten == "1 person was forgotten. Pipedrive keeps its records."
    assert "@Ada asked not to be tracked." in desk.text
    assert not Person.objects.filter(pk=person.pk).exists()


@pytest.mark.parametrize(
    ("label", "state", "message", "expected"),
    [
        ("Push again", "rejected", "The next run pushes 2 gists again.", "pending"),
        ("Skip (do not push)", "pending", "3 gists are skipped.", "skipped"),
    ],
)
def test_gists_are_pushed_again_or_skipped(desk: Desk, label: str, state: str, message: str, expected: str) -> None:
    keys = list(Gist.objects.filter(push_state=state).values_list("pk", flat=True))
    desk.open(f"/admin/people/gist/?push_state__exact={state}")
    desk.page.locator("#action-toggle").check()
    desk.run_action(label)

    assert desk.messages == message
    assert set(Gist.objects.filter(pk__in=keys).values_list("push_state", flat=True)) == {expected}


def test_a_csv_with_one_bad_row_is_shown_before_anything_is_written(desk: Desk) -> None:
    desk.open("/admin/people/person/")
    desk.follow(desk.page.get_by_role("link", name="Import people from CSV"))
    csv = b"username,backfill\nhedy,none\nnot a login!,all\nADA,all\n"
    desk.page.locator("input[type=file]").set_input_files({"name": "p.csv", "mimeType": "text/csv", "buffer": csv})
    desk.press("Preview")
    preview = desk.text
    before = Person.objects.filter(github_username="hedy").exists()
    desk.press("Track 1 person")

    assert "not a login!" in preview
    assert "already tracked" in preview.lower()
    assert not before
    assert Person.objects.get(github_username="hedy").backfill == "none"


def test_a_mistake_when_adding_a_person_is_explained(desk: Desk) -> None:
    for given, words in (("@ADA", "@ada is already tracked."), ("no login", "A GitHub user name has 1 to 39")):
        desk.open("/admin/people/person/add/")
        desk.page.locator("#id_github_username").fill(given)
        desk.press("Save")

        assert words in desk.text


def test_a_person_page_explains_what_happened_to_the_gists(desk: Desk) -> None:
    person = Person.objects.get(github_username="barbara")
    desk.open(f"/admin/people/person/{person.pk}/change/")
    desk.page.locator("summary", has_text="1 attempt").first.click()

    assert f"Pipedrive rejected it. Push it again when the cause is gone. {REFUSAL}" in desk.text
    assert "HTTP 400" in desk.text
    assert desk.page.locator("a[href='https://yourcompany.pipedrive.com/person/505']").count()


def test_a_viewer_sees_everything_and_finds_no_buttons(browser: Browser, base: str) -> None:
    person = Person.objects.get(github_username="ada")
    with open_desk(browser, base) as desk:
        desk.log_in("viewer", PASSWORD)
        assert "2 problems, not urgent." in desk.text
        for path in ("people/person/", f"people/person/{person.pk}/change/", "people/gist/", "sync/syncrun/"):
            desk.open(f"/admin/{path}")
            main = desk.page.locator("#content")
            assert "@ada" in desk.text or "run " in desk.text
            assert main.locator("select[name=action], input[name=_selected_action]").count() == 0, path
            buttons = main.locator("button, input[type=submit], a.addlink").all()
            assert [button.get_attribute("value") for button in buttons if button.is_visible()] in ([], ["Search"]), (
                path
            )


def test_an_unknown_page_of_the_admin_is_a_page(desk: Desk) -> None:
    desk.page.on("console", lambda _: desk.errors.clear())  # The browser reports the 404 itself.
    desk.open("/admin/people/nothing/")
    desk.errors.clear()

    assert desk.page.locator("#branding, #header").count()
