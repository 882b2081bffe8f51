"""`manage.py list_api_keys`: show the API keys, without the secrets."""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

from django.core.management.base import CommandParser

from gisttracker.commands import GisttrackerCommand
from people.models import ApiKey


@dataclass(frozen=True)
class Row:
    """What is shown of a key. Days are in UTC; `last_day` is None for a key that does not expire."""

    name: str
    prefix: str
    access: str
    created: str
    last_day: str | None
    revoked: bool


class Command(GisttrackerCommand):
    help = "List the API keys, oldest first, with their names, prefixes, access and last day (UTC)."
    examples = ("", "--json")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON array")

    def handle(self, *args: Any, **options: Any) -> None:
        rows = [describe(key) for key in ApiKey.objects.order_by("created", "prefix")]
        if options["json"]:
            self.stdout.write(json.dumps([asdict(row) for row in rows]))
        elif rows:
            self.stdout.write("\n".join(format_table(rows)))
        else:
            self.stdout.write("There are no API keys. `manage.py create_api_key NAME` creates one.")


def describe(key: ApiKey) -> Row:
    # The time of expiry is the first moment at which the key is not valid any more.
    last_day = key.expiry_date and (key.expiry_date.astimezone(dt.UTC) - dt.timedelta(microseconds=1)).date()
    return Row(
        name=key.name,
        prefix=key.prefix,
        access="read-only" if key.read_only else "read and write",
        created=key.created.astimezone(dt.UTC).date().isoformat(),
        last_day=last_day.isoformat() if last_day else None,
        revoked=key.revoked,
    )


def format_table(rows: list[Row]) -> Iterator[str]:
    """A line of column names, then a line for each row."""
    lines = [[field.name.replace("_", " ") for field in fields(Row)], *(_format_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _format_cells(row: Row) -> list[str]:
    return [
        *(" ".join(row.name.split()), row.prefix, row.access, row.created),
        *(row.last_day or "-", "revoked" if row.revoked else "-"),
    ]
