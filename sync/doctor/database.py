"""Is the database there, prepared and in time?"""

import os
import threading
from collections.abc import Iterator

from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from django.utils.translation import ngettext

from gisttracker.common import database_errors
from gisttracker.config import checks
from gisttracker.config.environment import EX_UNAVAILABLE
from people.models.freshness import MAX_CLOCK_ERROR
from sync.clock import database_clock
from sync.doctor.findings import Finding, ok, problem, warning
from sync.reasons import format_duration


def check_database(_: threading.Event) -> Iterator[Finding]:
    name = connection.settings_dict["NAME"]
    if not is_there():
        can_create = os.path.isdir(os.path.dirname(os.path.abspath(name)))
        create = (
            "Run `manage.py migrate`, which creates it" if can_create else "Check SQLITE_PATH: its folder is missing"
        )
        advice = f"{create}; or set DATABASE_HOST to use MySQL"
        yield problem(f"there is no SQLite file {name} yet", advice, EX_UNAVAILABLE)
        return
    try:
        yield from _examine(name)
    except (DatabaseError, InterfaceError) as error:
        cause = database_errors.find_cause(error)
        if cause is None:
            raise
        yield problem(database_errors.format_cause(cause, error), "", EX_UNAVAILABLE)


def is_there() -> bool:
    """May it be asked? To connect to a SQLite file that is missing would create it."""
    return connection.vendor != "sqlite" or os.path.exists(connection.settings_dict["NAME"])


def _examine(name: str) -> Iterator[Finding]:
    now, here = database_clock()(), timezone.now()
    executor = MigrationExecutor(connection)
    unapplied = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    if unapplied:
        sentence = ngettext("%d migration is not applied", "%d migrations are not applied", unapplied) % unapplied
        yield problem(sentence, "Run `manage.py migrate`", EX_UNAVAILABLE)
    for error in checks.check_character_set(None, databases=["default"]):
        yield problem(error.msg, error.hint or "", EX_UNAVAILABLE)
    if abs(now - here) > MAX_CLOCK_ERROR:
        difference = (
            f"its clock is {format_duration(abs(now - here))} {'ahead of' if now > here else 'behind'} this machine's"
        )
        yield warning(difference, "Let NTP set the clocks of both machines")
    version = ".".join(map(str, connection.get_database_version()))
    yield ok(f"{_product()} {version} is reachable ({name}){'' if unapplied else ', and all migrations are applied'}")


def _product() -> str:
    return "MariaDB" if getattr(connection, "mysql_is_mariadb", False) else connection.display_name
