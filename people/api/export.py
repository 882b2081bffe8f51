"""People as a CSV file."""

import csv
from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from people.error_codes import ErrorCode
from people.models import Person
from people.spreadsheets import escape_formulas

COLUMNS = (
    *("github_username", "name", "email", "state", "watched", "pipedrive_id", "backfill"),
    *("gist_count", "pending_count", "rejected_count", "polled_at", "created_at", "last_error", "push_error"),
)
FORMATS = ("json", "csv")  # of the list of people


class CsvRenderer(BaseRenderer):
    """Lets clients accept text/csv. It renders nothing: csv_response streams, and errors are JSON (see ApiView)."""

    media_type = "text/csv"
    format = "csv"


def is_csv_requested(request: Request) -> bool:
    """By `?format=csv`, or by the header Accept. Raises ValidationError for an unknown format."""
    requested = request.query_params.get("format") or request.accepted_renderer.format
    if requested not in FORMATS:
        raise ValidationError({"format": [f"Must be one of: {', '.join(FORMATS)}."]}, ErrorCode.INVALID_CHOICE)
    return requested == "csv"


class Echo:
    """A file for csv.writer that returns each line instead of storing it."""

    def write(self, text: str) -> str:
        return text


def csv_response(people: QuerySet[Person]) -> StreamingHttpResponse:
    """Return all these people (with counts) as CSV, streamed in chunks so that memory use does not grow."""
    response = StreamingHttpResponse(_lines(people), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="people.csv"'
    return response


def _lines(people: QuerySet[Person]) -> Iterator[str]:
    writer = csv.writer(Echo())
    yield writer.writerow(COLUMNS)
    for person in people.iterator(chunk_size=1000):
        yield writer.writerow(_cell(getattr(person, column)) for column in COLUMNS)


def _cell(value: Any) -> str:
    """Return the value as text. What a GitHub user has as name must not be run as a formula by a spreadsheet."""
    if value is None:
        return ""
    return escape_formulas(value.isoformat() if hasattr(value, "isoformat") else str(value))
