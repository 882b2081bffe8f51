"""The command line: help, version, unknown options, exit codes, and a database that cannot be used."""

import json
import re
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import CommandParser
from django.db import IntegrityError, InterfaceError, OperationalError, ProgrammingError, connection
from django.db.migrations.exceptions import MigrationSchemaMissing

from gisttracker import __version__
from gisttracker.common import database_errors
from gisttracker.config.environment import VARIABLES
from gisttracker.management.command_line import COMMON_EXIT_CODES, COMMON_SETTINGS, CommandLine, GisttrackerCommand
from tests.conftest import ROOT, manage

OURS = sorted(name for name, app in get_commands().items() if app in ("gisttracker", "people", "sync"))


def get_help(name: str) -> str:
    """The -h of a command, as manage.py prints it."""
    return CommandLine(["manage.py"]).fetch_command(name).create_parser("manage.py", name).format_help()


def load(name: str) -> GisttrackerCommand:
    command = load_command_class(get_commands()[name], name)
    assert isinstance(command, GisttrackerCommand)
    return command


# --- help ---
def test_every_command_of_ours_has_the_frame() -> None:
    assert {"sync_gists", "sync_status", "undo_run", "after_restore", "prune", "create_api_key"} < set(OURS)
    assert [name for name in OURS if not load(name).examples] == []


@pytest.mark.parametrize("name", OURS)
def test_the_help_shows_options_then_settings_then_exit_codes_and_examples(name: str) -> None:
    output = get_help(name)

    places = [output.index(part) for part in ("options:", "--version", "settings:", "exit codes:", "examples:")]
    parser = CommandParser(add_help=False)
    load(name).add_arguments(parser)
    own = [output.index(f"  {option}") for action in parser._actions for option in action.option_strings]
    assert places == sorted(places)
    assert all(place < places[1] for place in own)
    assert output.startswith(f"usage: manage.py {name} [options]")
    assert re.search(rf"^  {69}   the database cannot be used", output, re.MULTILINE)
    assert f"  manage.py {name}" in output[places[-1] :]


@pytest.mark.parametrize("name", OURS)
def test_the_help_shows_only_the_settings_that_the_command_reads(name: str) -> None:
    shown = set(re.findall(r"^  (?:--[a-z-]+ VALUE)?\s+([A-Z_]{5,}):", get_help(name), re.MULTILINE))

    assert shown == {*COMMON_SETTINGS, *load(name).reads}


@pytest.mark.parametrize("name", OURS)
def test_a_command_declares_the_settings_that_it_uses(name: str) -> None:
    (file,) = ROOT.glob(f"*/management/commands/{name}.py")
    known = {variable.name for variable in VARIABLES}
    used = known & set(re.findall(r"settings\.([A-Z_]+)", file.read_text()))

    assert used <= {*COMMON_SETTINGS, *load(name).reads} <= known


def test_the_help_of_every_command_of_django_can_be_shown() -> None:
    for name in get_commands():
        assert "[options]" in get_help(name).splitlines()[0]


