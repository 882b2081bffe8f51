"""What Pipedrive returns: typed records, read strictly where a verdict depends on them.

A list is a list only if `success` is a boolean and `data` is a list; a record only if `data` is an object with an id.
Parts of a record that are not as documented are left out, so that one odd value does not hide the record.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AwareDatetime,
    BeforeValidator,
    Field,
    OnErrorOmit,
    StrictBool,
    TypeAdapter,
    ValidationError,
    WrapValidator,
)

T = TypeVar("T")
MAX_ID = 2**63 - 1


def _none_if_invalid(value: Any, validate: Callable[[Any], Any]) -> Any:
    try:
        return validate(value)
    except ValidationError:
        return None


def _values(emails: Any) -> Any:
    """Lists contain e-mails as objects, searches contain plain text."""
    rows = emails if isinstance(emails, list) else []
    values = [row.get("value") if isinstance(row, dict) else row for row in rows]
    return [value for value in values if isinstance(value, str)]


def _primary_participant(participants: Any) -> Any:
    """The person of the primary participant; some responses call the flag `primary_flag`."""
    for row in participants if isinstance(participants, list) else []:
        if isinstance(row, dict) and (row.get("primary") or row.get("primary_flag")):
            return row.get("person_id")
    return None


Optional = WrapValidator(_none_if_invalid)
Id = Annotated[int, Field(ge=1, le=MAX_ID)]
OptionalId = Annotated[Id | None, Optional]
Text = Annotated[str | None, Optional]
Moment = Annotated[AwareDatetime | None, Optional]
Flag = Annotated[StrictBool | None, Optional]


@dataclass(frozen=True)
class PipedrivePerson:
    """`activities_count` is present only when it was requested."""

    id: Id
    name: Text = ""
    emails: Annotated[list[str], BeforeValidator(_values)] = field(default_factory=list)
    add_time: Moment = None
    is_deleted: Flag = False
    owner_id: OptionalId = None
    custom_fields: Annotated[dict[str, Any] | None, Optional] = None
    activities_count: Annotated[int | None, Optional] = None


@dataclass(frozen=True)
class Activity:
    """An activity. `due_date` is YYYY-MM-DD, `due_time` HH:MM or HH:MM:SS, in UTC; `note` is HTML."""

    id: Id
    subject: Text = None
    note: Text = None
    due_date: Text = None
    due_time: Text = None
    add_time: Moment = None
    update_time: Moment = None
    person_id: OptionalId = None
    participant_id: Annotated[OptionalId, BeforeValidator(_primary_participant), Field(alias="participants")] = None
    is_deleted: Flag = False

    @property
    def filed_under(self) -> int | None:
        """The id of its person. None if the response names none."""
        return self.person_id or self.participant_id


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
class PersonField:
    """A field of persons. `field_code` is its key in `custom_fields`; `field_type` such as varchar or double."""

    field_code: str
    field_name: Text = ""
    field_type: Text = None


@dataclass(frozen=True)
class CurrentUser:
    """The user of the token. `company_domain` is the part before .pipedrive.com."""

    id: Id
    name: Text = ""
    company_name: Text = ""
    company_domain: Text = ""


@dataclass(frozen=True)
class One(Generic[T]):
    success: StrictBool  # true; the client raises RejectedError for false
    data: T | None


@dataclass(frozen=True)
class Cursor:
    next_cursor: str | None = None


@dataclass(frozen=True)
class FoundItems:
    items: list[Any]


@dataclass(frozen=True)
class Page(Generic[T]):
    """A page of a list, or of found items. Each row is still to be read."""

    success: StrictBool  # true; the client raises RejectedError for false
    data: T
    additional_data: Cursor | None = None


ONE_PERSON = TypeAdapter(One[PipedrivePerson])
ONE_ACTIVITY = TypeAdapter(One[Activity])
ONE_FIELD = TypeAdapter(One[PersonField])
PERSONS = TypeAdapter(list[OnErrorOmit[PipedrivePerson]])  # A row that cannot be read is left out.
ACTIVITIES = TypeAdapter(list[OnErrorOmit[Activity]])
FIELDS = TypeAdapter(list[OnErrorOmit[PersonField]])
TYPES = TypeAdapter(One[list[ActivityType]])
ONE_USER = TypeAdapter(One[CurrentUser])
PERMISSIONS = TypeAdapter(One[dict[str, Any]])
PAGE = TypeAdapter(Page[list[Any]])
SEARCH_PAGE = TypeAdapter(Page[FoundItems])
