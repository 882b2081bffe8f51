"""The database connection: required encryption and character set, and errors that pass."""

import functools
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from django.db import connection
from django.db.models import QuerySet
from django.db.utils import InterfaceError, OperationalError

log = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")
LOCK_TIMEOUT = 1205  # https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
# Too many connections (of all users, of this one), shutdown, deadlock, killed connection, timeouts.
TRANSIENT_SERVER_ERRORS = {1040, 1053, 1203, 1213, 1226, 1927, 3024, 4031}
READ_ONLY_ERRORS = {1290, 1792, 1836}  # during a failover, for example
# https://dev.mysql.com/doc/mysql-errors/8.4/en/client-error-reference.html: no connection, or a lost one
TRANSIENT_CLIENT_ERRORS = {2002, 2003, 2006, 2013, 2055}
CONFLICTS = {LOCK_TIMEOUT, 1213}  # with other transactions; ours was rolled back
sleep = time.sleep  # The tests replace it.


def error_code(error: BaseException) -> int:
    """MySQL's error number; 0 if there is none."""
    code = error.args[0] if error.args else 0
    return code if isinstance(code, int) else 0


def is_read_only(error: BaseException) -> bool:
    return error_code(error) in READ_ONLY_ERRORS or "readonly database" in str(error)


def is_transient(error: BaseException) -> bool:
    """May the same statement, or transaction, succeed in a moment?"""
    if isinstance(error, InterfaceError):
        return True
    if not isinstance(error, OperationalError):
        return False
    is_busy = any(word in str(error) for word in ("database is locked", "database table is locked"))
    return is_busy or error_code(error) in TRANSIENT_SERVER_ERRORS | TRANSIENT_CLIENT_ERRORS | READ_ONLY_ERRORS


def is_lock_timeout(error: BaseException) -> bool:
    """Did another connection keep a row locked for longer than we wait?"""
    return error_code(error) == LOCK_TIMEOUT


def is_conflict(error: BaseException) -> bool:
    """Was our transaction rolled back because of another one?"""
    return error_code(error) in CONFLICTS


@dataclass(frozen=True)
class Retry:
    """Decorates a function that may run twice: it is repeated, on a new connection, after errors that pass.

    Inside a transaction it is not repeated, because the transaction is lost; whoever began it repeats it. Each pause
    is prolonged at random, to at most twice its length, so that two that met do not meet again.
    """

    passes: Callable[[BaseException], bool]
    seconds: float  # after which an error is raised
    pauses: tuple[float, ...]  # seconds

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            deadline = time.monotonic() + self.seconds
            for pause in self.pauses:
                try:
                    return function(*args, **kwargs)
                except (OperationalError, InterfaceError) as error:
                    if connection.in_atomic_block or not self.passes(error) or time.monotonic() > deadline:
                        raise
                    log.warning("The database failed and is tried again: %s", error)
                connection.close()
                sleep(pause * (1 + random.random()))  # noqa: S311  # not a secret
            return function(*args, **kwargs)

        return call


# For the job: a restart of the server takes up to 30 s.
retried = Retry(is_transient, 60.0, (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, *[2.0] * 30))
# For web requests. Not while the database is away: a request is answered with 503 soon, and its client decides.
retried_on_conflict = Retry(is_conflict, 10.0, (0.02, 0.04, 0.08, 0.16, 0.32, 0.64))


def lock_free(rows: QuerySet[Any]) -> set[int]:
    """Lock those of these rows that no other connection has locked, and return their keys. Inside a transaction.

    Rows that refer to them can be written then: that waits for a locked row, and fails for a deleted one.
    """
    return set(rows.select_for_update(skip_locked=True).order_by("pk").values_list("pk", flat=True))


def require_encryption(connection: Any, **_: Any) -> None:
    """Close a connection that is not encrypted and raise OperationalError. Receiver of `connection_created`.

    The client library only requests encryption: when the server offers none, it continues in plain text.
    """
    with connection.cursor() as cursor:
        cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
        (_, cipher) = cursor.fetchone()
    if not cipher:
        connection.close()
        raise OperationalError("DATABASE_TLS is true, but the MySQL server offers no encryption (SSL).")


def cascade_foreign_keys(apps: Any, schema_editor: Any) -> None:
    """Let MySQL delete the rows that refer to a deleted one. For RunPython, last in the migration that creates them.

    Django adds foreign keys at the end of a migration and has no option for this before 6.1. On SQLite Django's own
    deletion does it.
    """
    if schema_editor.connection.vendor == "mysql":
        schema_editor.deferred_sql = [
            f"{statement} ON DELETE CASCADE" if "FOREIGN KEY" in str(statement) else statement
            for statement in schema_editor.deferred_sql
        ]
