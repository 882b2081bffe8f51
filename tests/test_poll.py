"""Which pages of a list are requested, with which ETags, and how many requests GitHub counts."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from people.models import Gist, Person
from sync.clients.github import GitHubClient
from sync.poll.poll import FULL_READ_EVERY, is_full_read_due
from tests.conftest import Sync
from tests.standins import GitHubStandIn, respond

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def have_etags(github: GitHubStandIn) -> list[bool]:
    """Whether each list request since the last clear_requests() had an ETag."""
    return ["if-none-match" in request.headers for request in github.requests_to("gists")]


def let_a_week_pass() -> None:
    Person.objects.update(full_read_at=datetime.now(UTC) - FULL_READ_EVERY - timedelta(hours=1))


@pytest.fixture
def two_pages(ada: Person, github: GitHubStandIn, sync: Sync) -> list[str]:
    """Ada's list of 130 gists has been read; the ids, oldest first."""
    ids = [github.publish("ada", f"Gist {number}") for number in range(130)]
    sync("--max-activities", "1")
    github.clear_requests()
    return ids


def test_an_unchanged_list_costs_one_request_that_github_does_not_count(
    two_pages: list[str], github: GitHubStandIn, sync: Sync
) -> None:
    counted = github.used[True]

    summary = sync("--max-activities", "1")

    assert (have_etags(github), len(github.requests), github.used[True]) == ([True], 1, counted)
    assert summary.counts["people_unchanged"] == 1


def test_once_a_week_the_profile_and_every_page_are_requested_without_etags(
    two_pages: list[str], ada: Person, github: GitHubStandIn, sync: Sync
) -> None:
    let_a_week_pass()

    sync("--max-activities", "1")

    ada.refresh_from_db()
    assert [request.operation for request in github.requests] == ["account_by_id", "gists", "gists"]
    assert have_etags(github) == [False, False]
    assert ada.full_read_at
    assert ada.full_read_at > datetime.now(UTC) - timedelta(hours=1)


def test_an_incomplete_weekly_read_is_repeated_in_the_next_run(
    two_pages: list[str], ada: Person, github: GitHubStandIn, sync: Sync
) -> None:
    let_a_week_pass()
    github.fail("gists", respond(500), nth=2, times=20)
    sync("--max-activities", "1")
    github.heal()
    github.clear_requests()

    sync("--max-activities", "1")

    assert have_etags(github) == [False, False]


def test_the_weekly_read_finds_an_edit_on_a_further_page(
    two_pages: list[str], github: GitHubStandIn, sync: Sync
) -> None:
    github.edit("ada", two_pages[0], description="Edited")
    before = sync("--max-activities", "1")
    let_a_week_pass()

    full = sync("--max-activities", "1")

    assert (before.counts["gists_edited"], full.counts["gists_edited"]) == (0, 1)
    assert Gist.objects.get(github_id=two_pages[0]).description == "Edited"


def test_the_weekly_read_finds_a_removal_on_a_further_page(
    two_pages: list[str], github: GitHubStandIn, sync: Sync
) -> None:
    github.remove("ada", two_pages[0])
    before = sync("--max-activities", "1")
    let_a_week_pass()

    full = sync("--max-activities", "1")

    assert (before.counts["gists_removed"], full.counts["gists_removed"]) == (0, 1)
    assert Gist.objects.get(github_id=two_pages[0]).removed_at is not None


def test_after_a_change_pages_are_read_until_one_is_stored(
    two_pages: list[str], ada: Person, github: GitHubStandIn, sync: Sync
) -> None:
    for number in range(200):
        github.publish("ada", f"New {number}")
    read_at = Person.objects.get().full_read_at

    summary = sync("--max-activities", "1")

    assert summary.counts["gists_new"] == 200
    assert have_etags(github) == [True, False, False]  # The third page is stored; the fourth is not requested.
    assert Person.objects.get().full_read_at == read_at


def test_an_old_gist_made_public_behind_a_stored_page_is_found_by_the_weekly_read(
    ada: Person, github: GitHubStandIn, sync: Sync
) -> None:
    """The list has 100 gists on one page, then an older one appears on a second page."""
    for _ in range(100):
        github.publish("ada")
    sync("--max-activities", "1")
    github.publish("ada", "Old", created_at="2020-01-01T00:00:00Z", updated_at="2020-01-01T00:00:00Z")
    sync("--max-activities", "1")
    let_a_week_pass()

    sync("--max-activities", "1")

    assert Gist.objects.filter(description="Old").exists()


@pytest.mark.slow("seven days of 7,000 people")
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


def test_an_unreadable_gist_of_a_page_that_is_not_read_stays_listed(
    two_pages: list[str], ada: Person, github: GitHubStandIn, sync: Sync
) -> None:
    github.accounts[ada.github_id or next(iter(github.accounts))].gists[two_pages[0]]["html_url"] = "no URL"
    let_a_week_pass()
    sync("--max-activities", "1")
    github.publish("ada")
    sync("--max-activities", "1")
    kept = [row["id"] for row in Person.objects.get().unreadable_gists or []]
    github.accounts[ada.github_id or next(iter(github.accounts))].gists[two_pages[0]]["html_url"] = "https://x.test/1"
    sync("--full", "--max-activities", "1")

    assert kept == [two_pages[0]]
    assert Person.objects.get().unreadable_gists == []
