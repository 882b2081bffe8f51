"""`manage.py revoke_api_key NAME_OR_PREFIX`: end the use of an API key for good."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from gisttracker.config import logs
from gisttracker.management.command_line import GisttrackerCommand
from people.keys import revoke
from people.models import ApiKey


class Command(GisttrackerCommand):
    help = "Revoke an API key: from the next request on it is refused. It cannot be made valid again."
    examples = ("my-team", "Qh8ZkT3v")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "key", metavar="NAME_OR_PREFIX", help="name of its consumer, or its prefix: its first 8 characters"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        key = find_key(options["key"].strip())
        if key.revoked:
            self.stdout.write(f"{key.consumer.name} ({key.prefix}) is already revoked.")
            return
        revoke(key)
        self.stdout.write(f"{key.consumer.name} ({key.prefix}) is revoked.")


def find_key(given: str) -> ApiKey:
    """Return the key with this prefix, else the one of the consumer with this name; of several, the valid one.

    Upper and lower case are different, also on MySQL, whose comparison ignores it.
    """
    keys: list[ApiKey] = list(ApiKey.objects.select_related("consumer").order_by("created"))
    found = [key for key in keys if key.prefix == given]
    found = found or [key for key in keys if key.consumer.name == given]
    if not found:
        shown = logs.redact(given)  # A whole key may have been pasted.
        raise CommandError(f"No API key has the name or prefix {shown!r}. See list_api_keys.", returncode=2)
    valid = [key for key in found if not key.revoked and not key.has_expired]
    if len(valid) > 1:
        prefixes = ", ".join(key.prefix for key in valid)
        message = f"{given!r} has {len(valid)} valid API keys. Name one by its prefix: {prefixes}."
        raise CommandError(message, returncode=2)
    return (valid or found)[-1]