RunHere = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run_here(capsys: pytest.CaptureFixture[str]) -> RunHere:
    """Run a command line in this process. Returns its exit code, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = 0
        try:
            CommandLine(["manage.py", *arguments]).execute()
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        return code, *capsys.readouterr()

    return run


def test_a_setting_that_a_command_does_not_read_is_an_unknown_option(run_here: RunHere) -> None:
    code, output, errors = run_here("prune", "--backfill", "none")

    assert (code, output) == (2, "")
    assert errors.splitlines()[-1] == "manage.py prune: error: unrecognized arguments: --backfill none"


@pytest.mark.parametrize(
    "arguments",
    ["sync_gists --max-p 5", "sync_gists --dry", "sync_gists --database-h x", "check --depl", "check --listen-p 4"],
)
def test_an_abbreviated_option_is_an_error(arguments: str, run_here: RunHere) -> None:
    code, _, errors = run_here(*arguments.split())

    assert code == 2
    assert "unrecognized arguments: --" in errors


@pytest.mark.slow("starts manage.py as a process")
def test_a_setting_without_a_value_is_one_line() -> None:
    completed = manage("sync_status", "--database-host")

    assert completed.returncode == 2
    assert completed.stderr == "manage.py: error: argument --database-host: expected one argument\n"


@pytest.mark.parametrize("arguments", ["--version", "version", "sync_gists --version", "migrate --version"])
def test_the_version_is_ours(arguments: str, run_here: RunHere) -> None:
    assert run_here(*arguments.split()) == (0, f"gisttracker {__version__}\n", "")


# --- exit codes ---
def test_the_exit_codes_of_the_help_are_documented() -> None:
    table = (ROOT / "docs/operations.md").read_text().split("| code | meaning |")[1].split("\n\n")[0]
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}

    assert documented == {code for name in OURS for code in [*COMMON_EXIT_CODES, *load(name).exit_codes]}


@pytest.mark.slow("starts manage.py as a process")
def test_an_unexpected_error_has_an_exit_code_and_a_traceback() -> None:
    completed = manage("shell", "-v0", "-c", "1 / 0")

    assert completed.returncode == 70
    assert "Traceback" in completed.stderr


# --- a database that cannot be used ---
def is_refused(completed: subprocess.CompletedProcess[str], what: str) -> bool:
    """Did the command end with 69, one line that names this cause, and no traceback?"""
    lines = [line for line in completed.stderr.splitlines() if " CRITICAL " in line]
    return (
        completed.returncode == 69
        and len(lines) == 1
        and f"The database cannot be used: {what}" in lines[0]
        and "Traceback" not in completed.stderr
    )


@pytest.mark.slow("starts manage.py as a process")
@pytest.mark.parametrize("command", ["migrate", "create_api_key x"])
@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("missing/folder/x.sqlite3", "its file cannot be opened (unable to open database file). Check SQLITE_PATH"),
        ("text.txt", "its file is not a SQLite database, or is damaged (file is not a database). Check SQLITE_PATH"),
        (".", "its file cannot be opened (unable to open database file). Check SQLITE_PATH"),
    ],
    ids=["missing folder", "no database", "a folder"],
)
def test_an_unusable_sqlite_file_is_named(command: str, path: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("This is a text and no database.\n" * 100)

    assert is_refused(manage(*command.split(), SQLITE_PATH=str(tmp_path / path)), what)


@pytest.mark.slow("starts manage.py as a process")
@pytest.mark.parametrize("command", ["sync_status", "sync_gists", "revoke_api_key x"])
def test_a_database_that_is_not_migrated_is_named(command: str, tmp_path: Path) -> None:
    completed = manage(*command.split(), SQLITE_PATH=str(tmp_path / "empty.sqlite3"), PIPEDRIVE_TOKEN="x" * 9)

    assert is_refused(completed, "it is not migrated (no such table: ")
    assert "Run `manage.py migrate`." in completed.stderr


@pytest.mark.slow("starts manage.py as a process")
def test_an_old_schema_is_named(tmp_path: Path) -> None:
    database = tmp_path / "old.sqlite3"
    with sqlite3.connect(database) as old:
        old.execute("CREATE TABLE people_apikey (id TEXT)")
    old.close()

    assert is_refused(manage("list_api_keys", SQLITE_PATH=str(database)), "it is not migrated (no such table: people_")


@pytest.mark.slow("starts manage.py as a process")
def test_an_unreachable_server_is_named_as_json_without_secrets() -> None:
    completed = manage(
        *["sync_status", "--database-host", "127.0.0.1", "--database-port", "9", "--log-format", "json"],
        DATABASE_PASSWORD="must-not-be-logged",
    )

    assert completed.returncode == 69
    message = json.loads(completed.stderr)["message"]
    assert message.startswith("The database cannot be used: the server is not reachable (Can't connect to")
    assert message.endswith("Check that it runs, DATABASE_HOST, DATABASE_PORT and the network.")
    assert "must-not-be-logged" not in completed.stderr


@pytest.mark.slow("starts manage.py as a process")
@pytest.mark.server
@pytest.mark.parametrize(
    ("variables", "what"),
    [
        ({"DATABASE_PASSWORD": "wrong-password"}, "access was denied (Access denied for user"),
        ({"DATABASE_USERNAME": "wrong-user"}, "access was denied (Access denied for user"),
        ({"DATABASE_NAME": "no_such_database"}, "this database does not exist (Unknown database"),
        ({"DATABASE_NAME": "information_schema"}, "it is not migrated ("),
    ],
    ids=str,
)
def test_a_server_that_refuses_is_named(variables: dict[str, str], what: str, database_variables: Any) -> None:
    completed = manage("sync_status", **{**database_variables, **variables})

    assert is_refused(completed, what)
    assert "wrong-password" not in completed.stderr


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_a_table_and_a_statement_of_the_real_database_are_told_apart() -> None:
    causes = {}
    for statement in ("SELECT * FROM no_such_table", "SELECT no_such_column FROM people_person", "SELEC 1"):
        with pytest.raises((OperationalError, ProgrammingError)) as caught, connection.cursor() as cursor:
            cursor.execute(statement)
        causes[statement] = database_errors.find_cause(caught.value)

    assert list(causes.values()) == [database_errors.NOT_MIGRATED, database_errors.NOT_MIGRATED, None]


@pytest.mark.slow("starts manage.py as a process")
def test_a_wrong_statement_of_ours_keeps_its_traceback(tmp_path: Path) -> None:
    code = "from django.db import connection; connection.cursor().execute('SELEC 1')"

    completed = manage("shell", "-v0", "-c", code, SQLITE_PATH=str(tmp_path / "empty.sqlite3"))

    assert completed.returncode == 70
    assert "Traceback" in completed.stderr


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (OperationalError(2002, "Can't connect through socket"), "the server is not reachable"),
        (OperationalError(2005, "Unknown MySQL server host 'x' (-2)"), "the server is not reachable"),
        (OperationalError(2013, "Lost connection"), "the connection was lost"),
        (InterfaceError(0, ""), "the connection was lost."),
        (OperationalError(1045, "Access denied"), "access was denied"),
        (OperationalError(1142, "SELECT command denied"), "access was denied"),
        (OperationalError(1040, "Too many connections"), "it has too many connections"),
        (OperationalError(1290, "--read-only"), "it is read-only"),
        (OperationalError(1205, "Lock wait timeout exceeded"), "it is locked by another connection"),
        (OperationalError(1114, "The table is full"), "its disk is full"),
        (OperationalError(2026, "SSL connection error"), "the connection cannot be encrypted"),
        (OperationalError("DATABASE_TLS is true, but ..."), "the connection cannot be encrypted"),
        (OperationalError("attempt to write a readonly database"), "its file is read-only"),
        (OperationalError("database is locked"), "it is locked by another connection"),
        (OperationalError("database or disk is full"), "its disk is full"),
        (ProgrammingError(1146, "Table 'x.y' doesn't exist"), "it is not migrated"),
    ],
    ids=str,
)
def test_every_cause_is_named_in_one_line(error: Exception, what: str) -> None:
    cause = database_errors.find_cause(error)

    assert cause is not None
    line = database_errors.format_cause(cause, error)
    assert line.startswith(f"The database cannot be used: {what}")
    assert "\n" not in line


@pytest.mark.parametrize(
    "error",
    [
        ProgrammingError(1064, "You have an error in your SQL syntax"),
        OperationalError('near "SELEC": syntax error'),
        OperationalError(1366, "Incorrect string value"),
        IntegrityError(1062, "Duplicate entry"),
        InterfaceError("bad parameter or other API misuse"),
        ValueError("database is locked"),
    ],
    ids=str,
)
def test_a_defect_of_ours_is_no_unavailable_database(error: Exception) -> None:
    assert database_errors.find_cause(error) is None


def test_the_error_in_which_migrate_wraps_another_is_looked_through() -> None:
    try:
        try:
            raise OperationalError(1142, "CREATE command denied")
        except OperationalError as denied:
            raise MigrationSchemaMissing(f"Unable to create ({denied})")  # noqa: B904  # as Django does
    except MigrationSchemaMissing as error:
        cause, line = database_errors.find_cause(error), database_errors.format_cause(database_errors.DENIED, error)

    assert cause == database_errors.DENIED
    assert "(CREATE command denied)" in line
