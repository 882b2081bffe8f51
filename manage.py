#!/usr/bin/env python3
"""Django's command line, in which every setting may also be given as a flag."""

import os
import sys

from django.core.management import ManagementUtility
from django.core.management.base import BaseCommand, CommandParser

from gisttracker import environment, logs


class CommandLine(ManagementUtility):
    """Lists the settings' flags in every command's -h and lets its parser accept them."""

    def fetch_command(self, subcommand: str) -> BaseCommand:
        command = super().fetch_command(subcommand)
        add_arguments = command.add_arguments

        def with_settings(parser: CommandParser) -> None:
            add_arguments(parser)
            environment.add_flags(parser)

        command.add_arguments = with_settings  # type: ignore[method-assign]  # Adds to it, for every command.
        return command


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gisttracker.settings")
    environment.take_flags(sys.argv[2:])
    sys.excepthook = logs.log_uncaught
    CommandLine(sys.argv).execute()
