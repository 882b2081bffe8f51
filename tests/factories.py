"""Rows for tests that need no sync."""

from datetime import UTC, datetime
from typing import Any

from people.models import Gist, Person


def publish(person: Person, number: int, **fields: Any) -> list[Gist]:
    """Store that many new gists for a person."""
    rows = []
    for _ in range(number):
        gist_id = f"{person.pk:x}a{Gist.objects.count():x}"
        rows.append(
            Gist.objects.create(
                github_id=gist_id,
                person=person,
                html_url=f"https://gist.github.com/{person.github_username}/{gist_id}",
                pull_url=f"https://gist.github.com/{gist_id}.git",
                files=[{"name": "notes.md", "raw_url": "https://x.test/notes.md", "language": "Markdown", "size": 7}],
                github_created_at=datetime(2026, 1, 1, tzinfo=UTC),
                github_updated_at=datetime(2026, 1, 1, tzinfo=UTC),
                **fields,
            )
        )
    return rows
