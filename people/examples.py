"""Example answers for the API's description."""

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
    "pipedrive_activity_id": 9001,
}
_COMMON: dict[str, Any] = {
    "id": 7,
    "github_username": "ada",
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "state": "active",
    "last_error": "",
    "pipedrive_id": 311,
    "created_at": "2026-11-19T10:00:00Z",
    "updated_at": "2026-11-20T09:00:12Z",
}
PERSON_WITH_GISTS = {
    **_COMMON,
    "last_visit": "2026-11-19T18:30:00Z",
    "cursor": 42,
    "next": None,
    "gists": [GIST],
}
PERSON = {
    **_COMMON,
    "backfill": "all",
    "polled_at": "2026-11-20T09:00:12Z",
    "gist_count": 12,
    "pending_count": 0,
    "rejected_count": 0,
}
NEW_PERSON = {
    **PERSON,
    "name": "",
    "email": "",
    "state": "new",
    "pipedrive_id": None,
    "polled_at": None,
    "gist_count": 0,
    "updated_at": "2026-11-19T10:00:00Z",
}
BAD_NAME = {"username": ["A GitHub user name has at most 39 characters: letters A-Z, digits and single hyphens, ..."]}
ALREADY_TRACKED = {"username": ["@ada is already tracked."]}
NOT_TRACKED = {"detail": "Nobody named bob is tracked; POST /api/v1/people tracks somebody."}
BAD_QUERY = {"since": ["A valid integer is required."]}
