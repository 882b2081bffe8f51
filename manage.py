#!/usr/bin/env python3
"""Django's command line. Every setting is also a flag of every command."""

import os
import sys

from django.core.management import ManagementUtility
from django.core.management.base import BaseCommand, CommandParser

from gisttracker import environment, logs


class CommandLine(ManagementUtility):
    """Adds the flags of the settings to the parser of every command, so that they are accepted and shown in its -h."""

    def fetch_command(self, subcommand: str) -> BaseCommand:
        command = super().fetch_command(subcommand)
        add_arguments = command.add_arguments

        def add_all_arguments(parser: CommandParser) -> None:
            add_arguments(parser)
            environment.add_flags(parser)

        command.add_arguments = add_all_arguments  # type: ignore[method-assign]  # wraps it, for any command
        return command


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gisttracker.settings")
    environment.apply_flags(sys.argv[2:])
    sys.excepthook = logs.log_uncaught
    try:
        CommandLine(sys.argv).execute()
    except Exception as error:
        logs.log_uncaught(type(error), error, error.__traceback__)
        sys.exit(environment.EX_UNAVAILABLE if logs.is_database_error(error) else 1)
