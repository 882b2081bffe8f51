"""Example answers for the API's description."""

from typing import Any

RUN: dict[str, Any] = {
    "id": 7,
    "trigger": "schedule",
    "started_at": "2026-11-24T09:00:00Z",
    "finished_at": "2026-11-24T09:00:41Z",
    "outcome": "succeeded",
    "counts": {"people_polled": 120, "people_unchanged": 117, "gists_new": 4, "gists_pushed": 4},
    "limits": {"github": {"remaining": 4996, "reset": 1795000000, "requests": 123, "ended": "", "free_at": None}},
    "problems": [],
    "host": "sync-gists-29384",
    "version": "1.0.0",
}
STATUS = {
    "last_run": RUN,
    "last_successful_run": RUN,
    "age_seconds": 3120,
    "people": {"new": 0, "active": 118, "gone": 2, "conflict": 0, "paused": 0},
    "gists": {"pending": 0, "started": 0, "pushed": 2301, "rejected": 1, "skipped": 77},
    "backlog": 0,
    "oldest_backlog_at": None,
    "oldest_poll_at": "2026-11-24T09:00:02Z",
    "rejected": [{"person": "ada", "gist": "2decf6c462d9b4418f2d", "reason": "Pipedrive answered 400: ..."}],
    "limits": RUN["limits"],
}
