"""`manage.py wait_for_database`: return when the database accepts connections. Deployments run it before `migrate`."""

import logging
import math
import time
from typing import Any

from django.core.management.base import CommandParser
from django.db import connection
from django.db.utils import DatabaseError, InterfaceError

from gisttracker.common.database_errors import DENIED, LOST, SHUTDOWN, TOO_MANY, UNKNOWN, UNREACHABLE, Cause, find_cause
from gisttracker.management.command_line import GisttrackerCommand, whole_number

log = logging.getLogger(__name__)
DEFAULT_TIMEOUT = 300  # seconds
MAX_REFUSED = 60  # seconds: a server that is being set up may not have its users and databases yet
PAUSE = 1.0  # seconds
PASSING = {UNREACHABLE, LOST, SHUTDOWN, TOO_MANY}
REFUSED = {DENIED, UNKNOWN}


class Command(GisttrackerCommand):
    help = (
        "Wait until the database accepts connections, for example before `migrate` in a deployment. A server that "
        f"refuses the user, or has no such database, may be being set up; that is waited for at most {MAX_REFUSED} s."
    )
    examples = ("", "--timeout 60")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--timeout",
            type=whole_number(0, 86400),
            default=DEFAULT_TIMEOUT,
            metavar="SECONDS",
            help=f"give up after this time (default {DEFAULT_TIMEOUT})",
        )

    def handle(self, *args: Any, timeout: int, **options: Any) -> None:
        started = time.monotonic()
        reported = None
        while error := try_to_connect():
            cause, now = find_cause(error), time.monotonic()
            if cause != reported:
                deadline = min(started + timeout, now + get_limit(cause))
            if now >= deadline:
                raise error  # The command line names the cause, and ends with its exit code.
            if cause != reported:
                seconds = round(deadline - now)
                log.warning("Waiting up to %d s for the database at %s: %s", seconds, format_address(), error.args[-1])
                reported = cause
            time.sleep(min(PAUSE, deadline - now))
        if reported:
            log.warning("The database is available after %d s.", time.monotonic() - started)


def get_limit(cause: Cause | None) -> float:
    """For how many seconds an error with this cause may pass by itself."""
    if cause in REFUSED:
        return MAX_REFUSED
    return math.inf if cause in PASSING else 0


def try_to_connect() -> DatabaseError | InterfaceError | None:
    """The error of a new connection and its first statement; None if there is none."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (DatabaseError, InterfaceError) as error:
        return error
    finally:
        connection.close()
    return None


def format_address() -> str:
    database = connection.settings_dict
    return f"{database['HOST']}:{database['PORT']}" if database["HOST"] else str(database["NAME"])
