"""Arguments that several commands have."""

import datetime as dt

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone


def add_expires(parser: CommandParser) -> None:
    parser.add_argument(
        "--expires", metavar="DATE", help="last day (UTC) on which the key is valid, such as 2027-01-31"
    )


def parse_last_day(day: str | None) -> dt.datetime | None:
    """Return the end of this day in UTC. Raises CommandError."""
    if day is None:
        return None
    try:
        end = dt.datetime.combine(dt.date.fromisoformat(day) + dt.timedelta(days=1), dt.time(), dt.UTC)
    except (ValueError, OverflowError):
        raise CommandError("--expires must be a date such as 2027-01-31.", returncode=2) from None
    if end <= timezone.now():
        raise CommandError("--expires is in the past.", returncode=2)
    return end
