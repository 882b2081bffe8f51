"""Factories of rows, for tests that need no sync."""

from datetime import UTC, datetime
from typing import Any

from django.utils import timezone

from people.models import ApiKey, Gist, Person
from sync.models import SyncRun


def create_person(username: str = "ada", **fields: Any) -> Person:
    """Create a tracked person."""
    return Person.objects.create(github_username=username, **fields)


def create_gists(person: Person, count: int, **fields: Any) -> list[Gist]:
    """Create gists of a person, in the order of their ids."""
    return [create_gist(person, **fields) for _ in range(count)]


def create_gist(person: Person, **fields: Any) -> Gist:
    gist_id = f"{person.pk:x}a{Gist.objects.count():x}"
    return Gist.objects.create(
        github_id=gist_id,
        person=person,
        html_url=f"https://gist.github.com/{person.github_username}/{gist_id}",
        pull_url=f"https://gist.github.com/{gist_id}.git",
        files=[{"name": "notes.md", "raw_url": "https://x.test/notes.md", "language": "Markdown", "size": 7}],
        github_created_at=datetime(2026, 1, 1, tzinfo=UTC),
        github_updated_at=datetime(2026, 1, 1, tzinfo=UTC),
        **fields,
    )


def create_run(**fields: Any) -> SyncRun:
    """Create the row of a run that is going on."""
    now = timezone.now()
    defaults = {
        "token": f"run-{SyncRun.objects.count()}",
        "started_at": now,
        "round_started_at": now,
        "heartbeat_at": now,
        "host": "test-host",
    }
    return SyncRun.objects.create(**{**defaults, **fields})


def create_key(name: str = "Team", **fields: Any) -> str:
    """Create an API key and return it as a consumer sends it."""
    _, key = ApiKey.objects.create_key(name=name, **fields)
    return key
