"""`manage.py rotate_api_key NAME`: replace the keys of a consumer by a new one."""

import re
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser

from gisttracker.config import logs
from gisttracker.management.command_line import GisttrackerCommand
from people.keys import DEFAULT_OVERLAP, MAX_OVERLAP, find_consumer, rotate_key
from people.management.arguments import add_expires, parse_last_day

OVERLAP = re.compile(r"([0-9]{1,5})([dhm])")
UNITS = {"d": "days", "h": "hours", "m": "minutes"}


class Command(GisttrackerCommand):
    help = (
        "Replace the valid keys of a consumer by a new one with the same access, and print it once. Both work during "
        "the overlap. The consumer keeps its visit markers and its feed marker. The key is the last word on stdout."
    )
    examples = ("my-team", "my-team --overlap 12h", "my-team --overlap 0m --expires 2027-01-31")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="name of the consumer")
        parser.add_argument(
            "--overlap",
            default=f"{DEFAULT_OVERLAP.days}d",
            help="how long the old keys stay valid: days, hours or minutes, such as 7d (default), 12h or 0m",
        )
        add_expires(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        expires_at, overlap = parse_last_day(options["expires"]), parse_overlap(options["overlap"])
        consumer = find_consumer(options["name"].strip())
        if consumer is None:
            shown = logs.redact(options["name"])  # A whole key may have been pasted.
            raise CommandError(f"No consumer has the name {shown!r}. See list_api_keys.", returncode=2)
        try:
            created = rotate_key(consumer, overlap, expires_at=expires_at)
        except ValueError as error:
            raise CommandError(str(error), returncode=2) from None
        for key in created.replaced:
            self.stderr.write(f"The key {key.prefix} is valid until {key.expiry_date:%Y-%m-%d %H:%M} UTC.")
        access = "read-only" if created.key.read_only else "read and write"
        end = created.key.expiry_date
        validity = f", valid until {end:%Y-%m-%d %H:%M} UTC" if end else ""
        self.stdout.write(f"{consumer} ({access}{validity}): {created.secret}")


def parse_overlap(text: str) -> timedelta:
    match = OVERLAP.fullmatch(text.strip())
    overlap = timedelta(**{UNITS[match[2]]: int(match[1])}) if match else None
    if overlap is None or overlap > MAX_OVERLAP:
        message = f"--overlap must be a time such as 7d, 12h or 30m, at most {MAX_OVERLAP.days}d."
        raise CommandError(message, returncode=2)
    return overlap
