"""The stream of all public gists: a hint that may lie, lag, repeat or stop, and costs latency at most."""

import json
from datetime import UTC, datetime

import pytest

from sync.clients.github import GitHubClient, stream_url
from tests.conftest import GITHUB_TOKEN
from tests.standins import GitHubStandIn, respond


# --- the client ---
def test_the_stream_has_entries_of_all_accounts(github: GitHubStandIn) -> None:
    for login in ("ada", "grace"):
        github.add_account(login)
        github.publish(login)
    client = GitHubClient(github.url, GITHUB_TOKEN)

    page = client.get_stream_page(stream_url(datetime(2026, 1, 1, tzinfo=UTC)))

    assert [(entry.owner and entry.owner.login) for entry in page.entries] == ["grace", "ada"]
    assert (page.size, page.next_url) == (2, "")


@pytest.mark.parametrize(
    "item",
    [
        None,
        [],
        "text",
        {},
        {"id": "abc"},
        {"id": 7, "updated_at": "2026-11-30T12:00:00Z"},
        {"id": "a/b", "updated_at": "2026-11-30T12:00:00Z"},
        {"id": "abc", "updated_at": "soon"},
        {"id": "abc", "updated_at": "0001-01-01T00:00:00Z"},
        {"id": "abc", "updated_at": "9999-12-31T23:59:59Z"},
        {"id": "abc", "updated_at": "2026-11-30T12:00:00Z", "owner": "ada"},
        {"id": "abc", "updated_at": "2026-11-30T12:00:00Z", "owner": {"login": "ada"}},
        {"id": "abc", "updated_at": "2026-11-30T12:00:00Z", "owner": {"id": -1, "login": "ada"}},
        {"id": "abc", "updated_at": "2026-11-30T12:00:00Z", "owner": {"id": 2**64, "login": "ada"}},
    ],
)
def test_an_odd_item_of_the_stream_is_left_out_and_counts_for_the_size_of_the_page(
    item: object, github: GitHubStandIn
) -> None:
    good = {"id": "abc", "updated_at": "2026-11-30T12:00:00Z", "owner": None}
    github.fail("stream", respond(200, json.dumps([item, good])))

    page = GitHubClient(github.url, GITHUB_TOKEN).get_stream_page(stream_url(datetime(2026, 1, 1, tzinfo=UTC)))

    assert [entry.id for entry in page.entries] == ["abc"]
    assert page.size == 2


def test_what_the_stream_shows_is_no_control(github: GitHubStandIn) -> None:
    github.add_account("ada")
    github.publish("ada")
    client = GitHubClient(github.url, GITHUB_TOKEN)
    client.get_stream_page(stream_url(datetime(2026, 1, 1, tzinfo=UTC)))

    client.check_service()

    assert [request.path for request in github.requests] == ["/gists/public", "/users/ghost"]
