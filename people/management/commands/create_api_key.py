"""`manage.py create_api_key NAME`: create an API key of a consumer and print it once."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from gisttracker.management.command_line import GisttrackerCommand
from people.keys import create_key, parse_consumer_name
from people.management.arguments import add_expires, parse_last_day
from people.models import ApiKey


class Command(GisttrackerCommand):
    help = (
        "Create an API key and print it once (only its hash is stored). The key is the last word on stdout. Keys of "
        "the same consumer share its visit markers and its feed marker. To replace a key, use rotate_api_key."
    )
    examples = ("my-team", "dashboard --read-only --expires 2027-01-31")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="name of the consumer, at most 50 characters; a new name adds a consumer")
        parser.add_argument("--read-only", action="store_true", help="the key may only read")
        add_expires(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        expires_at = parse_last_day(options["expires"])
        try:
            name = parse_consumer_name(options["name"])
            others = ApiKey.objects.filter(consumer__name=name).valid().count()
            created = create_key(name, read_only=options["read_only"], expires_at=expires_at)
        except ValueError as error:
            raise CommandError(str(error), returncode=2) from None
        access = "read-only" if options["read_only"] else "read and write"
        validity = f", valid through {options['expires']}" if expires_at else ""
        if others:
            keys = "1 other valid key, which stays" if others == 1 else f"{others} other valid keys, which stay"
            self.stderr.write(f"{name} has {keys} valid. See rotate_api_key.")
        self.stdout.write(f"{name} ({access}{validity}): {created.secret}")
