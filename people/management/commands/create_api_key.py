"""`manage.py create_api_key NAME`: create an API key and print it once."""

import datetime as dt
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from gisttracker.commands import GisttrackerCommand
from people.models import ApiKey


class Command(GisttrackerCommand):
    help = "Create an API key and print it once (only its hash is stored). The key is the last word on stdout."
    examples = ("my-team", "dashboard --read-only --expires 2027-01-31")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="name of the consumer, at most 50 characters")
        parser.add_argument("--read-only", action="store_true", help="the key may only read")
        parser.add_argument(
            "--expires", metavar="DATE", help="last day (UTC) on which the key is valid, such as 2027-01-31"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["name"].strip()
        if not 1 <= len(name) <= 50:
            raise CommandError("NAME must have 1 to 50 characters.", returncode=2)
        key, secret = ApiKey.objects.create_key(
            name=name, read_only=options["read_only"], expiry_date=_end_of(options["expires"])
        )
        access = "read-only" if options["read_only"] else "read and write"
        validity = f", valid through {options['expires']}" if key.expiry_date else ""
        self.stdout.write(f"{name} ({access}{validity}): {secret}")


def _end_of(day: str | None) -> dt.datetime | None:
    if day is None:
        return None
    try:
        end = dt.datetime.combine(dt.date.fromisoformat(day) + dt.timedelta(days=1), dt.time(), dt.UTC)
    except (ValueError, OverflowError):
        raise CommandError("--expires must be a date such as 2027-01-31.", returncode=2) from None
    if end <= timezone.now():
        raise CommandError("--expires is in the past.", returncode=2)
    return end
