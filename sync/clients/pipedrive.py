"""Pipedrive's API v2: persons and activities.

Sources: https://developers.pipedrive.com/docs/api/v1/Persons and /Activities (v2 tabs),
https://pipedrive.readme.io/docs/pipedrive-api-v2-migration-guide
"""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AwareDatetime, BeforeValidator, TypeAdapter

from sync.clients.errors import InvalidResponseError, OutcomeUnknownError
from sync.clients.rate_limit import Pause, RateLimiter, SlidingWindow, parse_number
from sync.clients.transport import Api, Response, Timing

SEARCH = "search"  # the window of searches, which have a limit of their own on every plan
WINDOW_SECONDS = 2.0
WINDOW_MARGIN = 0.04  # seconds; not all requests take equally long to arrive
MIN_REQUESTS = 20  # per window on the smallest plan; responses report the account's own limit
MAX_SEARCHES = 10  # per window
MAX_LIMIT = 1000  # per window; more than any plan has
BLOCKED_PAUSE = 900.0  # seconds without requests after a block page of Cloudflare
DAILY_PAUSE = 3600.0  # seconds until it is tried again whether the daily budget was reset
PAGE_SIZE = "500"
T = TypeVar("T")


def _values(emails: Any) -> Any:
    """Lists contain e-mails as objects, searches contain plain text."""
    return [row.get("value") if isinstance(row, dict) else row for row in emails or []]


@dataclass(frozen=True)
class PipedrivePerson:
    id: int
    name: str = ""
    emails: Annotated[list[str | None], BeforeValidator(_values)] = ()  # type: ignore[assignment]
    add_time: AwareDatetime | None = None
    is_deleted: bool = False


@dataclass(frozen=True)
class Activity:
    id: int
    note: str | None = None
    add_time: AwareDatetime | None = None


@dataclass(frozen=True)
class NewActivity:
    """The body of POST /activities. Dates and times are UTC."""

    subject: str
    type: str
    done: bool
    due_date: str  # YYYY-MM-DD
    due_time: str  # HH:MM
    note: str  # HTML


@dataclass(frozen=True)
class ActivityType:
    key_string: str
    active_flag: bool = True


@dataclass(frozen=True)
class _Created:
    id: int


@dataclass(frozen=True)
class _Cursor:
    next_cursor: str | None = None


@dataclass(frozen=True)
class _One(Generic[T]):
    data: T


@dataclass(frozen=True)
class _Page(Generic[T]):
    data: list[T] | None = None
    additional_data: _Cursor | None = None


@dataclass(frozen=True)
class _Found(Generic[T]):
    item: T


@dataclass(frozen=True)
class _Items(Generic[T]):
    items: list[_Found[T]]


