"""Why the database cannot be used, in words: the cause of a database error, and what to do.

A wrong statement of ours is no such cause: it is a defect, and its traceback is needed. MySQL's errors are known by
their numbers, SQLite's by their texts.
"""

from dataclasses import dataclass

from django.db.migrations.exceptions import MigrationSchemaMissing
from django.db.utils import DatabaseError, InterfaceError

from gisttracker.common.database import READ_ONLY_ERRORS, error_code


@dataclass(frozen=True)
class Cause:
    """`what` is wrong with the database, and what to `do`."""

    what: str
    do: str


UNREACHABLE = Cause("the server is not reachable", "Check that it runs, DATABASE_HOST, DATABASE_PORT and the network")
LOST = Cause("the connection was lost", "Check the server's log, and repeat the command")
DENIED = Cause("access was denied", "Check DATABASE_USERNAME, DATABASE_PASSWORD, and the rights of that user")
UNKNOWN = Cause("this database does not exist", "Create it (see docs/deploy.md), or check DATABASE_NAME")
NOT_MIGRATED = Cause("it is not migrated", "Run `manage.py migrate`")
READ_ONLY = Cause("it is read-only", "Connect to the primary server, or end its read-only mode")
TOO_MANY = Cause("it has too many connections", "Raise its max_connections, or lower WEB_WORKERS")
BUSY = Cause("it is locked by another connection", "Repeat the command when the other process has ended")
FULL = Cause("its disk is full", "Free space on the disk of the database")
NO_ENCRYPTION = Cause("the connection cannot be encrypted", "Check DATABASE_TLS and the certificates of the server")
SHUTDOWN = Cause("the server ended the connection", "Check that it runs, and repeat the command")
NO_FILE = Cause("its file cannot be opened", "Check SQLITE_PATH, that its folder exists, and its access rights")
NOT_WRITABLE = Cause("its file is read-only", "Check the access rights of SQLITE_PATH and of its folder")
NO_DATABASE = Cause("its file is not a SQLite database, or is damaged", "Check SQLITE_PATH, or restore a backup")

# https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html, and client-error-reference.html
MYSQL_CAUSES = {
    **dict.fromkeys((2001, 2002, 2003, 2004, 2005, 2009), UNREACHABLE),
    **dict.fromkeys((2006, 2013, 2055), LOST),
    **dict.fromkeys((2026, 3159), NO_ENCRYPTION),
    **dict.fromkeys((1044, 1045, 1129, 1130, 1142, 1143, 1227, 1370, 1410, 1698, 2059, 2061, 3118), DENIED),
    1049: UNKNOWN,
    **dict.fromkeys((1054, 1109, 1146), NOT_MIGRATED),
    **dict.fromkeys(READ_ONLY_ERRORS, READ_ONLY),
    **dict.fromkeys((1040, 1203, 1226), TOO_MANY),
    **dict.fromkeys((1205, 1213), BUSY),
    **dict.fromkeys((3, 28, 1021, 1114), FULL),
    **dict.fromkeys((1053, 1077, 1079, 1927, 3024, 3168, 4031), SHUTDOWN),
}
# Parts of the messages of https://www.sqlite.org/rescode.html; it has no codes of its own for tables and columns.
SQLITE_CAUSES = {
    "unable to open database file": NO_FILE,
    "attempt to write a readonly database": NOT_WRITABLE,
    "file is not a database": NO_DATABASE,
    "database disk image is malformed": NO_DATABASE,
    "database is locked": BUSY,
    "database table is locked": BUSY,
    "database or disk is full": FULL,
    "disk I/O error": Cause("its disk fails", "Check the disk of SQLITE_PATH and its file system"),
    "no such table": NOT_MIGRATED,
    "no such column": NOT_MIGRATED,
    "has no column named": NOT_MIGRATED,
    "DATABASE_TLS is true": NO_ENCRYPTION,  # our own; see gisttracker.common.database
}


def find_cause(error: BaseException) -> Cause | None:
    """The reason why the database cannot be used; None if this error is about something else."""
    error = _original(error)
    if not isinstance(error, DatabaseError | InterfaceError):
        return None
    if isinstance(error, InterfaceError) and error.args[:1] == (0,):
        return LOST  # mysqlclient's way to say that the connection is closed
    if code := error_code(error):
        return MYSQL_CAUSES.get(code)
    return next((cause for text, cause in SQLITE_CAUSES.items() if text in str(error)), None)


def format_cause(cause: Cause, error: BaseException) -> str:
    """One line: what is wrong with the database, in the driver's words, too, and what to do."""
    error = _original(error)
    details = " ".join(str(error.args[-1] if error.args else "").split()).rstrip(".")
    suffix = f" ({details})" if details else ""
    return f"The database cannot be used: {cause.what}{suffix}. {cause.do}."


def _original(error: BaseException) -> BaseException:
    """`migrate` wraps the error of its first statement in an error of its own."""
    return error.__context__ or error if isinstance(error, MigrationSchemaMissing) else error
