"""Which pages of a list are requested, with which ETags, and how many requests GitHub counts."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from people.models import Gist, Person
from sync.clients.github import GitHubClient
from sync.poll import FULL_READ_EVERY, is_full_read_due
from tests.conftest import Sync
from tests.standins import GitHubStandIn

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def have_etags(github: GitHubStandIn) -> list[bool]:
    """Whether each list request since the last clear_requests() had an ETag."""
    return ["if-none-match" in request.headers for request in github.requests_to("gists")]


def move_back_two_days(*columns: str) -> None:
    Person.objects.update(**{column: datetime.now(UTC) - timedelta(days=2) for column in columns})


@pytest.fixture
def two_pages(ada: Person, github: GitHubStandIn, sync: Sync) -> list[str]:
    """Ada's list of 130 gists has been read; the ids, oldest first."""
    ids = [github.publish("ada", f"Gist {number}") for number in range(130)]
    sync("--max-activities", "1")
    github.clear_requests()
    return ids


def test_an_unchanged_list_of_one_page_is_a_full_pass(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    github.publish("ada")
    sync()
    counted = github.used[True]
    move_back_two_days("full_pass_at")
    github.clear_requests()

    sync()

    ada.refresh_from_db()
    assert (have_etags(github), github.used[True]) == ([True], counted)
    assert ada.full_pass_at
    assert ada.full_pass_at > datetime.now(UTC) - timedelta(hours=1)


def test_further_pages_are_not_requested_between_full_passes(
    two_pages: list[str], github: GitHubStandIn, sync: Sync
) -> None:
    sync("--max-activities", "1")

    assert have_etags(github) == [True]


def test_a_full_pass_requests_further_pages_with_their_own_etags(
    two_pages: list[str], ada: Person, github: GitHubStandIn, sync: Sync
) -> None:
    counted = github.used[True]
    move_back_two_days("full_pass_at")

    summary = sync("--max-activities", "1")

    ada.refresh_from_db()
    assert (have_etags(github), github.used[True]) == ([True, True], counted)
    assert summary.counts["people_unchanged"] == 1
    assert ada.full_pass_at
    assert ada.full_pass_at > datetime.now(UTC) - timedelta(hours=1)


def test_a_full_pass_finds_an_edit_on_a_further_page(two_pages: list[str], github: GitHubStandIn, sync: Sync) -> None:
    github.edit("ada", two_pages[0], description="Edited")
    before_full_pass = sync("--max-activities", "1")
    move_back_two_days("full_pass_at")

    full_pass = sync("--max-activities", "1")

    assert (before_full_pass.counts["gists_edited"], full_pass.counts["gists_edited"]) == (0, 1)
    assert Gist.objects.get(github_id=two_pages[0]).description == "Edited"


def test_a_full_pass_finds_a_removal_on_a_further_page(two_pages: list[str], github: GitHubStandIn, sync: Sync) -> None:
    github.remove("ada", two_pages[0])
    move_back_two_days("full_pass_at")

    summary = sync("--max-activities", "1")

    assert summary.counts["gists_removed"] == 1
    assert Gist.objects.get(github_id=two_pages[0]).removed_at is not None


def test_a_new_gist_moves_the_pages_and_the_next_full_pass_reads_them(
    two_pages: list[str], ada: Person, github: GitHubStandIn, sync: Sync
) -> None:
    github.publish("ada")
    new_gist = sync("--max-activities", "1")
    move_back_two_days("full_pass_at")
    sync("--max-activities", "1")
    github.clear_requests()
    move_back_two_days("full_pass_at")

    sync("--max-activities", "1")

    assert new_gist.counts["gists_new"] == 1
    assert have_etags(github) == [True, True]


def test_a_list_that_grows_beyond_one_page_keeps_the_new_page_s_etag(
    ada: Person, github: GitHubStandIn, sync: Sync
) -> None:
    for _ in range(99):
        github.publish("ada")
    sync("--max-activities", "1")
    one_page = Person.objects.get().page_etags
    for _ in range(2):
        github.publish("ada")

    sync("--max-activities", "1")

    assert one_page == []
    assert len(Person.objects.get().page_etags or []) == 1


def test_an_old_gist_made_public_behind_a_stored_page_is_found_by_the_next_full_pass(
    ada: Person, github: GitHubStandIn, sync: Sync
) -> None:
    """The list has 100 gists on one page, then an older one appears on a second page."""
    for _ in range(100):
        github.publish("ada")
    sync("--max-activities", "1")
    github.publish("ada", "Old", created_at="2020-01-01T00:00:00Z", updated_at="2020-01-01T00:00:00Z")
    sync("--max-activities", "1")
    move_back_two_days("full_pass_at")

    sync("--max-activities", "1")

    assert Gist.objects.filter(description="Old").exists()


def test_everything_is_read_without_etags_once_a_week(
    two_pages: list[str], ada: Person, github: GitHubStandIn, sync: Sync
) -> None:
    Person.objects.update(full_read_at=datetime.now(UTC) - FULL_READ_EVERY - timedelta(hours=1))

    sync("--max-activities", "1")

    ada.refresh_from_db()
    assert have_etags(github) == [False, False]
    assert ada.full_read_at
    assert ada.full_read_at > datetime.now(UTC) - timedelta(hours=1)


def test_full_reads_are_spread_evenly_over_the_week() -> None:
    people = [Person(pk=pk, state="active", full_read_at=NOW) for pk in range(1, 7001)]

    due_on_day: Counter[int] = Counter()
    for day in range(1, 8):
        due = [person for person in people if is_full_read_due(person, NOW + timedelta(days=day))]
        due_on_day[day] = len(due) - sum(due_on_day.values())

    assert sum(due_on_day.values()) == 7000
    assert all(900 < count < 1100 for count in due_on_day.values()), due_on_day


def test_etags_of_another_token_are_not_used(two_pages: list[str], github: GitHubStandIn, sync: Sync) -> None:
    with_another_token = GitHubClient(github.url, "another-token")
    Person.objects.update(etag_scope=with_another_token.etag_scope)

    sync("--max-activities", "1")

    assert have_etags(github)[0] is False
