"""Pipedrive's API v2: persons, their fields, and activities.

Sources: https://developers.pipedrive.com/docs/api/v1/Persons, /PersonFields and /Activities (v2 tabs),
https://pipedrive.readme.io/docs/pipedrive-api-v2-migration-guide

Lists are read to their end, or as far as the caller wants: a list that repeats, does not end or is not in the requested
order raises InvalidResponseError, so that nothing is concluded from it.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import TypeAdapter

from sync.clients.boot_clock import boot_clock
from sync.clients.errors import InvalidResponseError, NotFoundError, OutcomeUnknownError, RejectedError
from sync.clients.pipedrive_limits import (
    DailyTokens,
    find_long_pause,
    find_short_pause,
    is_own,
    json_object,
    read_daily_tokens,
)
from sync.clients.pipedrive_records import (
    ACTIVITIES,
    FIELDS,
    ONE_ACTIVITY,
    ONE_FIELD,
    ONE_PERSON,
    ONE_USER,
    PAGE,
    PERMISSIONS,
    PERSONS,
    SEARCH_PAGE,
    TYPES,
    Activity,
    CurrentUser,
    NewActivity,
    One,
    PersonField,
    PipedrivePerson,
)
from sync.clients.rate_limit import Pause, RateLimiter, SlidingWindow, parse_number
from sync.clients.transport import Api, Response, Timing

SEARCH = "search"  # the window of searches, which have a limit of their own on every plan
WINDOW_SECONDS = 2.0
WINDOW_MARGIN = 0.04  # seconds; not all requests take equally long to arrive
MIN_REQUESTS = 20  # per window on the smallest plan; responses report the account's own limit
MAX_SEARCHES = 10  # per window
MAX_LIMIT = 1000  # per window; more than any plan has
PAGE_SIZE = 500
SEARCH_PAGE_SIZE = 100
MAX_PAGES = 200  # of one list, 100,000 rows; more are never needed
# API tokens of the requests of a first push. The daily budget of a company is 30,000 times the factor of its plan for
# each seat.
# Source: `x-token-cost` in Pipedrive's OpenAPI specification.
TOKENS = {"get_activity_types": 20, "list": 10, "search": 20, "get": 1, "create": 5}
T = TypeVar("T")


@dataclass(frozen=True)
class LongPause:
    """A pause that outlasts the run. `until` is a time of `boot_clock()`."""

    until: float
    reason: str


class PipedriveClient:
    """Calls Pipedrive as the user who owns the API token."""

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        concurrency: int = 8,
        stopping: threading.Event | None = None,
        timing: Timing | None = None,
    ) -> None:
        self.daily_tokens: DailyTokens | None = None
        self.long_pause: LongPause | None = None
        period = WINDOW_SECONDS + WINDOW_MARGIN
        self.api = Api(
            "Pipedrive",
            base_url,
            {"x-api-token": token, "Accept": "application/json", "User-Agent": "gisttracker"},
            secrets=(token,),
            limiter=RateLimiter(SlidingWindow(MIN_REQUESTS, period), {SEARCH: SlidingWindow(MAX_SEARCHES, period)}),
            parse_rate_limit=self._parse_rate_limit,
            stopping=stopping,
            concurrency=concurrency,
            timing=timing,
            probe_path="/api/v1/users/me",  # 2 API tokens
            is_own=is_own,
            follows_redirects=False,
        )
        self._burst_pause = (timing or Timing()).burst_pause

    # --- persons ---
    @property
    def request_count(self) -> int:
        return self.api.request_count

    def search_persons_by_email(self, email: str) -> list[PipedrivePerson]:
        """GET /persons/search, exact e-mail in any case. The search index may lag behind by an unknown time."""
        return self._search("/api/v2/persons/search", {"term": email, "fields": "email", "exact_match": "true"})

    def search_persons_by_name(self, part: str) -> list[PipedrivePerson]:
        """GET /persons/search, by a part of the name."""
        return self._search("/api/v2/persons/search", {"term": part, "fields": "name", "exact_match": "false"})

    def search_persons_by_field(self, key: str, value: str) -> list[int]:
        """GET /itemSearch/field - the ids of the persons whose custom field has exactly this value."""
        query = {"term": value, "entity_type": "person", "field": key, "match": "exact"}
        return [person.id for person in self._search("/api/v2/itemSearch/field", query)]

    def iter_newest_persons(self) -> Iterator[PipedrivePerson]:
        """GET /persons, newest first. The list does not lag as the search index may."""
        query = {"sort_by": "add_time", "sort_direction": "desc"}
        return self._iter_rows("/api/v2/persons", PERSONS, query, lambda person: person.add_time)

    def get_person(self, person_id: int, *, count_activities: bool = False) -> PipedrivePerson:
        """GET /persons/{id} - `is_deleted` when it was deleted or merged into another person.

        NotFoundError when Pipedrive has no such person, or does not show it to the token's user.
        """
        query = {"include_fields": "activities_count"} if count_activities else None
        return self._read_one(self.api.get(f"/api/v2/persons/{person_id}", query), ONE_PERSON, person_id)

    def create_person(
        self,
        name: str,
        email: str = "",
        *,
        custom_fields: Mapping[str, str] | None = None,
        subject: str = "",
        not_after: float | None = None,
    ) -> PipedrivePerson:
        """POST /persons - returns the new person. OutcomeUnknownError if it may have been created."""
        body: dict[str, Any] = {"name": name}
        if email:
            body["emails"] = [{"value": email, "primary": True, "label": "work"}]
        if custom_fields:
            body["custom_fields"] = dict(custom_fields)
        return self._read_created(
            self.api.post("/api/v2/persons", body, subject=subject, not_after=not_after), ONE_PERSON
        )

    def set_custom_field(self, person_id: int, key: str, value: str) -> None:
        """PATCH /persons/{id} - NotFoundError as in `get_person`."""
        response = self.api.patch(f"/api/v2/persons/{person_id}", {"custom_fields": {key: value}})
        self._read_one(response, ONE_PERSON, person_id)

    # --- fields of persons ---
    def get_person_fields(self) -> list[PersonField]:
        """GET /personFields - all of them, standard and custom ones."""
        return list(self._iter_rows("/api/v2/personFields", FIELDS, {}))

    def create_person_field(self, name: str) -> PersonField:
        """POST /personFields - a text field. RejectedError with status 403 when the plan allows no further field."""
        body = {"field_name": name, "field_type": "varchar"}
        return self._read_created(self.api.post("/api/v2/personFields", body), ONE_FIELD)

    # --- activities ---
    def iter_newest_activities(self, person_id: int) -> Iterator[Activity]:
        """GET /activities of a person, newest first. Deleted ones are not listed."""
        query = {"person_id": str(person_id), "sort_by": "add_time", "sort_direction": "desc"}
        return self._iter_rows("/api/v2/activities", ACTIVITIES, query, lambda activity: activity.add_time)

    def iter_last_activities(self, updated_since: datetime | None = None) -> Iterator[Activity]:
        """GET /activities of all persons, the highest id first. Deleted ones are not listed."""
        query = {"sort_by": "id", "sort_direction": "desc"}
        if updated_since:
            query["updated_since"] = f"{updated_since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"  # without fractions
        return self._iter_rows("/api/v2/activities", ACTIVITIES, query, lambda activity: activity.id)

    def get_activity(self, activity_id: int) -> Activity:
        """GET /activities/{id} - `is_deleted` for 30 days after it was deleted. NotFoundError as in `get_person`."""
        return self._read_one(self.api.get(f"/api/v2/activities/{activity_id}"), ONE_ACTIVITY, activity_id)

    def create_activity(
        self, person_id: int, activity: NewActivity, *, owner_id: int | None = None, not_after: float | None = None
    ) -> Activity:
        """POST /activities - returns the new activity. OutcomeUnknownError if it may have been created.

        The person is sent as the primary participant: `person_id` is read-only, contrary to the specification.
        Without `owner_id` it belongs to the token's user.
        """
        participants = [{"person_id": person_id, "primary": True}]
        owner = {} if owner_id is None else {"owner_id": owner_id}
        body = {**vars(activity), **owner, "participants": participants}
        response = self.api.post("/api/v2/activities", body, subject=str(person_id), not_after=not_after)
        return self._read_created(response, ONE_ACTIVITY)

    def update_activity(self, activity_id: int, subject: str, note: str) -> Activity:
        """PATCH /activities/{id} - NotFoundError as in `get_person`."""
        response = self.api.patch(f"/api/v2/activities/{activity_id}", {"subject": subject, "note": note})
        return self._read_one(response, ONE_ACTIVITY, activity_id)

    def delete_activity(self, activity_id: int) -> None:
        """DELETE /activities/{id}."""
        self._check_success(self.api.delete(f"/api/v2/activities/{activity_id}"))

    def get_activity_types(self) -> list[str]:
        """GET /v1/activityTypes (v2 has none) - returns the keys of the active ones."""
        types = self._read(self.api.get("/api/v1/activityTypes"), TYPES).data
        return [row.key_string for row in types or [] if row.active_flag]

    # --- the token's user ---
    def get_current_user(self) -> CurrentUser:
        """GET /v1/users/me (v2 has none) - 2 API tokens."""
        response = self.api.get("/api/v1/users/me")
        user = self._read(response, ONE_USER).data
        if user is None:
            raise InvalidResponseError(f"{response.call} returned {response.status} without a user")
        return user

    def get_permissions(self, user_id: int) -> dict[str, bool]:
        """GET /v1/users/{id}/permissions (v2 has none) - of all permission sets of the user.

        None of them is certain to be there. https://developers.pipedrive.com/docs/api/v1/Users#getUserPermissions;
        `can_add_people` is in the changelog of 21 June 2023 only.
        """
        permissions = self._read(self.api.get(f"/api/v1/users/{user_id}/permissions"), PERMISSIONS).data or {}
        return {name: allowed for name, allowed in permissions.items() if isinstance(allowed, bool)}

    # --- reading ---
    def _search(self, path: str, query: Mapping[str, str]) -> list[PipedrivePerson]:
        pages = self._iter_pages(path, query, SEARCH_PAGE_SIZE, window=SEARCH)
        # Searches wrap each row in `item`; the example of a search by field does not.
        items = [row.get("item", row) if isinstance(row, dict) else row for rows in pages for row in rows]
        return _read_rows(items, PERSONS, "Pipedrive's search")

    def _iter_rows(
        self,
        path: str,
        shape: TypeAdapter[list[T]],
        query: Mapping[str, str],
        sort_key: Callable[[T], Any] = lambda row: None,
    ) -> Iterator[T]:
        """The readable rows of a list. `sort_key` must not grow from row to row; None is not compared."""
        last = None
        for rows in self._iter_pages(path, query, PAGE_SIZE):
            for row in _read_rows(rows, shape, f"Pipedrive GET {path}"):
                key = sort_key(row)
                if None not in (key, last) and key > last:
                    raise InvalidResponseError(f"Pipedrive GET {path}: the rows are not in the requested order")
                last = last if key is None else key
                yield row

    def _iter_pages(
        self, path: str, query: Mapping[str, str], page_size: int, *, window: str = "general"
    ) -> Iterator[list[Any]]:
        """The rows of each page. InvalidResponseError when the cursors repeat, bring nothing new or do not end."""
        shape: TypeAdapter[Any] = SEARCH_PAGE if path.endswith("/persons/search") else PAGE
        cursors: set[str] = set()
        seen: set[str] = set()
        parameters = {**query, "limit": str(page_size)}
        while True:
            page = self._read(self.api.get(path, parameters, window=window), shape)
            rows = page.data if isinstance(page.data, list) else page.data.items
            new = {json.dumps(row.get("id", row) if isinstance(row, dict) else row) for row in rows} - seen
            cursor = page.additional_data.next_cursor if page.additional_data else None
            if cursor and (cursor in cursors or not new or len(cursors) >= MAX_PAGES):
                raise InvalidResponseError(f"Pipedrive GET {path}: the pages of the list repeat or do not end")
            yield rows
            if not cursor:
                return
            cursors.add(cursor)
            seen |= new
            parameters["cursor"] = cursor

    def _read_one(self, response: Response, shape: TypeAdapter[One[T]], record_id: int) -> T:
        """The record with this id. 204, and `data: null`, mean that it was not found."""
        record = None if response.status == 204 else self._read(response, shape).data
        if record is None:
            raise NotFoundError(f"{response.call} returned {response.status} without a record", response.status)
        if getattr(record, "id", record_id) != record_id:
            raise InvalidResponseError(f"{response.call} returned the record of another id")
        return record

    def _read(self, response: Response, shape: TypeAdapter[T]) -> T:
        self._check_success(response)
        return response.parse(shape)

    def _check_success(self, response: Response) -> None:
        """`success: false` is a refusal, whatever the status."""
        body = json_object(response)
        if body and body.get("success") is False:
            raise RejectedError(f"{response.call} refused: {self.api.excerpt(response)}", response.status)

    def _read_created(self, response: Response, shape: TypeAdapter[One[T]]) -> T:
        self._check_success(response)
        try:
            record = response.parse(shape).data
        except InvalidResponseError as error:  # It was probably created; check before creating another.
            raise OutcomeUnknownError(str(error)) from None
        if record is None:
            raise OutcomeUnknownError(f"{response.call} returned {response.status} without a record")
        return record

    # --- limits ---
    def _parse_rate_limit(self, response: Response, window: str) -> Pause | None:
        """Note the limits that a response reports; returns the pause that it orders."""
        tokens = read_daily_tokens(response)
        self.daily_tokens = tokens or self.daily_tokens
        limit = parse_number(response.headers, "x-ratelimit-limit")
        if limit and limit >= 1:
            max_limit = MAX_SEARCHES if window == SEARCH else MAX_LIMIT
            self.api.limiter.set_limit(window, int(min(limit, max_limit)))
        pause = find_long_pause(response, tokens)
        if pause:
            self.long_pause = LongPause(boot_clock() + pause.seconds, pause.reason)
        return pause or find_short_pause(response, self._burst_pause)


def _read_rows(rows: list[Any], shape: TypeAdapter[list[T]], source: str) -> list[T]:
    """The rows that can be read. InvalidResponseError if that is none of them."""
    readable = shape.validate_python(rows)
    if rows and not readable:
        raise InvalidResponseError(f"{source}: none of {len(rows)} rows can be read")
    return readable
