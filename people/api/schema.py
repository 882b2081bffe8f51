"""The OpenAPI description: one decorator per operation of people and gists. openapi.py adds what they share."""

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.settings import spectacular_settings
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema

from gisttracker.common.error_codes import ErrorCode
from people.api import schema_examples as examples
from people.api.authentication import ApiKeyAuthentication, StaffSessionAuthentication
from people.api.export import FORMATS
from people.api.openapi import PAGE_EXAMPLE
from people.api.schema_errors import errors
from people.api.serializers import (
    CHOSEN_STATES,
    Access,
    AcknowledgementSerializer,
    BulkReportSerializer,
    FeedMarkerSerializer,
    FeedQuerySerializer,
    FeedSerializer,
    GistSerializer,
    MeSerializer,
    NewPersonSerializer,
    PersonChangesSerializer,
    PersonSerializer,
    PersonWithGistsSerializer,
    VisitQuerySerializer,
)
from people.bulk import MAX_ROWS, RowOutcome
from people.models import Gist, Person

spectacular_settings.ENUM_NAME_OVERRIDES.update(
    {
        "PersonState": Person.State,
        "PushState": Gist.PushState,
        "RowOutcome": RowOutcome,
        "Access": Access,
        "ChosenState": CHOSEN_STATES,
    }
)
LOGIN_PATTERN = "^[A-Za-z0-9_-]{1,39}$"


def describe(description: str, example: Any, schema: Any) -> OpenApiResponse:
    """Return a response with one example. `schema` is a serializer, a type or an OpenAPI schema."""
    return OpenApiResponse(schema, description=description, examples=[OpenApiExample("Example", value=example)])


def page(row: Any) -> dict[str, Any]:
    """Return the extension from which openapi.py makes the example of a page with this row."""
    return {PAGE_EXAMPLE: row}


USERNAME = OpenApiParameter(
    "username", {"type": "string", "pattern": LOGIN_PATTERN}, OpenApiParameter.PATH, description="a login, in any case"
)
IF_MATCH = OpenApiParameter(
    "If-Match", str, OpenApiParameter.HEADER, description="an `etag` of the person; act on just this version"
)
GITHUB_ID = OpenApiParameter(
    "github_id",
    {"type": "string", "pattern": "^[0-9a-f]{1,64}$"},
    OpenApiParameter.PATH,
    description="GitHub's gist id",
)
FORGET = OpenApiParameter(
    "forget", bool, default=False, description="erase all that is held, and refuse to track the account again"
)
BULK_BODY = {
    "type": "array",
    "maxItems": MAX_ROWS,
    "items": {"oneOf": [{"type": "string", "description": "a login"}, {"$ref": "#/components/schemas/BulkRow"}]},
}
BAD_FILTER = errors(ErrorCode.UNKNOWN_PARAMETER, ErrorCode.INVALID_CHOICE, ErrorCode.INVALID)
UNKNOWN_PARAMETER = errors(ErrorCode.UNKNOWN_PARAMETER)

