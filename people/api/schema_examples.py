"""Example bodies for the OpenAPI description."""

from typing import Any

from gisttracker.common.error_codes import ErrorCode

GIST: dict[str, Any] = {
    "id": 42,
    "github_id": "2decf6c462d9b4418f2d",
    "description": "Notes on the Analytical Engine",
    "html_url": "https://gist.github.com/ada/2decf6c462d9b4418f2d",
    "pull_url": "https://gist.github.com/2decf6c462d9b4418f2d.git",
    "truncated": False,
    "files": [
        {
            "name": "notes.md",
            "raw_url": "https://gist.githubusercontent.com/ada/2decf6c462d9b4418f2d/raw/0e1f/notes.md",
            "language": "Markdown",
            "size": 1843,
        }
    ],
    "github_created_at": "2026-11-20T08:00:00Z",
    "github_updated_at": "2026-11-20T08:00:00Z",
    "created_at": "2026-11-20T09:00:12Z",
    "updated_at": "2026-11-20T09:00:12Z",
    "removed_at": None,
    "push_state": "pushed",
    "push_error": "",
    "push_explanation": "It is in Pipedrive as activity 9001 since 2026-11-20 09:00 UTC.",
    "pipedrive_activity_id": 9001,
}
PENDING_GIST = {
    **GIST,
    "push_state": "pending",
    "push_explanation": "It waits for the next run.",
    "pipedrive_activity_id": None,
}
FEED = {
    "results": [{"person": "ada", **GIST}],
    "cursor": 42,
    "next": "https://gists.example.com/api/v1/gists?after=42",
}
ME = {
    "consumer": "my-team",
    "access": "read_write",
    "key": {"prefix": "Qh8ZkT3v", "created_at": "2026-11-01T08:00:00Z", "expires_at": None},
    "feed_cursor": 40,
    "feed_end": 42,
    "requests_per_minute": 600,
}
_COMMON: dict[str, Any] = {
    "id": 7,
    "github_username": "ada",
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "company": "Analytical Engines",
    "location": "London",
    "state": "active",
    "last_error": "",
    "push_error": "",
    "pipedrive_id": 311,
    "backfill": "all",
    "etag": '"8d1f04b2-7"',
    "created_at": "2026-11-19T10:00:00Z",
    "updated_at": "2026-11-20T09:00:12Z",
}
PERSON_WITH_GISTS = {
    **_COMMON,
    "last_visit": "2026-11-19T18:30:00Z",
    "cursor": 42,
    "previous_cursor": 41,
    "next": None,
    "gists": [GIST],
}
PERSON = {
    **_COMMON,
    "unreadable_gists": [],
    "polled_at": "2026-11-20T09:00:12Z",
    "sync_requested_at": None,
    "gist_count": 12,
    "pending_count": 0,
    "rejected_count": 0,
}
REQUESTED_PERSON = {**PERSON, "sync_requested_at": "2026-11-20T10:15:00Z"}
NEW_PERSON = {
    **PERSON,
    "name": "",
    "email": "",
    "company": "",
    "location": "",
    "state": "new",
    "backfill": "",
    "pipedrive_id": None,
    "polled_at": None,
    "gist_count": 0,
    "updated_at": "2026-11-19T10:00:00Z",
}
BULK_REPORT = {
    "created": 1,
    "already_tracked": 1,
    "rejected": 1,
    "results": [
        {"row": 1, "username": "ada", "result": "created", "code": None, "reason": ""},
        {
            "row": 2,
            "username": "grace",
            "result": "already_tracked",
            "code": "already_tracked",
            "reason": "@grace is already tracked.",
        },
        {
            "row": 3,
            "username": "a b",
            "result": "rejected",
            "code": "invalid_login",
            "reason": "A GitHub user name has 1 to 39 characters: letters A-Z, digits, hyphens and underscores.",
        },
    ],
}
PEOPLE_CSV = "github_username,name,email,state\r\nada,Ada Lovelace,ada@example.com,active\r\n"
PERSON_URL = "https://gists.example.com/api/v1/people/ada"
# The detail and the field or parameter of an error with each code.
ERROR_DETAILS: dict[ErrorCode, tuple[str, str | None]] = {
    ErrorCode.REQUIRED: ("This field is required.", "username"),
    ErrorCode.NULL: ("This field may not be null.", "username"),
    ErrorCode.BLANK: ("Must not be empty.", "state"),
    ErrorCode.INVALID: ("Must be a whole number from 0 to 9223372036854775807.", "since"),
    ErrorCode.INVALID_CHARACTERS: ("NUL characters are not allowed.", "search"),
    ErrorCode.INVALID_CHOICE: ("Must be one of: active, paused; not 'gone'.", "state"),
    ErrorCode.MIN_VALUE: ("Must be a whole number from 1 to 9223372036854775807.", "pipedrive_id"),
    ErrorCode.MAX_VALUE: ("Must be a whole number from 1 to 5000.", "page_size"),
    ErrorCode.UNKNOWN_FIELD: ("Unknown field `name`. Allowed: backfill, pipedrive_id, username.", "name"),
    ErrorCode.UNKNOWN_PARAMETER: ("Unknown parameter `pages`. Allowed: after, ordering, page, page_size.", "pages"),
    ErrorCode.REPEATED_PARAMETER: ("Must be given once.", "page"),
    ErrorCode.CONFLICTING_PARAMETERS: ("Cannot be combined with `after`, which orders by id.", "page"),
    ErrorCode.TOO_MANY_TERMS: ("Too many terms. At most 8 are allowed.", "search"),
    ErrorCode.INVALID_LOGIN: ("A GitHub user name has 1 to 39 characters: letters A-Z, digits, ...", "username"),
    ErrorCode.INVALID_BACKFILL: ("must be all, none or a date ...", "backfill"),
    ErrorCode.ALREADY_TRACKED: ("@ada is already tracked.", "username"),
    ErrorCode.SUPPRESSED: ("@ada asked not to be tracked.", "username"),
    ErrorCode.CURSOR_BEYOND_END: ("The feed ends at 42.", "cursor"),
    ErrorCode.NOTHING_TO_CHANGE: ("Send at least one of: pipedrive_id, state, backfill.", None),
    ErrorCode.BAD_REQUEST: ("The request is not valid.", None),
    ErrorCode.INVALID_HOST: ("This host name is not served here. See ALLOWED_HOSTS.", None),
    ErrorCode.PARSE_ERROR: ("JSON parse error - Expecting value: line 1 column 1 (char 0)", None),
    ErrorCode.INVALID_CSV: ("The CSV's first line must be username[,pipedrive_id][,backfill].", None),
    ErrorCode.NOT_A_LIST: ("Send a list of people: logins, or objects with a username.", None),
    ErrorCode.TOO_MANY_ROWS: ("Too many rows. At most 5000 are allowed.", None),
    ErrorCode.PAUSED: ("@ada is paused. Set its state to active with PATCH first.", None),
    ErrorCode.NOT_AUTHENTICATED: ("Send an API key as `Authorization: Bearer YOUR-KEY`.", None),
    ErrorCode.MALFORMED_AUTHORIZATION: ("Send the key as `Authorization: Bearer YOUR-KEY`.", None),
    ErrorCode.INVALID_KEY: ("This API key is unknown or revoked.", None),
    ErrorCode.EXPIRED_KEY: ("This API key expired on 2026-10-31.", None),
    ErrorCode.READ_ONLY_KEY: ("Your key is read-only.", None),
    ErrorCode.NOT_STAFF: ("Only staff may use the API without a key.", None),
    ErrorCode.PERMISSION_DENIED: ("Your account may not change people.", None),
    ErrorCode.CSRF_FAILED: ("CSRF Failed: CSRF token missing.", None),
    ErrorCode.NOT_FOUND: ("This address does not exist. See /documentation/.", None),
    ErrorCode.NOT_TRACKED: ("`bob` is not tracked. Add it with POST /api/v1/people.", None),
    ErrorCode.GIST_NOT_FOUND: ("@ada has no gist 2decf6c462d9b4418f2d.", None),
    ErrorCode.RUN_NOT_FOUND: ("Run 7 does not exist.", None),
    ErrorCode.PAGE_NOT_FOUND: ("The list has no page 7. Begin with page 1, and follow `next`.", None),
    ErrorCode.METHOD_NOT_ALLOWED: ('Method "PUT" not allowed.', None),
    ErrorCode.NOT_ACCEPTABLE: ("Could not satisfy the request Accept header.", None),
    ErrorCode.GIST_NOT_PUSHABLE: ("The gist is pushed. Only a rejected or skipped gist can be pushed again.", None),
    ErrorCode.PRECONDITION_FAILED: (
        "@ada was changed meanwhile. Read it again with GET /api/v1/people?username=ada, and send its etag.",
        None,
    ),
    ErrorCode.BODY_TOO_SLOW: ("The body of the request did not arrive in time.", None),
    ErrorCode.BODY_TOO_LARGE: ("The body is too large. At most 5 MB are allowed.", None),
    ErrorCode.OVERLOADED: ("Too many large requests are being received. Try again in a few seconds.", None),
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: ('Unsupported media type "x/y" in request.', None),
    ErrorCode.THROTTLED: ("Request was throttled. Expected available in 12 seconds.", None),
    ErrorCode.INTERNAL_ERROR: ("The service failed to process this request. The reason is in its log.", None),
    ErrorCode.DATABASE_UNAVAILABLE: ("The database is not available at the moment. Try again in a few seconds.", None),
}
