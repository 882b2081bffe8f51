"""The life cycle of a person with the Python client that openapi-python-client generates: life_cycle.py URL KEY GIST.

The service tracks grace, whose gist GIST was rejected.
"""

import sys
from typing import Any, TypeVar

from gisttracker_client import AuthenticatedClient
from gisttracker_client.api.consumer import get_me
from gisttracker_client.api.feed import acknowledge_feed, read_feed
from gisttracker_client.api.gists import list_gists, list_push_attempts, push_gist
from gisttracker_client.api.people import (
    change_person,
    list_people,
    request_sync,
    track_people,
    track_person,
    untrack_person,
    visit_person,
)
from gisttracker_client.api.sync import get_status, get_sync_run, list_sync_runs
from gisttracker_client.models import (
    AcknowledgementRequest,
    BulkReport,
    BulkRow,
    ClientErrorCode,
    ClientErrorResponse,
    Feed,
    FeedMarker,
    Gist,
    Me,
    NewPersonRequest,
    PaginatedGistList,
    PaginatedPersonList,
    PaginatedPushAttemptList,
    PaginatedSyncRunList,
    Person,
    PersonChangesRequest,
    PersonWithGists,
    Status,
    SyncRun,
    ValidationErrorCode,
    ValidationErrorResponse,
)
from gisttracker_client.models.chosen_state import ChosenState
from gisttracker_client.models.person_state import PersonState
from gisttracker_client.models.row_code import RowCode

Model = TypeVar("Model")


def expect(model: type[Model], value: Any) -> Model:
    """Return the value, which must be of this model: each operation may also return an error."""
    assert isinstance(value, model), value
    return value


def track(client: AuthenticatedClient) -> None:
    body = NewPersonRequest(username="@ada", backfill="none")
    created = track_person.sync_detailed(client=client, body=body)
    person = expect(Person, created.parsed)
    assert (person.github_username, person.state, created.status_code) == ("ada", PersonState.NEW, 201)

    (error,) = expect(ValidationErrorResponse, track_person.sync(client=client, body=body)).errors
    assert (error.code, error.attr) == (ValidationErrorCode.ALREADY_TRACKED, "username")
    assert error.person_url == created.headers["Location"]

    report = expect(BulkReport, track_people.sync(client=client, body=["ada", BulkRow("ben"), "a b"]))
    assert [row.code for row in report.results] == [RowCode.ALREADY_TRACKED, None, RowCode.INVALID_LOGIN]


def read(client: AuthenticatedClient) -> None:
    people = expect(PaginatedPersonList, list_people.sync(client=client, search="grace"))
    assert (people.count, people.results[0].rejected_count) == (1, 1)

    visit = expect(PersonWithGists, visit_person.sync("grace", client=client))
    assert (len(visit.gists), visit.cursor) == (1, visit.gists[0].id)
    assert expect(PersonWithGists, visit_person.sync("grace", client=client)).gists == []

    gists = expect(PaginatedGistList, list_gists.sync("grace", client=client))
    assert gists.results[0].github_id == visit.gists[0].github_id
    feed = expect(Feed, read_feed.sync(client=client))
    body = AcknowledgementRequest(cursor=feed.cursor)
    assert expect(FeedMarker, acknowledge_feed.sync(client=client, body=body)).cursor == feed.cursor
    assert expect(Me, get_me.sync(client=client)).feed_cursor == feed.cursor


def change(client: AuthenticatedClient, gist_id: str) -> None:
    person = expect(Person, change_person.sync("ada", client=client, body=PersonChangesRequest(backfill="all")))
    assert person.backfill == "all"
    late = change_person.sync("ada", client=client, body=PersonChangesRequest(backfill="none"), if_match='"old"')
    assert expect(ClientErrorResponse, late).errors[0].code == ClientErrorCode.PRECONDITION_FAILED

    assert expect(Person, request_sync.sync("ada", client=client)).sync_requested_at
    paused = PersonChangesRequest(state=ChosenState.PAUSED)
    assert expect(Person, change_person.sync("ada", client=client, body=paused)).state == PersonState.PAUSED
    refused = expect(ClientErrorResponse, request_sync.sync("ada", client=client))
    assert refused.errors[0].code == ClientErrorCode.PAUSED

    assert expect(Gist, push_gist.sync("grace", gist_id, client=client)).push_state == "pending"
    again = expect(ClientErrorResponse, push_gist.sync("grace", gist_id, client=client))
    assert again.errors[0].code == ClientErrorCode.GIST_NOT_PUSHABLE
    assert expect(PaginatedPushAttemptList, list_push_attempts.sync("grace", gist_id, client=client)).count == 0


def look_at_the_sync(client: AuthenticatedClient) -> None:
    assert expect(Status, get_status.sync(client=client)).backlog == 1
    (run,) = expect(PaginatedSyncRunList, list_sync_runs.sync(client=client)).results
    assert expect(SyncRun, get_sync_run.sync(run.id, client=client)).outcome == "succeeded"


def untrack(client: AuthenticatedClient) -> None:
    assert untrack_person.sync_detailed("ada", client=client).status_code == 204
    gone = expect(ClientErrorResponse, visit_person.sync("ada", client=client))
    assert (gone.type_, gone.errors[0].code) == ("client_error", ClientErrorCode.NOT_TRACKED)

    stranger = AuthenticatedClient(base_url=str(client._base_url), token="wrong")
    unknown = expect(ClientErrorResponse, visit_person.sync("grace", client=stranger))
    assert unknown.errors[0].code == ClientErrorCode.INVALID_KEY


def main(url: str, key: str, gist_id: str) -> None:
    client = AuthenticatedClient(base_url=url, token=key)
    track(client)
    read(client)
    change(client, gist_id)
    look_at_the_sync(client)
    untrack(client)


if __name__ == "__main__":
    main(*sys.argv[1:])
