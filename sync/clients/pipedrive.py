"""Pipedrive's API v2: persons and activities.

Facts and habits: https://developers.pipedrive.com/docs/api/v1/Persons and /Activities (v2 tabs),
https://pipedrive.readme.io/docs/pipedrive-api-v2-migration-guide
"""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AwareDatetime, BeforeValidator, TypeAdapter

from sync.clients.errors import InvalidResponseError, OutcomeUnknownError
from sync.clients.rate_limit import Limits, Pause, header_number
from sync.clients.transport import Answer, Api

BURST_PAUSE = 2.0  # seconds; Pipedrive counts requests in windows of two
BLOCKED_PAUSE = 900.0  # seconds to keep away after Cloudflare's page
DAILY_PAUSE = 3600.0  # seconds until the next look whether the day's budget is back
PAGE = "500"
T = TypeVar("T")


def _values(emails: Any) -> Any:
    """Lists show e-mails as objects, searches as plain text."""
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
    """What is sent to make an activity. Dates and times are UTC."""

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
class _Made:
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


MADE = TypeAdapter(_One[_Made])
PERSON = TypeAdapter(_One[PipedrivePerson])
TYPES = TypeAdapter(_One[list[ActivityType]])
PERSONS = TypeAdapter(_Page[PipedrivePerson])
ACTIVITIES = TypeAdapter(_Page[Activity])
FOUND = TypeAdapter(_One[_Items[PipedrivePerson]])


class PipedriveClient:
    """Asks Pipedrive as the user whose API token this is."""

    def __init__(
        self, base_url: str, token: str, *, concurrency: int = 8, stopping: threading.Event | None = None
    ) -> None:
        self.remaining: dict[str, float | None] = {}
        self.api = Api(
            "Pipedrive",
            base_url,
            {"x-api-token": token, "Accept": "application/json", "User-Agent": "gisttracker"},
            secrets=(token,),
            limits=Limits(),
            limits_told=self._limits_told,
            stopping=stopping,
            concurrency=concurrency,
        )

    def persons_with_email(self, email: str) -> list[PipedrivePerson]:
        """GET /persons/search, exact e-mail (case does not matter). The index may lag behind by an unknown time."""
        return self._search(email, "email", exact=True)

    def persons_with_name(self, part: str) -> list[PipedrivePerson]:
        """GET /persons/search, by a part of the name."""
        return self._search(part, "name", exact=False)

    def newest_persons(self) -> Iterator[PipedrivePerson]:
        """GET /persons, newest first; from the list itself, which does not lag as the search may."""
        return self._pages("/api/v2/persons", PERSONS, {"sort_by": "add_time", "sort_direction": "desc"})

    def person(self, person_id: int) -> PipedrivePerson:
        """GET /persons/{id} - NotFoundError, or `is_deleted`, when it was deleted or merged into another."""
        return self.api.get(f"/api/v2/persons/{person_id}").read(PERSON).data

    def create_person(self, name: str, email: str = "") -> int:
        """POST /persons - the new person's id. OutcomeUnknownError if nobody knows whether it was made."""
        body: dict[str, Any] = {"name": name}
        if email:
            body["emails"] = [{"value": email, "primary": True, "label": "work"}]
        return self._made(self.api.post("/api/v2/persons", body))

    def newest_activities(self, person_id: int) -> Iterator[Activity]:
        """GET /activities of a person, newest first. Deleted ones are not listed."""
        query = {"person_id": str(person_id), "sort_by": "add_time", "sort_direction": "desc"}
        return self._pages("/api/v2/activities", ACTIVITIES, query)

    def create_activity(self, person_id: int, activity: NewActivity, *, not_after: float | None = None) -> int:
        """POST /activities - the new activity's id. OutcomeUnknownError if nobody knows whether it was made.

        The person goes in as the primary participant: `person_id` is read-only, whatever the specification says.
        """
        participants = [{"person_id": person_id, "primary": True}]
        body = {**vars(activity), "participants": participants}
        return self._made(self.api.post("/api/v2/activities", body, not_after=not_after))

    def edit_activity(self, activity_id: int, subject: str, note: str) -> None:
        """PATCH /activities/{id} - NotFoundError when somebody deleted it."""
        self.api.patch(f"/api/v2/activities/{activity_id}", {"subject": subject, "note": note})

    def activity_types(self) -> list[str]:
        """GET /v1/activityTypes (v2 has none) - the keys of those that may be used."""
        return [one.key_string for one in self.api.get("/api/v1/activityTypes").read(TYPES).data if one.active_flag]

    def _search(self, term: str, field: str, *, exact: bool) -> list[PipedrivePerson]:
        query = {"term": term, "fields": field, "exact_match": str(exact).lower(), "limit": "100"}
        found = self.api.get("/api/v2/persons/search", query).read(FOUND)
        return [row.item for row in found.data.items]

    def _pages(self, path: str, shape: TypeAdapter[_Page[T]], query: Mapping[str, str]) -> Iterator[T]:
        cursor: str | None = ""
        while cursor is not None:
            page = self.api.get(path, {**query, "limit": PAGE, **({"cursor": cursor} if cursor else {})}).read(shape)
            yield from page.data or []
            cursor = (page.additional_data and page.additional_data.next_cursor) or None

    @staticmethod
    def _made(answer: Answer) -> int:
        try:
            return answer.read(MADE).data.id
        except InvalidResponseError as error:  # It was probably made; ask before making another.
            raise OutcomeUnknownError(str(error)) from None

    def _limits_told(self, answer: Answer) -> Pause | None:
        """https://pipedrive.readme.io/docs/core-api-concepts-rate-limiting - the reset is seconds, not an epoch."""
        remaining = header_number(answer.headers, "x-ratelimit-remaining")
        reset = header_number(answer.headers, "x-ratelimit-reset")
        if remaining is not None:
            self.remaining = {"remaining": remaining, "reset": reset}
        window = min(reset or BURST_PAUSE, 60.0)
        if answer.status == 403 and "html" in answer.headers.get("content-type", ""):
            return Pause(BLOCKED_PAUSE, True, "Cloudflare blocks this token for a while")
        if answer.status in (429, 503):
            told = header_number(answer.headers, "retry-after")
            if told is not None:
                return Pause(told, True, "its retry-after")
        if answer.status == 429:
            if remaining:
                return Pause(DAILY_PAUSE, True, "the day's budget is used up")
            return Pause(window, True, "its two-second limit")
        return Pause(window, False, "its two-second limit") if remaining == 0 else None
