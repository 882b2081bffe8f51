"""Example bodies for the OpenAPI description."""

from typing import Any

from gisttracker import __version__

LIMITS: dict[str, Any] = {
    "github": {
        "remaining": 4996.0,
        "reset": 1795000000.0,
        "daily_tokens": None,
        "requests": 123,
        "stopped": "",
        "resets_at": None,
    },
    "pipedrive": {
        "remaining": None,
        "reset": None,
        "daily_tokens": {"day": "2026-11-24", "remaining": 0, "limit": 150000},
        "requests": 12,
        "stopped": "Pipedrive's rate limit resets at 00:00 UTC",
        "resets_at": "2026-11-25T00:00:00Z",
    },
}
ATTEMPT: dict[str, Any] = {
    "id": 31,
    "run": 7,
    "attempted_at": "2026-11-24T09:00:12Z",
    "kind": "create",
    "outcome": "refused",
    "status": 400,
    "message": "Pipedrive POST /api/v2/activities returned 400: deal_id is required",
    "duration": 0.21,
    "activity_id": None,
}
REASON: dict[str, Any] = {
    "code": "push",
    "reason": "The Pipedrive person was deleted",
    "count": 2,
    "people_count": 1,
    "people": ["ada"],
    "gists": 2,
    "first": "2026-11-23T18:08:00Z",
    "last": "2026-11-24T09:00:12Z",
}
RUN: dict[str, Any] = {
    "id": 7,
    "trigger": "schedule",
    "started_at": "2026-11-24T09:00:00Z",
    "finished_at": "2026-11-24T09:00:41Z",
    "outcome": "rate_limited",
    "counts": {
        "people_hinted": 2,
        "people_polled": 120,
        "people_unchanged": 117,
        "people_gone": 0,
        "people_conflict": 0,
        "people_failed": 0,
        "gists_new": 4,
        "gists_edited": 0,
        "gists_removed": 0,
        "gists_skipped": 0,
        "gists_pushed": 3,
        "activities_edited": 0,
        "gists_found": 0,
        "gists_retried": 0,
        "gists_unknown": 0,
        "gists_rejected": 0,
    },
    "limits": LIMITS,
    "problems": [{**REASON, "first": None, "last": None}],
    "host": "sync-gists-29384",
    "version": __version__,
}
SUCCESSFUL_RUN: dict[str, Any] = {
    **RUN,
    "id": 6,
    "started_at": "2026-11-24T06:00:00Z",
    "finished_at": "2026-11-24T06:00:38Z",
    "outcome": "succeeded",
    "problems": [],
    "limits": {
        "github": LIMITS["github"],
        "pipedrive": {
            "remaining": None,
            "reset": None,
            "daily_tokens": {"day": "2026-11-24", "remaining": 148127, "limit": 150000},
            "requests": 12,
            "stopped": "",
            "resets_at": None,
        },
    },
}
STATUS = {
    "health": {
        "state": "degraded",
        "problems": [
            {
                "code": "gists_failing",
                "severity": "ticket",
                "summary": "2 gists have waited for an activity for more than 6 h 30 min.",
                "action": "Fix what the reasons name.",
                "since": "2026-11-23T18:08:00Z",
                "reasons": [REASON],
            }
        ],
    },
    "last_run": RUN,
    "last_successful_run": SUCCESSFUL_RUN,
    "next_run_at": "2026-11-24T12:00:00Z",
    "age_seconds": 3120,
    "people": {"new": 0, "active": 118, "gone": 2, "conflict": 0, "paused": 0},
    "gists": {"pending": 1, "started": 0, "pushed": 2301, "rejected": 1, "skipped": 77},
    "backlog": 1,
    "oldest_backlog_at": "2026-11-24T09:00:03Z",
    "oldest_poll_at": "2026-11-24T09:00:02Z",
    "stream": {
        "enabled": True,
        "read_at": "2026-11-24T09:52:01Z",
        "newest_at": "2026-11-24T09:51:48Z",
        "problem": "",
        "problem_since": None,
        "hinted": 211,
        "missed": 1,
        "coverage": 0.9953,
        "gaps": [
            {
                "since": "2026-11-22T02:10:00Z",
                "until": "2026-11-22T02:55:00Z",
                "reason": "GitHub's stream of public gists shows nothing for more than half an hour.",
            }
        ],
        "stored": {"median": 41.0, "p95": 83.0},
        "pushed": {"median": 44.0, "p95": 88.0},
    },
    "expiring_keys": [{"consumer": "my-team", "prefix": "Qh8ZkT3v", "expires_at": "2026-12-03T14:05:00Z"}],
    "github_token_expires_at": "2027-03-31T23:59:59Z",
    "github_field_problem": "",
    "in_trouble": 0,
    "people_in_trouble": [],
    "trouble": [],
    "rejections": [],
    "rejected": [{"person": "ada", "gist": "2decf6c462d9b4418f2d", "reason": "Pipedrive responded 400: ..."}],
    "limits": LIMITS,
}
