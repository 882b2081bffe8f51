"""Each fault and each lie against each call of the clients: the error, and how often the request was sent.

No database, no sockets, no waits. What a whole run makes of these errors is in `test_faults.py`, `test_lies.py` and
`test_pipedrive_lies.py`.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from sync.clients.errors import (
    CircuitOpenError,
    CredentialsError,
    InvalidResponseError,
    NotFoundError,
    NotSentError,
    OutageError,
    OutcomeUnknownError,
    RejectedError,
    RepeatedServerError,
    RetryNextRunError,
    SyncError,
)
from sync.clients.github import GistPage, GitHubClient, StreamPage, stream_url
from sync.clients.pipedrive import PipedriveClient
from sync.clients.pipedrive_records import Activity, NewActivity, PipedrivePerson
from sync.clients.transport import Timing
from tests.conftest import wait_until
from tests.faults import FAULTS, GITHUB_LIES, PIPEDRIVE_LIES
from tests.standins import Fault, GitHubStandIn, PipedriveStandIn
from tests.standins.wire import StandIn
from tests.with_mysql import free_port

GITHUB_TOKEN, PIPEDRIVE_TOKEN = "gh-token-5d20", "pd-token-77ce"
NO_WAITS = Timing(retry=0.0, burst_pause=0.0, secondary_pause=0.0)
NEW_ACTIVITY = NewActivity("Notes", "task", True, "2026-01-01", "12:00", "<p>Notes</p>")
Call = Callable[[Any], object]
Outcome = tuple[object, int]  # the class of the error, or the result; the number of requests

GITHUB_CALLS: dict[str, Call] = {
    "account": lambda client: client.get_account("ada"),
    "account by id": lambda client: client.get_account_by_id(1001),
    "first page": lambda client: client.get_first_page("ada"),
    "changed page": lambda client: client.get_first_page("ada", '"etag"'),
    "further page": lambda client: client.get_page("/user/1001/gists?per_page=100&page=2"),
    "stream": lambda client: client.get_stream_page(stream_url(datetime(2026, 1, 1, tzinfo=UTC))),
    "control": lambda client: client.check_service(),
}
LISTS = {
    "newest persons": lambda client: list(client.iter_newest_persons()),
    "fields": lambda client: client.get_person_fields(),
    "activities of a person": lambda client: list(client.iter_newest_activities(1)),
    "last activities": lambda client: list(client.iter_last_activities()),
    "search by field": lambda client: client.search_persons_by_field("key", "1001"),
}
SEARCHES = {
    "search by name": lambda client: client.search_persons_by_name("ada"),
    "search by e-mail": lambda client: client.search_persons_by_email("ada@example.com"),
}
RECORDS = {
    "person": lambda client: client.get_person(1),
    "activity": lambda client: client.get_activity(1),
    "set field": lambda client: client.set_custom_field(1, "key", "1001"),
    "edit activity": lambda client: client.update_activity(1, "Subject", "Note"),
}
TYPES: dict[str, Call] = {"activity types": lambda client: client.get_activity_types()}
DELETION: dict[str, Call] = {"delete activity": lambda client: client.delete_activity(1)}
READS: dict[str, Call] = {**LISTS, **SEARCHES, **RECORDS, **TYPES, **DELETION}  # and whatever else may be repeated
CREATIONS: dict[str, Call] = {
    "create person": lambda client: client.create_person("@ada"),
    "create activity": lambda client: client.create_activity(1, NEW_ACTIVITY),
    "create field": lambda client: client.create_person_field("GitHub id"),
}

RETRIED, SERVER_ERROR = (RetryNextRunError, 4), (RepeatedServerError, 4)
INVALID, REJECTED, NOT_FOUND = (InvalidResponseError, 1), (RejectedError, 1), (NotFoundError, 1)
LIMITED, STILL_LIMITED = (CircuitOpenError, 1), (CircuitOpenError, 4)
UNAUTHORIZED, UNPAID = (CredentialsError, 2), (CredentialsError, 1)
UNKNOWN = (OutcomeUnknownError, 1)
OUTAGE = (OutageError, 6)  # four tries of the page, one of a smaller page, and the probe
# fault: at GitHub, at Pipedrive, at Pipedrive for what is created
AFTER_FAULT: dict[str, tuple[Outcome, Outcome, Outcome]] = {
    "refused": (RETRIED, RETRIED, (NotSentError, 1)),
    "reset before": (RETRIED, RETRIED, UNKNOWN),
    "reset after": (RETRIED, RETRIED, UNKNOWN),
    "timeout before": (RETRIED, RETRIED, UNKNOWN),
    "timeout after": (RETRIED, RETRIED, UNKNOWN),
    "trickle": (RETRIED, RETRIED, UNKNOWN),
    "500": (SERVER_ERROR, SERVER_ERROR, UNKNOWN),
    "502 html": (SERVER_ERROR, SERVER_ERROR, UNKNOWN),
    "502 after": (SERVER_ERROR, SERVER_ERROR, UNKNOWN),
    "503 retry-after": (LIMITED, LIMITED, UNKNOWN),
    "429 retry-after": (LIMITED, LIMITED, LIMITED),
    "429 bare": (STILL_LIMITED, STILL_LIMITED, STILL_LIMITED),
    "403 primary": (LIMITED, REJECTED, REJECTED),
    "403 secondary": (STILL_LIMITED, LIMITED, LIMITED),
    "403 cloudflare": (REJECTED, LIMITED, LIMITED),
    "401": (UNAUTHORIZED, UNAUTHORIZED, UNAUTHORIZED),
    "402": (UNPAID, UNPAID, UNPAID),
    "404": (NOT_FOUND, NOT_FOUND, NOT_FOUND),
    "410": (REJECTED, NOT_FOUND, NOT_FOUND),
    "422": (REJECTED, REJECTED, REJECTED),
    "empty": (INVALID, INVALID, UNKNOWN),
    "null": (INVALID, INVALID, UNKNOWN),
    "wrong shape": (INVALID, INVALID, UNKNOWN),
    "not json": (INVALID, INVALID, UNKNOWN),
    "cut body": (RETRIED, RETRIED, UNKNOWN),
    "redirect": (INVALID, INVALID, UNKNOWN),
    "1 MB": (INVALID, INVALID, UNKNOWN),
}
AFTER_GITHUB_LIE: dict[str, Outcome] = {
    "404 of GitHub": NOT_FOUND,
    "404 of a gateway": NOT_FOUND,
    "410": REJECTED,
    "200 with an empty object": INVALID,
    "200 with null": INVALID,
    "200 with an empty list": INVALID,
    "200 with an empty body": INVALID,
    "200 with a page of HTML": INVALID,
    "200 with a problem document": INVALID,
    "200 with half of a list": INVALID,
    "200 about another account": INVALID,
    "200 with numbers outside any range": INVALID,
    "204": INVALID,
    "304": INVALID,
    "301 in a circle": (InvalidResponseError, 3),
    "400": REJECTED,
    "403": REJECTED,
    "406": REJECTED,
    "422": REJECTED,
    "451": REJECTED,
    "500": SERVER_ERROR,
    "503 with a date beyond any": SERVER_ERROR,
    "body cut": RETRIED,
    "reset": RETRIED,
}
LYING_PAGE = (GistPage([], '"lie"'), 1)
# What a client cannot recognize as a lie; the run has to.
BELIEVED_OF_GITHUB: dict[str, dict[str, Outcome]] = {
    "200 with an empty list": {
        **dict.fromkeys(["first page", "changed page", "further page"], LYING_PAGE),
        "stream": (StreamPage([], 0), 1),
    },
    "304": {"changed page": (GistPage([], unchanged=True), 1)},
}
# lie: of what is read, of what is created
AFTER_PIPEDRIVE_LIE: dict[str, tuple[Outcome, Outcome]] = {
    "404 of Pipedrive": (NOT_FOUND, NOT_FOUND),
    "404 of a gateway in HTML": (INVALID, UNKNOWN),
    "404 of a gateway in JSON": (INVALID, UNKNOWN),
    "410": (NOT_FOUND, NOT_FOUND),
    "200 with an empty object": (INVALID, UNKNOWN),
    "200 with null": (INVALID, UNKNOWN),
    "200 with an empty list": (INVALID, UNKNOWN),
    "200 without data": (INVALID, UNKNOWN),
    "200 with data null": (INVALID, UNKNOWN),
    "200 with an object instead of a list": (INVALID, UNKNOWN),
    "200 with a well-formed empty list": (INVALID, UNKNOWN),
    "200 with an empty search": (INVALID, UNKNOWN),
    "200 with unreadable rows": (INVALID, UNKNOWN),
    "200 with the record of another id": (INVALID, UNKNOWN),
    "200 with a cursor in a circle": (INVALID, UNKNOWN),
    "200 without success": (REJECTED, REJECTED),
    "200 with an empty body": (INVALID, UNKNOWN),
    "200 with a page of HTML": (INVALID, UNKNOWN),
    "200 with half of a list": (INVALID, UNKNOWN),
    "204": (INVALID, UNKNOWN),
    "301 in a circle": (INVALID, UNKNOWN),
    "400": (REJECTED, REJECTED),
    "403": (REJECTED, REJECTED),
    "403 as a block": (LIMITED, LIMITED),
    "429 as a block": (LIMITED, LIMITED),
    "500": (SERVER_ERROR, UNKNOWN),
    "body cut": (RETRIED, UNKNOWN),
    "reset": (RETRIED, UNKNOWN),
    "reset after processing": (RETRIED, UNKNOWN),
}
DELETED: dict[str, Outcome] = {"delete activity": (None, 1)}  # Only its `success` is read.
NO_TYPES: dict[str, Outcome] = {"activity types": ([], 1)}
BELIEVED_OF_PIPEDRIVE: dict[str, dict[str, Outcome]] = {
    "200 without data": DELETED,
    "200 with data null": {**DELETED, **NO_TYPES, **dict.fromkeys(RECORDS, NOT_FOUND)},
    "200 with an object instead of a list": DELETED,
    "200 with a well-formed empty list": {**DELETED, **NO_TYPES, **dict.fromkeys(LISTS, ([], 1))},
    "200 with an empty search": {**DELETED, **dict.fromkeys(SEARCHES, ([], 1))},
    "200 with unreadable rows": DELETED,
    "200 with the record of another id": {
        **DELETED,
        "create person": (PipedrivePerson(999999), 1),
        "create activity": (Activity(999999), 1),
    },
    "200 with a cursor in a circle": {**DELETED, **NO_TYPES},
    "204": {**DELETED, **dict.fromkeys(RECORDS, NOT_FOUND)},
}


def try_at_github(fault: Fault, call: Call, *, over_sockets: bool = False, timing: Timing = NO_WAITS) -> Outcome:
    with GitHubStandIn(tokens=(GITHUB_TOKEN,)) as standin:
        standin.add_account("ada")
        standin.publish("ada")
        standin.over_sockets = over_sockets
        client = GitHubClient(standin.url, GITHUB_TOKEN, requests_per_minute=1_000_000, timing=timing)
        return attempt(standin, fault, lambda: call(client))


def try_at_pipedrive(
    fault: Fault, call: Call, *, over_sockets: bool = False, timing: Timing = NO_WAITS, requests: int = 0
) -> Outcome:
    """`requests`: how many are waited for, because one may arrive after its client has given up."""
    with PipedriveStandIn(tokens=(PIPEDRIVE_TOKEN,)) as standin:
        standin.add_person("Ada (@ada)")
        standin.over_sockets = over_sockets
        client = PipedriveClient(standin.url, PIPEDRIVE_TOKEN, timing=timing)
        result, _ = attempt(standin, fault, lambda: call(client))
        if requests:
            wait_until(lambda: len(standin.requests) >= requests)
        outcome = result, len(standin.requests)
        assert len(standin.activities) + len(standin.persons) + len(standin.fields) <= 2, "created twice"
        return outcome


def attempt(standin: StandIn, fault: Fault, call: Callable[[], object]) -> Outcome:
    standin.fail_always("", fault)
    try:
        return call(), len(standin.requests)
    except SyncError as error:
        message = str(error)
        assert message.startswith("GitHub" if isinstance(standin, GitHubStandIn) else "Pipedrive")
        assert not {text for text in (GITHUB_TOKEN, PIPEDRIVE_TOKEN, "per_page", "ada@example.com") if text in message}
        return type(error), len(standin.requests)


def echo(token: str) -> str:
    """A body that repeats the token, as an error of either API."""
    return json.dumps({"success": False, "error": f"no, {token}!", "message": f"no, {token}!"})


@pytest.mark.parametrize("fault", FAULTS)
def test_what_each_call_to_github_makes_of_a_fault(fault: str) -> None:
    outcomes = {name: try_at_github(FAULTS[fault](echo(GITHUB_TOKEN)), call) for name, call in GITHUB_CALLS.items()}

    assert outcomes == expect_of_github(AFTER_FAULT[fault][0])


@pytest.mark.parametrize("lie", GITHUB_LIES)
def test_what_each_call_to_github_makes_of_a_lie(lie: str) -> None:
    outcomes = {name: try_at_github(GITHUB_LIES[lie], call) for name, call in GITHUB_CALLS.items()}

    assert outcomes == {**expect_of_github(AFTER_GITHUB_LIE[lie]), **BELIEVED_OF_GITHUB.get(lie, {})}


def expect_of_github(outcome: Outcome) -> dict[str, Outcome]:
    """After server errors a page is requested once more in parts; the fifth failure shows that GitHub is down.

    A control that fails, for whatever reason, stops the requests.
    """
    expected = dict.fromkeys(GITHUB_CALLS, outcome)
    if isinstance(outcome[0], type) and not issubclass(outcome[0], CircuitOpenError):
        expected["control"] = (OutageError, outcome[1])
    if outcome == SERVER_ERROR:
        expected |= dict.fromkeys(["first page", "changed page", "further page"], OUTAGE)
    return expected


@pytest.mark.parametrize("fault", FAULTS)
def test_what_each_call_to_pipedrive_makes_of_a_fault(fault: str) -> None:
    calls = {**READS, **CREATIONS}
    outcomes = {name: try_at_pipedrive(FAULTS[fault](echo(PIPEDRIVE_TOKEN)), call) for name, call in calls.items()}

    _, of_reads, of_creations = AFTER_FAULT[fault]
    assert outcomes == {**dict.fromkeys(READS, of_reads), **dict.fromkeys(CREATIONS, of_creations)}


@pytest.mark.parametrize("lie", PIPEDRIVE_LIES)
def test_what_each_call_to_pipedrive_makes_of_a_lie(lie: str) -> None:
    calls = {**READS, **CREATIONS}
    outcomes = {name: try_at_pipedrive(PIPEDRIVE_LIES[lie], call) for name, call in calls.items()}

    of_reads, of_creations = AFTER_PIPEDRIVE_LIE[lie]
    expected = {**dict.fromkeys(READS, of_reads), **dict.fromkeys(CREATIONS, of_creations)}
    assert outcomes == {**expected, **BELIEVED_OF_PIPEDRIVE.get(lie, {})}


# --- the seam ---
SHORT = Timing(read=0.05, total=0.05, retry=0.0, burst_pause=0.0, secondary_pause=0.0)


def test_a_connection_that_is_refused_has_the_same_outcome_as_the_fault() -> None:
    client = PipedriveClient(f"http://127.0.0.1:{free_port()}", PIPEDRIVE_TOKEN, timing=NO_WAITS)

    for name, call in [("person", READS["person"]), ("create activity", CREATIONS["create activity"])]:
        with pytest.raises(SyncError, match="refused the connection") as caught:
            call(client)
        assert type(caught.value) is AFTER_FAULT["refused"][2 if name in CREATIONS else 1][0]


@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - {"refused"}))
def test_a_fault_over_a_real_connection_has_the_same_outcome(fault: str) -> None:
    sent = FAULTS[fault](echo(PIPEDRIVE_TOKEN))
    timing = SHORT if fault in ("timeout before", "timeout after", "trickle") else NO_WAITS

    for call in (READS["person"], CREATIONS["create activity"]):
        through_the_seam = try_at_pipedrive(sent, call)
        _, requests = through_the_seam
        over_sockets = try_at_pipedrive(sent, call, over_sockets=True, timing=timing, requests=requests)
        assert over_sockets == through_the_seam


@pytest.mark.parametrize("lie", GITHUB_LIES)
def test_a_lie_of_github_over_a_real_connection_has_the_same_outcome(lie: str) -> None:
    call = GITHUB_CALLS["changed page"]

    assert try_at_github(GITHUB_LIES[lie], call, over_sockets=True) == try_at_github(GITHUB_LIES[lie], call)


@pytest.mark.parametrize("lie", PIPEDRIVE_LIES)
def test_a_lie_of_pipedrive_over_a_real_connection_has_the_same_outcome(lie: str) -> None:
    sent = PIPEDRIVE_LIES[lie]

    for call in (READS["search by name"], CREATIONS["create person"]):
        assert try_at_pipedrive(sent, call, over_sockets=True) == try_at_pipedrive(sent, call)