CREATED = TypeAdapter(_One[_Created])
PERSON = TypeAdapter(_One[PipedrivePerson])
TYPES = TypeAdapter(_One[list[ActivityType]])
PERSONS = TypeAdapter(_Page[PipedrivePerson])
ACTIVITIES = TypeAdapter(_Page[Activity])
FOUND = TypeAdapter(_One[_Items[PipedrivePerson]])


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
        self.remaining: dict[str, float | None] = {}
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
        )
        self._burst_pause = (timing or Timing()).burst_pause

    def search_persons_by_email(self, email: str) -> list[PipedrivePerson]:
        """GET /persons/search, exact e-mail in any case. The search index may lag behind by an unknown time."""
        return self._search(email, "email", exact=True)

    def search_persons_by_name(self, part: str) -> list[PipedrivePerson]:
        """GET /persons/search, by a part of the name."""
        return self._search(part, "name", exact=False)

    def iter_newest_persons(self) -> Iterator[PipedrivePerson]:
        """GET /persons, newest first. The list does not lag as the search index may."""
        return self._iter_pages("/api/v2/persons", PERSONS, {"sort_by": "add_time", "sort_direction": "desc"})

    def get_person(self, person_id: int) -> PipedrivePerson:
        """GET /persons/{id} - NotFoundError, or `is_deleted`, when it was deleted or merged into another person."""
        return self.api.get(f"/api/v2/persons/{person_id}").parse(PERSON).data

    def create_person(self, name: str, email: str = "") -> int:
        """POST /persons - returns the new person's id. OutcomeUnknownError if it may have been created."""
        body: dict[str, Any] = {"name": name}
        if email:
            body["emails"] = [{"value": email, "primary": True, "label": "work"}]
        return self._parse_created(self.api.post("/api/v2/persons", body))

    def iter_newest_activities(self, person_id: int) -> Iterator[Activity]:
        """GET /activities of a person, newest first. Deleted ones are not listed."""
        query = {"person_id": str(person_id), "sort_by": "add_time", "sort_direction": "desc"}
        return self._iter_pages("/api/v2/activities", ACTIVITIES, query)

    def iter_last_activities(self) -> Iterator[Activity]:
        """GET /activities of all persons, the highest id first. Deleted ones are not listed."""
        return self._iter_pages("/api/v2/activities", ACTIVITIES, {"sort_by": "id", "sort_direction": "desc"})

    def create_activity(self, person_id: int, activity: NewActivity, *, not_after: float | None = None) -> int:
        """POST /activities - returns the new activity's id. OutcomeUnknownError if it may have been created.

        The person is sent as the primary participant: `person_id` is read-only, contrary to the specification.
        """
        participants = [{"person_id": person_id, "primary": True}]
        body = {**vars(activity), "participants": participants}
        return self._parse_created(self.api.post("/api/v2/activities", body, not_after=not_after))

    def update_activity(self, activity_id: int, subject: str, note: str) -> None:
        """PATCH /activities/{id} - NotFoundError when it was deleted."""
        self.api.patch(f"/api/v2/activities/{activity_id}", {"subject": subject, "note": note})

    def get_activity_types(self) -> list[str]:
        """GET /v1/activityTypes (v2 has none) - returns the keys of the active ones."""
        response = self.api.get("/api/v1/activityTypes")
        return [row.key_string for row in response.parse(TYPES).data if row.active_flag]

    def _search(self, term: str, field: str, *, exact: bool) -> list[PipedrivePerson]:
        query = {"term": term, "fields": field, "exact_match": str(exact).lower(), "limit": "100"}
        found = self.api.get("/api/v2/persons/search", query, window=SEARCH).parse(FOUND)
        return [row.item for row in found.data.items]

    def _iter_pages(self, path: str, shape: TypeAdapter[_Page[T]], query: Mapping[str, str]) -> Iterator[T]:
        cursor: str | None = ""
        while cursor is not None:
            parameters = {**query, "limit": PAGE_SIZE, **({"cursor": cursor} if cursor else {})}
            page = self.api.get(path, parameters).parse(shape)
            yield from page.data or []
            cursor = (page.additional_data and page.additional_data.next_cursor) or None

    @staticmethod
    def _parse_created(response: Response) -> int:
        try:
            return response.parse(CREATED).data.id
        except InvalidResponseError as error:  # It was probably created; check before creating another.
            raise OutcomeUnknownError(str(error)) from None

    def _parse_rate_limit(self, response: Response, window: str) -> Pause | None:
        """https://pipedrive.readme.io/docs/core-api-concepts-rate-limiting - the reset is in seconds, not an epoch."""
        limit = parse_number(response.headers, "x-ratelimit-limit")
        remaining = parse_number(response.headers, "x-ratelimit-remaining")
        reset = parse_number(response.headers, "x-ratelimit-reset")
        if limit and limit >= 1:
            max_limit = MAX_SEARCHES if window == SEARCH else MAX_LIMIT
            self.api.limiter.set_limit(window, int(min(limit, max_limit)))
        if remaining is not None:
            self.remaining = {"remaining": remaining, "reset": reset}
        if response.status == 403 and "html" in response.headers.get("content-type", ""):
            return Pause(BLOCKED_PAUSE, True, "Cloudflare blocks this token for a while")
        burst_pause = min(reset or self._burst_pause, 60.0)
        retry_after = parse_number(response.headers, "retry-after")
        if response.status in (429, 503) and retry_after is not None:
            return Pause(retry_after, True, "Retry-After")
        if response.status == 429 and remaining:
            return Pause(DAILY_PAUSE, True, "the daily budget is used up")
        if response.status == 429:
            return Pause(burst_pause, True, "the two-second limit")
        return None
