"""`manage.py export_person LOGIN`: print all that is held about a person."""

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder

from gisttracker.management.command_line import GisttrackerCommand
from people.models import Person, Suppressed
from people.models.github_names import parse_login
from sync.export import export_person


class Command(GisttrackerCommand):
    help = "Print all that is held about a person, as one JSON object. Times are ISO 8601, in UTC."
    reads = ("GITHUB_API_URL",)  # the host of profile URLs
    examples = ("ada",)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("login", help="a GitHub login, @login or profile URL, in any case")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            login = parse_login(options["login"])
        except ValueError as error:
            raise CommandError(str(error), returncode=2) from None
        person = Person.objects.named(login).first()
        if person is None:
            held = "Only a salted hash" if Suppressed.objects.has_login(login) else "Nothing"
            raise CommandError(f"@{login} is not tracked. {held} of this login is held.", returncode=2)
        self.stdout.write(json.dumps(export_person(person), cls=DjangoJSONEncoder, indent=2, ensure_ascii=False))
