"""The OpenAPI description: shared parts, and one decorator per operation of people and gists."""

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema

from people.api import schema_examples as examples
from people.api.authentication import SCHEME, ApiKeyAuthentication, StaffSessionAuthentication
from people.api.export import FORMATS
from people.api.serializers import (
    AcknowledgementSerializer,
    BulkReportSerializer,
    BulkRowSerializer,
    ErrorSerializer,
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
from people.bulk import MAX_ROWS

# The body of a 400: messages by field or parameter; `detail` if the request as a whole is invalid.
BAD_REQUEST = {
    "type": "object",
    "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
}


def describe(description: str, example: Any, schema: Any = ErrorSerializer) -> OpenApiResponse:
    """Return a response with one example. `schema` is a serializer, a type or an OpenAPI schema."""
    return OpenApiResponse(
        schema,
        description=description,
        examples=[OpenApiExample("Example", summary=description, value=example)],
    )


COMMON_RESPONSES = {
    401: describe("The key is missing, unknown, revoked or expired.", examples.UNAUTHORIZED),
    403: describe("The key is read-only.", examples.FORBIDDEN),
    406: describe("Only JSON is available.", {"detail": "Could not satisfy the request Accept header."}),
    414: OpenApiResponse(description="The URL has more than 4,094 characters. The body is HTML."),
    429: describe("Too many requests. `Retry-After` is the number of seconds to wait.", examples.THROTTLED),
}
UNKNOWN_PARAMETER = describe("An unknown query parameter.", examples.UNKNOWN_PARAMETER, BAD_REQUEST)
BAD_FILTER = describe("An unknown or invalid filter.", examples.BAD_FILTER, BAD_REQUEST)
NOT_TRACKED = describe("The person is not tracked.", examples.NOT_TRACKED)
UNSUPPORTED = describe("Unsupported media type.", {"detail": 'Unsupported media type "x/y" in request.'})
USERNAME = OpenApiParameter("username", str, OpenApiParameter.PATH, description="a GitHub login, in any case")
IF_MATCH = OpenApiParameter(
    "If-Match", str, OpenApiParameter.HEADER, description="an `etag` of the person; change just this version"
)
GITHUB_ID = OpenApiParameter("github_id", str, OpenApiParameter.PATH, description="GitHub's gist id")
FORGET = OpenApiParameter(
    "forget", bool, default=False, description="erase all that is held, and refuse to track the account again"
)

# --- people ---
list_people = extend_schema(
    operation_id="list_people",
    summary="List people, newest first",
    parameters=[OpenApiParameter("format", str, enum=FORMATS, description="csv: all people, as a file")],
    responses={
        (200, "application/json"): describe("A page of people.", examples.PERSON, PersonSerializer(many=True)),
        (200, "text/csv"): describe("All people.", examples.PEOPLE_CSV, str),
        400: BAD_FILTER,
        404: describe("The page does not exist.", {"detail": "Invalid page."}),
        **COMMON_RESPONSES,
    },
)
track_person = extend_schema(
    operation_id="track_person",
    summary="Track a person",
    request=NewPersonSerializer,
    responses={
        201: describe("The person is tracked. The next run imports the gists.", examples.NEW_PERSON, PersonSerializer),
        400: OpenApiResponse(
            BAD_REQUEST,
            description="An invalid GitHub user name or option, or the person is tracked or asked not to be.",
            examples=[
                OpenApiExample("Invalid name", value=examples.BAD_NAME),
                OpenApiExample("Already tracked", value=examples.ALREADY_TRACKED),
                OpenApiExample("Asked not to be tracked", value=examples.SUPPRESSED),
            ],
        ),
        415: UNSUPPORTED,
        **COMMON_RESPONSES,
    },
    examples=[OpenApiExample("Ada", value={"username": "ada", "backfill": "10"}, request_only=True)],
)
track_people = extend_schema(
    operation_id="track_people",
    summary="Track many people",
    description=(
        "The body is a JSON list of names or objects, or CSV with the header "
        f"`username[,pipedrive_id][,backfill]`, with at most {MAX_ROWS} rows. Each row has its own result; a rejected "
        "row does not affect the others."
    ),
    request={
        "application/json": BulkRowSerializer(many=True),
        "text/csv": {"type": "string", "example": "username,backfill\nada,10\ngrace,\n"},
    },
    responses={
        200: describe("The result of each row.", examples.BULK_REPORT, BulkReportSerializer),
        400: describe("The body is not a list of people.", examples.BAD_CSV, BAD_REQUEST),
        415: UNSUPPORTED,
        **COMMON_RESPONSES,
    },
)
visit_person = extend_schema(
    operation_id="visit_person",
    summary="Get the gists that are new since your last visit",
    description=(
        "Returns the gists that were stored since your last visit, oldest first, and moves your visit marker to the "
        "last one. The first visit returns all gists. With `getAllGists=true`, with `since`, and for HEAD, the marker "
        "does not move. Each API key has its own markers."
    ),
    parameters=[USERNAME, VisitQuerySerializer],
    responses={
        200: describe("The person with the gists.", examples.PERSON_WITH_GISTS, PersonWithGistsSerializer),
        400: describe("An invalid query parameter.", examples.BAD_QUERY, BAD_REQUEST),
        404: NOT_TRACKED,
        **COMMON_RESPONSES,
    },
)
change_person = extend_schema(
    operation_id="change_person",
    summary="Change a person's Pipedrive person, state or backfill",
    parameters=[USERNAME, IF_MATCH],
    request=PersonChangesSerializer,
    responses={
        412: describe("The person was changed since you read the etag.", examples.PRECONDITION_FAILED),
        200: describe("The changed person.", examples.PERSON, PersonSerializer),
        400: describe("An invalid value, or no field to change.", examples.BAD_CHANGES, BAD_REQUEST),
        404: NOT_TRACKED,
        415: UNSUPPORTED,
        **COMMON_RESPONSES,
    },
    examples=[OpenApiExample("Pause", value={"state": "paused"}, request_only=True)],
)
untrack_person = extend_schema(
    operation_id="untrack_person",
    summary="Stop tracking a person",
    description=(
        "Deletes the person with all gists and visits. Nothing is deleted in Pipedrive. With `forget=true` also all "
        "remarks about the person are erased, and salted hashes of the GitHub id and the login are kept, so that the "
        "account is not tracked again, also after it was renamed. That works for logins that are not tracked, too."
    ),
    parameters=[USERNAME, FORGET],
    responses={
        204: OpenApiResponse(description="The person is deleted, or forgotten."),
        400: describe("An unknown or invalid query parameter.", examples.BAD_FORGET, BAD_REQUEST),
        404: NOT_TRACKED,
        **COMMON_RESPONSES,
    },
)
request_sync = extend_schema(
    operation_id="request_sync",
    summary="Put a person first in the next run",
    parameters=[USERNAME],
    request=None,
    responses={
        202: describe("The sync is requested.", examples.PERSON, PersonSerializer),
        400: describe(
            "The person is paused, or an unknown query parameter.", {"detail": "@ada is paused."}, BAD_REQUEST
        ),
        404: NOT_TRACKED,
        **COMMON_RESPONSES,
    },
)

# --- gists ---
list_gists = extend_schema(
    operation_id="list_gists",
    summary="List a person's gists, oldest first",
    parameters=[USERNAME],
    responses={
        200: describe("A page of gists.", examples.GIST, GistSerializer(many=True)),
        400: BAD_FILTER,
        404: NOT_TRACKED,
        **COMMON_RESPONSES,
    },
)
read_feed = extend_schema(
    operation_id="read_feed",
    summary="Get the gists of all people, oldest first",
    description=(
        "Returns the gists after a cursor, in the order in which they were stored. Without `after` it begins at your "
        "feed marker, which moves when you acknowledge a cursor: a lost response loses nothing. Each gist comes once, "
        "when it is stored; edits do not bring it again."
    ),
    parameters=[FeedQuerySerializer],
    filters=True,
    responses={200: describe("Gists.", examples.FEED, FeedSerializer), 400: BAD_FILTER, **COMMON_RESPONSES},
)
acknowledge_feed = extend_schema(
    operation_id="acknowledge_feed",
    summary="Move your feed marker",
    description=(
        "Send the `cursor` of a response after you have processed it. The marker does not move backwards, so a late "
        "or repeated request does no harm; with `force` it does, to get gists again."
    ),
    request=AcknowledgementSerializer,
    responses={
        200: describe("Where the marker is now.", {"cursor": 42}, FeedMarkerSerializer),
        400: describe("An invalid cursor, or one beyond the end of the feed.", examples.BAD_CURSOR, BAD_REQUEST),
        415: UNSUPPORTED,
        **COMMON_RESPONSES,
    },
    examples=[OpenApiExample("Acknowledge", value={"cursor": 42}, request_only=True)],
)
push_gist = extend_schema(
    operation_id="push_gist",
    summary="Push a rejected or skipped gist again",
    parameters=[USERNAME, GITHUB_ID],
    request=None,
    responses={
        202: describe("The gist is pending. The next run pushes it.", examples.GIST, GistSerializer),
        400: UNKNOWN_PARAMETER,
        404: describe("The person or the gist does not exist.", examples.GIST_NOT_FOUND),
        409: describe("The gist is neither rejected nor skipped.", examples.GIST_NOT_PUSHABLE),
        **COMMON_RESPONSES,
    },
)


# --- consumers ---
get_me = extend_schema(
    operation_id="get_me",
    summary="Get your name, access, key and feed marker",
    responses={200: describe("The consumer.", examples.ME, MeSerializer), 400: UNKNOWN_PARAMETER, **COMMON_RESPONSES},
)


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # its metaclass hook is untyped
    """Describes ApiKeyAuthentication."""

    target_class = ApiKeyAuthentication
    name = "ApiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": f"`{SCHEME} YOUR-KEY`, created in the admin or with `manage.py create_api_key NAME`",
        }


class StaffSessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # as above
    """Describes StaffSessionAuthentication."""

    target_class = StaffSessionAuthentication
    name = "Session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        description = "the session of staff who are logged in to the admin; other methods than GET need a CSRF token"
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME, "description": description}


def normalize_paths(endpoints: list[Any]) -> list[Any]:
    """Remove the optional trailing slash, and the operations of /people/bulk that are about the login `bulk`."""
    normalized = []
    for path, pattern, method, view in endpoints:
        if "<username>bulk" not in pattern:
            normalized.append((path.rstrip("/"), pattern, method, view))
        elif method == "POST":
            normalized.append(("/api/v1/people/bulk", pattern, method, view))
    return normalized
