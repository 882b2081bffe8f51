"""People as a CSV file."""

import csv
from array import array
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from gisttracker.common.error_codes import ErrorCode
from people.api.renderers import JsonRenderer
from people.models import Person
from people.spreadsheets import escape_formulas

COLUMNS = (
    "github_username",
    "name",
    "email",
    "company",
    "location",
    "state",
    "pipedrive_id",
    "backfill",
    "gist_count",
    "pending_count",
    "rejected_count",
    "polled_at",
    "created_at",
    "last_error",
    "push_error",
)
FORMATS = ("json", "csv")  # of the list of people
BATCH_SIZE = 1000


class CsvRenderer(BaseRenderer):
    """Lets clients accept text/csv. It renders nothing: csv_response streams, and errors are JSON (see ApiView)."""

    media_type = "text/csv"
    format = "csv"


def is_csv_requested(request: Request) -> bool:
    """By `?format=csv`, or by the header Accept. Raises ValidationError for an unknown format."""
    requested = request.query_params.get("format") or request.accepted_renderer.format
    if requested == "json":  # also if the header Accept prefers CSV
        request.accepted_renderer, request.accepted_media_type = JsonRenderer(), JsonRenderer.media_type
    if requested not in FORMATS:
        raise ValidationError({"format": [f"Must be one of: {', '.join(FORMATS)}."]}, ErrorCode.INVALID_CHOICE)
    return requested == "csv"


def csv_response(people: QuerySet[Person]) -> StreamingHttpResponse:
    """Return all these people, with their counts, as CSV, in parts, so that memory use hardly grows."""
    response = StreamingHttpResponse(_parts(people), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="people.csv"'
    return response


def _parts(people: QuerySet[Person]) -> Iterator[str]:
    """Select the keys first, and then the rows of each part: a part may be produced by another thread than the last
    one, with another database connection, so that a client that reads slowly occupies no thread (see bridge.py).
    """
    yield _format([COLUMNS])
    keys = array("q", people.values_list("pk", flat=True).iterator())
    for start in range(0, len(keys), BATCH_SIZE):
        batch = keys[start : start + BATCH_SIZE]
        rows = Person.objects.with_counts().in_bulk(batch)  # without those that were deleted meanwhile
        yield _format([getattr(rows[key], column) for column in COLUMNS] for key in batch if key in rows)


def _format(rows: Iterable[Sequence[Any]]) -> str:
    lines = StringIO()
    csv.writer(lines).writerows(map(_cell, row) for row in rows)
    return lines.getvalue()


def _cell(value: Any) -> str:
    """Return the value as text. What a GitHub user has as name must not be run as a formula by a spreadsheet."""
    if value is None:
        return ""
    return escape_formulas(value.isoformat() if hasattr(value, "isoformat") else str(value))
