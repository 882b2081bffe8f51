"""People as CSV, for a spreadsheet."""

import csv
from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse

from people.models import Person

COLUMNS = (
    *("github_username", "name", "email", "state", "pipedrive_id", "backfill"),
    *("gist_count", "pending_count", "rejected_count", "polled_at", "created_at", "last_error"),
)
FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Echo:
    """A file for csv.writer that hands back what is written."""

    def write(self, text: str) -> str:
        return text


def as_csv(people: QuerySet[Person]) -> StreamingHttpResponse:
    """All of them, however many: they are read and sent in pieces."""
    answer = StreamingHttpResponse(_lines(people), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = 'attachment; filename="people.csv"'
    return answer


def _lines(people: QuerySet[Person]) -> Iterator[str]:
    writer = csv.writer(Echo())
    yield writer.writerow(COLUMNS)
    for person in people.iterator(chunk_size=1000):
        yield writer.writerow(_cell(getattr(person, column)) for column in COLUMNS)


def _cell(value: Any) -> str:
    """Text that no spreadsheet takes for a formula: names come from strangers."""
    if value is None:
        return ""
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text
