"""`manage.py create_api_key NAME`: a key for a consumer of the API, shown once."""

import datetime as dt
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from people.models import ApiKey


class Command(BaseCommand):
    help = "Make an API key. It is shown this once: only its hash is kept. The last word on stdout is the key."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="whose key it is, 50 characters at most")
        parser.add_argument("--read-only", action="store_true", help="it may look, no more")
        parser.add_argument("--expires", metavar="DATE", help="the last day on which it works (UTC), as 2027-01-31")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["name"].strip()
        if not 1 <= len(name) <= 50:
            raise CommandError("NAME must have 1 to 50 characters.", returncode=2)
        key, secret = ApiKey.objects.create_key(
            name=name, read_only=options["read_only"], expiry_date=_end_of(options["expires"])
        )
        may = "reads" if options["read_only"] else "reads and writes"
        until = f" until the end of {options['expires']}" if key.expiry_date else ""
        self.stdout.write(f"{name} {may}{until}: {secret}")


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