# --- people ---
list_people = extend_schema(
    operation_id="list_people",
    tags=["people"],
    summary="List people, newest first",
    description="The tracked people with counts of their gists: as pages, or all of them as a CSV file.",
    parameters=[OpenApiParameter("format", str, enum=FORMATS, description="csv: all people, as a file")],
    responses={
        (200, "application/json"): OpenApiResponse(PersonSerializer(many=True), description="A page of people."),
        (200, "text/csv"): describe("All people.", examples.PEOPLE_CSV, str),
        **BAD_FILTER,
        **errors(ErrorCode.PAGE_NOT_FOUND),
    },
    extensions=page(examples.PERSON),
)
track_person = extend_schema(
    operation_id="track_person",
    tags=["people"],
    summary="Track a person",
    description="A person who is tracked already is an error (`already_tracked`) with the person's address.",
    request={"application/json": NewPersonSerializer},
    responses={
        201: describe("The person is tracked. The next run imports the gists.", examples.NEW_PERSON, PersonSerializer),
        **errors(ErrorCode.INVALID_LOGIN, ErrorCode.ALREADY_TRACKED, ErrorCode.SUPPRESSED),
    },
    examples=[
        OpenApiExample("login", value={"username": "ada"}, request_only=True),
        OpenApiExample(
            "all_fields",
            value={"username": "@grace", "pipedrive_id": 311, "backfill": "2026-01-31"},
            request_only=True,
        ),
        OpenApiExample("profile", value={"username": "https://github.com/linus", "backfill": "all"}, request_only=True),
    ],
)
track_people = extend_schema(
    operation_id="track_people",
    tags=["people"],
    summary="Track many people",
    description=(
        "The body is a JSON list of names or objects, or CSV with the header "
        f"`username[,pipedrive_id][,backfill]`, with at most {MAX_ROWS} rows. Each row has its own result; a rejected "
        "row does not affect the others."
    ),
    request={"application/json": BULK_BODY, "text/csv": {"type": "string"}},
    responses={
        200: describe("The result of each row.", examples.BULK_REPORT, BulkReportSerializer),
        **errors(ErrorCode.NOT_A_LIST, ErrorCode.TOO_MANY_ROWS, ErrorCode.INVALID_CSV),
    },
    examples=[
        OpenApiExample("names", value=["ada", "@grace"], request_only=True),
        OpenApiExample(
            "names_and_objects",
            value=["ada", {"username": "ken", "pipedrive_id": 7, "backfill": "none"}],
            request_only=True,
        ),
        OpenApiExample("csv", value="username,backfill\nada,none\ngrace,\n", request_only=True, media_type="text/csv"),
    ],
)
visit_person = extend_schema(
    operation_id="visit_person",
    tags=["people"],
    summary="Get the gists that are new since your last visit",
    description=(
        "Returns the gists that were stored since your last visit, oldest first, and moves your visit marker to the "
        "last one. The first visit returns all gists. With `getAllGists=true`, with `since`, and for HEAD, the marker "
        "does not move. Each consumer has its own markers. Store the `cursor` of each visit that you have processed. "
        "If `previous_cursor` of a response is greater, a response was lost: send your stored cursor as `since`. "
        "A cursor is the `id` of a gist: those of visits and of the feed are valid for each other. "
        "To read a person without a visit, use `GET /api/v1/people?username=...`."
    ),
    parameters=[USERNAME, VisitQuerySerializer],
    responses={
        200: describe("The person with the gists.", examples.PERSON_WITH_GISTS, PersonWithGistsSerializer),
        **errors(ErrorCode.INVALID, ErrorCode.NOT_TRACKED),
    },
)
change_person = extend_schema(
    operation_id="change_person",
    tags=["people"],
    summary="Change a person's Pipedrive person, state or backfill",
    description="Absent fields stay unchanged. With `If-Match`, only that version of the person is changed.",
    parameters=[USERNAME, IF_MATCH],
    request={"application/json": PersonChangesSerializer},
    responses={
        200: describe("The changed person.", examples.PERSON, PersonSerializer),
        **errors(ErrorCode.INVALID_CHOICE, ErrorCode.NOTHING_TO_CHANGE),
        **errors(ErrorCode.NOT_TRACKED, ErrorCode.PRECONDITION_FAILED),
    },
    examples=[
        OpenApiExample("pause", value={"state": "paused"}, request_only=True),
        OpenApiExample("backfill", value={"backfill": "all"}, request_only=True),
    ],
)
untrack_person = extend_schema(
    operation_id="untrack_person",
    tags=["people"],
    summary="Stop tracking a person",
    description=(
        "Deletes the person with all gists and visits. Nothing is deleted in Pipedrive. With `forget=true` all that is "
        "held about the person is erased, and salted hashes of the GitHub id and the login are kept, so that the "
        "account is not tracked again, also after it was renamed. That works for logins that are not tracked, too. "
        "In both cases hashes of the gists' ids are kept, so that no gist gets a second activity if it is stored again."
    ),
    parameters=[USERNAME, FORGET, IF_MATCH],
    responses={
        204: OpenApiResponse(description="The person is deleted, or forgotten."),
        **errors(ErrorCode.INVALID_CHOICE, ErrorCode.NOT_TRACKED, ErrorCode.PRECONDITION_FAILED),
    },
)
request_sync = extend_schema(
    operation_id="request_sync",
    tags=["people"],
    summary="Put a person first in the next run",
    description="Also ends the pause after failures. The frequent run of requested people polls the person.",
    parameters=[USERNAME],
    request=None,
    responses={
        202: describe("The sync is requested.", examples.REQUESTED_PERSON, PersonSerializer),
        **errors(ErrorCode.PAUSED, ErrorCode.UNKNOWN_PARAMETER, ErrorCode.NOT_TRACKED),
    },
)

