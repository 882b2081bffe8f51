"""The command line: the frame of our own commands, and of Django's when they are called through manage.py.

The help of a command of ours shows its own options, the common ones, the settings that it reads, its exit codes and
examples. A setting that the command does not read is an unknown option. Django's commands accept all settings.
"""

import argparse
import functools
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from django.core.management import ManagementUtility
from django.core.management.base import BaseCommand, CommandParser, DjangoHelpFormatter

from gisttracker import __version__
from gisttracker.common import database_errors
from gisttracker.common.numbers import parse_whole_number
from gisttracker.config import environment, logs
from gisttracker.config.environment import EX_CONFIG, EX_INTERRUPTED, EX_SOFTWARE, EX_UNAVAILABLE, EX_USAGE

HELP_WIDTH = 80
COMMON_SETTINGS = (
    "DATABASE_HOST",
    "DATABASE_PORT",
    "DATABASE_NAME",
    "DATABASE_USERNAME",
    "DATABASE_PASSWORD",
    "DATABASE_TLS",
    "SQLITE_PATH",
    "LOG_FORMAT",
)
COMMON_EXIT_CODES = {
    0: "succeeded",
    EX_USAGE: "usage error: an option or argument is unknown, missing or invalid",
    EX_UNAVAILABLE: "the database cannot be used: not reachable, access denied, not migrated, read-only, ...",
    EX_SOFTWARE: "an unexpected error; the log has the traceback",
    EX_CONFIG: "a setting is invalid or missing",
    EX_INTERRUPTED: "stopped with Ctrl-C",
}


def whole_number(minimum: int, maximum: int) -> Callable[[str], int]:
    """An argparse type for whole numbers in a range."""

    def parse(text: str) -> int:
        try:
            return parse_whole_number(text, minimum, maximum)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


class HelpFormatter(DjangoHelpFormatter):
    """A short usage line, because all options are listed below it. Text with line breaks is kept as it is."""

    def add_usage(
        self, usage: str | None, actions: Iterable[argparse.Action], groups: Iterable[Any], prefix: str | None = None
    ) -> None:
        if usage is None:
            arguments = [
                self._format_args(action, self._get_default_metavar_for_positional(action))
                for action in actions
                if not action.option_strings
            ]
            usage = " ".join(["%(prog)s [options]", *arguments])
        super().add_usage(usage, actions, groups, prefix)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


class GisttrackerCommand(BaseCommand):
    """A command of ours.

    `reads`: the settings that it reads, besides COMMON_SETTINGS. `exit_codes`: in addition to COMMON_EXIT_CODES, or
    instead of them. `examples`: arguments with which it is called.
    """

    reads: ClassVar[tuple[str, ...]] = ()
    exit_codes: ClassVar[Mapping[int, str]] = {}
    examples: ClassVar[tuple[str, ...]] = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        kwargs = {"formatter_class": HelpFormatter, **kwargs}
        return super().create_parser(prog_name, subcommand, epilog=self._format_epilog(subcommand), **kwargs)

    def _format_epilog(self, subcommand: str) -> str:
        codes = sorted({**COMMON_EXIT_CODES, **self.exit_codes}.items())
        lines = [
            textwrap.fill(text, HELP_WIDTH, initial_indent=f"  {code:<5}", subsequent_indent=" " * 7)
            for code, text in codes
        ]
        examples = [f"  manage.py {subcommand} {arguments}".rstrip() for arguments in self.examples]
        return "\n".join(["exit codes:", *lines, "", "examples:", *examples])


class CommandLine(ManagementUtility):
    """Adds the settings as flags to every command that it calls, and allows no abbreviated options."""

    def execute(self) -> None:
        if self.argv[1:2] in (["version"], ["--version"]):
            sys.stdout.write(f"{format_version()}\n")
        else:
            super().execute()

    def fetch_command(self, subcommand: str) -> BaseCommand:
        command = super().fetch_command(subcommand)
        names = {*COMMON_SETTINGS, *command.reads} if isinstance(command, GisttrackerCommand) else None
        create = functools.partial(command.create_parser, allow_abbrev=False, formatter_class=HelpFormatter)

        def create_parser(prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
            parser = create(prog_name, subcommand, **kwargs)
            environment.add_flags(parser, names)
            return parser

        command.create_parser = create_parser  # type: ignore[method-assign]  # wraps it, for any command
        command.get_version = format_version  # type: ignore[method-assign]  # ours instead of Django's
        return command


def format_version() -> str:
    return f"gisttracker {__version__}"


def main(arguments: Sequence[str]) -> int:
    """Run the command that these arguments name. Returns the exit code of one that ended with an exception."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gisttracker.config.settings")
    environment.apply_flags(arguments[2:])
    sys.excepthook = logs.log_uncaught
    try:
        CommandLine(list(arguments)).execute()
    except Exception as error:
        logs.log_uncaught(type(error), error, error.__traceback__)
        return EX_UNAVAILABLE if database_errors.find_cause(error) else EX_SOFTWARE
    return 0
