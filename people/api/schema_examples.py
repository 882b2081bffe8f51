"""Example bodies for the OpenAPI description."""

from typing import Any

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
    "feed_position": 42,
}
FEED = {
    "results": [{"person": "ada", **GIST}],
    "cursor": 42,
    "next": "https://gists.example.com/api/v1/gists?after=42",
}
BAD_CURSOR = {"cursor": ["The feed ends at 42."]}
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
    "state": "active",
    "last_error": "",
    "push_error": "",
    "unreadable_gists": [],
    "pipedrive_id": 311,
    "watched": False,
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
    "polled_at": "2026-11-20T09:00:12Z",
    "sync_requested_at": None,
    "gist_count": 12,
    "pending_count": 0,
    "rejected_count": 0,
}
NEW_PERSON = {
    **PERSON,
    "name": "",
    "email": "",
    "state": "new",
    "backfill": "",
    "pipedrive_id": None,
    "polled_at": None,
    "gist_count": 0,
    "updated_at": "2026-11-19T10:00:00Z",
}
BAD_NAME = {"username": ["A GitHub user name has 1 to 39 characters: letters A-Z, digits, hyphens ..."]}
ALREADY_TRACKED = {"username": ["@ada is already tracked."]}
SUPPRESSED = {"username": ["@ada asked not to be tracked."]}
PRECONDITION_FAILED = {"detail": "@ada was changed meanwhile. Read it again, and send its etag as If-Match."}
NOT_TRACKED = {"detail": "`bob` is not tracked. Add it with POST /api/v1/people."}
BAD_QUERY = {"since": ["A valid integer is required."]}
UNAUTHORIZED = {"detail": "This API key is unknown or revoked."}
FORBIDDEN = {"detail": "Your key is read-only, or your account may not change people."}
THROTTLED = {"detail": "Request was throttled. Expected available in 12 seconds."}
BULK_REPORT = {
    "created": 1,
    "already_tracked": 1,
    "rejected": 1,
    "results": [
        {"row": 1, "username": "ada", "result": "created", "reason": ""},
        {"row": 2, "username": "grace", "result": "already_tracked", "reason": "@grace is already tracked."},
        {"row": 3, "username": "a b", "result": "rejected", "reason": "A GitHub user name has 1 to 39 characters..."},
    ],
}
BAD_CSV = {"detail": "The CSV's first line must be username[,pipedrive_id][,backfill]."}
BAD_FILTER = {"stat": ["Unknown parameter `stat`. Allowed: added_after, added_before, format, ..."]}
UNKNOWN_PARAMETER = {"x": ["Unknown parameter `x`. Allowed: none."]}
BAD_FORGET = {"forget": ['"yes" is not a valid choice.']}
BAD_CHANGES = {"state": ['"gone" is not a valid choice.']}
GIST_NOT_FOUND = {"detail": "@ada has no gist 2decf6c462d9b4418f2d."}
GIST_NOT_PUSHABLE = {"detail": "The gist is pushed. Only a rejected or skipped gist can be pushed again."}
PEOPLE_CSV = "github_username,name,email,state\nada,Ada Lovelace,ada@example.com,active\n"