# --- gists ---
list_gists = extend_schema(
    operation_id="list_gists",
    tags=["gists"],
    summary="List a person's gists, oldest first",
    description="Listing gists moves no visit marker.",
    parameters=[USERNAME],
    responses={
        200: OpenApiResponse(GistSerializer(many=True), description="A page of gists."),
        **BAD_FILTER,
        **errors(ErrorCode.NOT_TRACKED, ErrorCode.PAGE_NOT_FOUND),
    },
    extensions=page(examples.GIST),
)
read_feed = extend_schema(
    operation_id="read_feed",
    tags=["feed"],
    summary="Get the gists of all people, oldest first",
    description=(
        "Returns the gists after a cursor, in the order in which they were stored. Without `after` it begins at your "
        "feed marker, which moves when you acknowledge a cursor: a lost response loses nothing. Each gist comes once, "
        "when it is stored; edits do not bring it again. A cursor is the `id` of a gist: those of the feed and of "
        "visits are valid for each other."
    ),
    parameters=[FeedQuerySerializer],
    filters=True,
    responses={200: describe("Gists.", examples.FEED, FeedSerializer), **BAD_FILTER},
)
acknowledge_feed = extend_schema(
    operation_id="acknowledge_feed",
    tags=["feed"],
    summary="Move your feed marker",
    description=(
        "Send the `cursor` of a response after you have processed it. The marker does not move backwards, so a late "
        "or repeated request does no harm; with `force` it does, to get gists again."
    ),
    request={"application/json": AcknowledgementSerializer},
    responses={
        200: describe("Where the marker is now.", {"cursor": 42}, FeedMarkerSerializer),
        **errors(ErrorCode.REQUIRED, ErrorCode.CURSOR_BEYOND_END),
    },
    examples=[
        OpenApiExample("acknowledge", value={"cursor": 1}, request_only=True),
        OpenApiExample("begin_again", value={"cursor": 0, "force": True}, request_only=True),
    ],
)
push_gist = extend_schema(
    operation_id="push_gist",
    tags=["gists"],
    summary="Push a rejected or skipped gist again",
    description="The gist becomes pending, and the next run pushes it.",
    parameters=[USERNAME, GITHUB_ID],
    request=None,
    responses={
        202: describe("The gist is pending. The next run pushes it.", examples.PENDING_GIST, GistSerializer),
        **UNKNOWN_PARAMETER,
        **errors(ErrorCode.NOT_TRACKED, ErrorCode.GIST_NOT_FOUND, ErrorCode.GIST_NOT_PUSHABLE),
    },
)

# --- consumers ---
get_me = extend_schema(
    operation_id="get_me",
    tags=["consumer"],
    summary="Get your name, access, key and feed marker",
    description="Who you are to this service, and what you may do.",
    responses={200: describe("The consumer.", examples.ME, MeSerializer), **UNKNOWN_PARAMETER},
)


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # its metaclass hook is untyped
    """Describes ApiKeyAuthentication."""

    target_class = ApiKeyAuthentication
    name = "ApiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        description = "An API key alone, created in the admin or with `manage.py create_api_key NAME`."
        return {"type": "http", "scheme": "bearer", "description": description}


class StaffSessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # as above
    """Describes StaffSessionAuthentication."""

    target_class = StaffSessionAuthentication
    name = "Session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        description = "The session of staff who are logged in to the admin; other methods than GET need a CSRF token."
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME, "description": description}
