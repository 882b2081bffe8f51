"""`manage.py list_api_keys`: show the API keys, without the secrets."""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

from django.core.management.base import CommandParser

from gisttracker.management.command_line import GisttrackerCommand
from people.models import ApiKey


@dataclass(frozen=True)
class Row:
    """What is shown of a key. Times are in UTC, as "2027-01-31 09:30"; None: it does not expire, or was not used."""

    consumer: str
    prefix: str
    access: str
    state: str
    created: str
    expires: str | None
    last_used: str | None


class Command(GisttrackerCommand):
    help = "List the API keys, oldest first, with their consumers, prefixes, access and times (UTC)."
    examples = ("", "--json")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON array")

    def handle(self, *args: Any, **options: Any) -> None:
        keys = ApiKey.objects.select_related("consumer").order_by("created", "prefix")
        rows = [describe(key) for key in keys]
        if options["json"]:
            self.stdout.write(json.dumps([asdict(row) for row in rows]))
        elif rows:
            self.stdout.write("\n".join(format_table(rows)))
        else:
            self.stdout.write("There are no API keys. `manage.py create_api_key NAME` creates one.")


def describe(key: ApiKey) -> Row:
    return Row(
        consumer=key.consumer.name,
        prefix=key.prefix,
        access="read-only" if key.read_only else "read and write",
        state="revoked" if key.revoked else "expired" if key.has_expired else "valid",
        created=key.created.astimezone(dt.UTC).date().isoformat(),
        expires=_format_time(key.expiry_date),
        last_used=_format_time(key.last_used_at),
    )


def _format_time(moment: dt.datetime | None) -> str | None:
    return f"{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M}" if moment else None


def format_table(rows: list[Row]) -> Iterator[str]:
    """A line of column names, then a line for each row."""
    lines = [[field.name.replace("_", " ") for field in fields(Row)], *(_format_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _format_cells(row: Row) -> list[str]:
    return [" ".join(str(value or "-").split()) for value in asdict(row).values()]
