"""What Pipedrive's responses mean, and what they do not."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests_mock

from sync.clients.boot_clock import boot_clock
from sync.clients.errors import (
    CircuitOpenError,
    ConfigurationError,
    InvalidResponseError,
    NotFoundError,
    OutcomeUnknownError,
    RejectedError,
    SyncError,
)
from sync.clients.pipedrive import MAX_PAGES, PipedriveClient
from sync.clients.pipedrive_records import NewActivity
from sync.clients.transport import Timing

URL = "https://pipedrive.test"
ACTIVITIES = f"{URL}/api/v2/activities"
PERSONS = f"{URL}/api/v2/persons"
ACTIVITY = NewActivity("Notes", "task", True, "2026-01-01", "12:00", "<p>Notes</p>")
PERSON = {"id": 7, "name": "Ada"}


@pytest.fixture
def http() -> Iterator[requests_mock.Mocker]:
    with requests_mock.Mocker() as mocker:
        yield mocker


@pytest.fixture
def client() -> PipedriveClient:
    return PipedriveClient(URL, "pd-secret", timing=Timing(retry=0.0, burst_pause=0.0))


def own(data: Any, **others: Any) -> dict[str, Any]:
    return {"success": True, "data": data, **others}


# --- requests ---
def test_an_activity_is_sent_as_pipedrive_documents_it(http: requests_mock.Mocker, client: PipedriveClient) -> None:
    data = {"id": 9, "x": 1, "participants": [{"person_id": 7, "primary_flag": True}]}
    http.post(ACTIVITIES, status_code=201, json=own(data))

    activity = client.create_activity(7, ACTIVITY, owner_id=3)

    sent = http.request_history[-1]
    assert (activity.id, activity.filed_under) == (9, 7)
    assert (sent.headers["x-api-token"], sent.qs) == ("pd-secret", {})
    assert json.loads(sent.body) == {
        "subject": "Notes",
        "type": "task",
        "done": True,
        "due_date": "2026-01-01",
        "due_time": "12:00",
        "note": "<p>Notes</p>",
        "owner_id": 3,
        "participants": [{"person_id": 7, "primary": True}],
    }


def test_the_list_of_all_activities_is_asked_for_in_utc_without_fractions(
    http: requests_mock.Mocker, client: PipedriveClient
) -> None:
    http.get(ACTIVITIES, json=own([]))

    list(client.iter_last_activities(datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)))

    assert http.request_history[-1].qs["updated_since"] == ["2026-01-02t03:04:05z"]


def test_searches_are_read_to_the_last_page(http: requests_mock.Mocker, client: PipedriveClient) -> None:
    pages = [
        {"json": own({"items": [{"item": {**PERSON, "emails": ["a@x.test"]}}]}, additional_data={"next_cursor": "c2"})},
        {"json": own({"items": [{"result_score": 1, "item": {"id": 8, "name": "Ben"}}]})},
    ]
    http.get(f"{PERSONS}/search", pages)
    http.get(f"{URL}/api/v2/itemSearch/field", json=own([{"id": 3, "name": "x"}, {"item": {"id": 4}}]))

    assert [person.id for person in client.search_persons_by_email("a@x.test")] == [7, 8]
    assert client.search_persons_by_field("f1", "7") == [3, 4]


# --- lists ---
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"success": True},
        {"success": True, "data": None},
        {"success": True, "data": {}},
        {"success": True, "data": "none"},
        {"success": "true", "data": []},
        {"success": 1, "data": []},
        {"success": None, "data": []},
        {"data": []},
        {"success": True, "data": [{"odd": 1}, 7, None]},
        {"success": True, "data": [], "additional_data": {"next_cursor": "c2"}},
        {"success": True, "data": [], "additional_data": []},
        {"success": True, "data": [], "additional_data": {"next_cursor": 7}},
    ],
    ids=str,
)
def test_what_is_no_list_raises(body: Any, http: requests_mock.Mocker, client: PipedriveClient) -> None:
    http.get(ACTIVITIES, json=body)

    with pytest.raises(InvalidResponseError):
        list(client.iter_newest_activities(7))


def test_one_odd_row_is_left_out(http: requests_mock.Mocker, client: PipedriveClient) -> None:
    rows = [{"id": 3, "note": 7, "add_time": "soon"}, {"id": "x"}, None, {"id": 2**70}, {"id": 1, "note": "a"}]
    http.get(ACTIVITIES, json=own(rows))

    assert [(row.id, row.note) for row in client.iter_newest_activities(7)] == [(3, None), (1, "a")]


def page(rows: list[int], cursor: str | None) -> dict[str, Any]:
    return {"json": own([{"id": number} for number in rows], additional_data={"next_cursor": cursor})}


@pytest.mark.parametrize(
    "pages",
    [
        [page([9], "c1"), page([8], "c1"), page([7], None)],
        [page([9], "c1"), page([9], "c2"), page([8], None)],
        [page([9], "c1"), page([], "c2"), page([8], None)],
        [page([9], "c1"), page([10], None)],
        [page([8, 9], None)],
    ],
    ids=["a cursor repeats", "rows repeat", "an empty page continues", "the order is wrong", "the rows are not sorted"],
)
def test_a_list_that_repeats_or_is_not_sorted_raises(
    pages: list[dict[str, Any]], http: requests_mock.Mocker, client: PipedriveClient
) -> None:
    http.get(ACTIVITIES, pages)

    with pytest.raises(InvalidResponseError):
        list(client.iter_last_activities())


def test_a_list_that_does_not_end_is_not_read_for_ever(http: requests_mock.Mocker, client: PipedriveClient) -> None:
    ids = iter(range(10**6, 0, -1))
    client.api.limiter.set_limit("general", 1000)
    http.get(ACTIVITIES, json=lambda *_: page([next(ids)], f"c{next(ids)}")["json"])

    with pytest.raises(InvalidResponseError, match="do not end"):
        list(client.iter_last_activities())

    assert http.call_count == MAX_PAGES + 1


# --- single records ---
@pytest.mark.parametrize(
    ("response", "error"),
    [
        ({"status_code": 204}, NotFoundError),
        ({"json": own(None)}, NotFoundError),
        ({"status_code": 404, "json": {"success": False, "error": "Not found"}}, NotFoundError),
        ({"status_code": 410, "json": {"success": False, "error": "Gone"}}, NotFoundError),
        ({"json": {"success": False, "error": "no"}}, RejectedError),
        ({"json": own({"id": 8})}, InvalidResponseError),
        ({"json": own({})}, InvalidResponseError),
        ({"json": own([])}, InvalidResponseError),
        ({"json": own([PERSON])}, InvalidResponseError),
        ({"json": {"data": PERSON}}, InvalidResponseError),
        ({"status_code": 404, "json": {"message": "no Route matched"}}, InvalidResponseError),
        ({"status_code": 404, "text": "<html>"}, InvalidResponseError),
        ({"status_code": 302, "headers": {"location": "/login"}}, InvalidResponseError),
        ({"text": "<html>Welcome"}, InvalidResponseError),
    ],
    ids=str,
)
def test_what_means_that_a_record_does_not_exist(
    response: dict[str, Any], error: type[SyncError], http: requests_mock.Mocker, client: PipedriveClient
) -> None:
    http.get(f"{PERSONS}/7", **response)

    with pytest.raises(SyncError) as caught:
        client.get_person(7)

    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"success": False, "error": "a field is required"}, RejectedError),
        ({"success": False}, RejectedError),
        (own(None), OutcomeUnknownError),
        (own({}), OutcomeUnknownError),
        ({"data": {"id": 1}}, OutcomeUnknownError),
    ],
    ids=str,
)
def test_a_post_that_succeeds_without_an_activity(
    body: Any, error: type[SyncError], http: requests_mock.Mocker, client: PipedriveClient
) -> None:
    http.post(ACTIVITIES, json=body)

    with pytest.raises(SyncError) as caught:
        client.create_activity(7, ACTIVITY)

    assert type(caught.value) is error


# --- blocks ---
BODIES: dict[str, dict[str, Any]] = {
    "html": {"text": "<html>Sorry, you have been blocked", "headers": {"content-type": "text/html"}},
    "text": {"text": "error code: 1015", "headers": {"content-type": "text/plain"}},
    "json": {"json": {"type": "https://developers.cloudflare.com", "status": 429, "retry_after": 120}},
    "json list": {"json": [1015]},
    "other json": {"json": {"error": "Access denied", "error_code": 1015}},
    "nothing": {"text": ""},
}


@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize("body", BODIES)
def test_a_block_in_any_form_stops_at_once(
    body: str, status: int, http: requests_mock.Mocker, client: PipedriveClient
) -> None:
    http.get(ACTIVITIES, status_code=status, **BODIES[body])
    before = boot_clock()

    for _ in range(2):
        with pytest.raises(CircuitOpenError, match="Cloudflare"):
            list(client.iter_newest_activities(7))

    assert http.call_count == 1
    assert client.long_pause is not None
    seconds = 120 if body == "json" else 900
    assert client.long_pause.until == pytest.approx(before + seconds, abs=30)


@pytest.mark.parametrize("status", [403, 404, 429])
def test_pipedrive_s_own_refusal_is_no_block(status: int, http: requests_mock.Mocker, client: PipedriveClient) -> None:
    http.get(ACTIVITIES, status_code=status, json={"success": False, "error": "no"})

    with pytest.raises((RejectedError, CircuitOpenError)):
        list(client.iter_newest_activities(7))

    assert client.long_pause is None


@pytest.mark.parametrize("body", ["", "<html>", "null", "{}"])
def test_an_unclear_response_to_a_post_is_never_a_refusal(
    body: str, http: requests_mock.Mocker, client: PipedriveClient
) -> None:
    """Also not the third one, which opens the circuit: the activity may exist."""
    http.post(ACTIVITIES, status_code=201, text=body)
    for _ in range(3):
        with pytest.raises(OutcomeUnknownError):
            client.create_activity(7, ACTIVITY)

    with pytest.raises(ConfigurationError):
        client.create_activity(7, ACTIVITY)
    assert http.call_count == 3


def test_the_daily_counter_of_writing_requests_is_respected(
    http: requests_mock.Mocker, client: PipedriveClient
) -> None:
    http.get(ACTIVITIES, json=own([]), headers={"x-daily-requests-left": "0"})
    http.post(ACTIVITIES, json=own({"id": 1}), headers={"x-daily-requests-left": "0"})
    list(client.iter_newest_activities(7))
    assert client.long_pause is None

    assert client.create_activity(7, ACTIVITY).id == 1

    with pytest.raises(CircuitOpenError, match="daily number"):
        client.create_activity(7, ACTIVITY)
    assert client.long_pause is not None


@pytest.mark.parametrize(
    "response",
    [
        {"text": "<html>Welcome"},
        {"json": {"hello": "world"}},
        {"status_code": 301, "headers": {"location": "https://pipedrive.com/"}},
        {"status_code": 404, "text": "Not Found"},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "call",
    [
        lambda client, number: list(client.iter_newest_activities(number)),
        lambda client, number: client.get_person(number),
        lambda client, number: client.search_persons_by_email("a@x.test"),
        lambda client, number: client.get_activity_types(),
    ],
    ids=["list", "record", "search", "types"],
)
def test_responses_of_another_service_name_the_setting(
    call: Callable[[PipedriveClient, int], object],
    response: dict[str, Any],
    http: requests_mock.Mocker,
    client: PipedriveClient,
) -> None:
    http.get(requests_mock.ANY, **response)
    errors = []
    for number in range(1, 5):
        with pytest.raises(SyncError, match="check PIPEDRIVE_API_URL") as caught:
            call(client, number)
        errors.append(type(caught.value))

    assert errors == [InvalidResponseError, InvalidResponseError, ConfigurationError, ConfigurationError]
    assert http.call_count == 3


# --- the second page ---
PAGED: dict[str, tuple[str, Callable[[PipedriveClient], list[int]]]] = {
    "activities of a person": (ACTIVITIES, lambda client: [row.id for row in client.iter_newest_activities(7)]),
    "last activities": (ACTIVITIES, lambda client: [row.id for row in client.iter_last_activities()]),
    "newest persons": (PERSONS, lambda client: [row.id for row in client.iter_newest_persons()]),
}


@pytest.mark.parametrize("name", PAGED)
def test_the_second_page_is_requested_with_the_cursor_and_the_same_query(
    name: str, http: requests_mock.Mocker, client: PipedriveClient
) -> None:
    url, read = PAGED[name]
    pages = [own([{"id": 3}, {"id": 2}], additional_data={"next_cursor": "c2"}), own([{"id": 1}])]
    http.get(url, [{"json": page} for page in pages])

    assert read(client) == [3, 2, 1]

    first, second = (request.qs for request in http.request_history)
    assert second == {**first, "cursor": ["c2"]}


@pytest.mark.parametrize("name", PAGED)
def test_a_refusal_with_status_200_is_no_empty_list(
    name: str, http: requests_mock.Mocker, client: PipedriveClient
) -> None:
    url, read = PAGED[name]
    http.get(url, json={"success": False, "error": "try later", "data": []})

    with pytest.raises(RejectedError, match="try later"):
        read(client)


@pytest.mark.parametrize(("extra", "is_read"), [(0, True), (1, False)])
def test_a_list_is_read_up_to_a_number_of_pages(
    extra: int, is_read: bool, http: requests_mock.Mocker, client: PipedriveClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync.clients.pipedrive.MAX_PAGES", 2)
    count = 3 + extra
    cursors = [{"next_cursor": f"c{number}"} for number in range(1, count)]
    pages = [own([{"id": count - number}], additional_data=cursor) for number, cursor in enumerate([*cursors, None])]
    http.get(PERSONS, [{"json": page} for page in pages])

    if is_read:
        assert len(list(client.iter_newest_persons())) == count
    else:
        with pytest.raises(InvalidResponseError, match="do not end"):
            list(client.iter_newest_persons())
