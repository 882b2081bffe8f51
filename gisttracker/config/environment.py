"""All settings of the service: name, default, help text, parser and command-line flag.

Sources, in order of precedence: the command-line flag, the environment, the file named by NAME_FILE (secrets only),
the .env file, the default. An empty value counts as not set.
"""

import argparse
import difflib
import functools
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from dotenv import dotenv_values

from gisttracker.common import backfill
from gisttracker.config.parsers import (
    WholeNumber,
    boolean,
    host_names,
    http_url,
    one_of,
    origins,
    owner,
    text,
    token,
    url_with_path,
    webhook_url,
)

# Exit codes: argparse's, some of sysexits.h, and a shell's.
EX_USAGE = 2
EX_FAILED = 3  # ours: an API, or many of the things to do, failed
EX_UNAVAILABLE = 69  # a service is unavailable; here the database
EX_SOFTWARE = 70  # an internal software error
EX_STOPPED = 75  # EX_TEMPFAIL: stopped with work left, so start it again
EX_CONFIG = 78  # configuration error
EX_INTERRUPTED = 130  # the shell's code for a process that SIGINT has ended

GENERATED_KEY = "GISTTRACKER_GENERATED_SECRET_KEY"  # not for users: how child processes inherit it

# The .env file is also read by compose, and by shells that pass it on to these programs.
FOREIGN_PREFIXES = ("COMPOSE_", "DOCKER_", "BUILDKIT_", "MYSQL_", "MARIADB_", "DJANGO_", "GUNICORN_", "PYTHON")


@dataclass(frozen=True)
class Variable:
    """One setting. `help` is shown as "NAME: help" by the commands, and in the documentation."""

    name: str
    default: str
    help: str
    parse: Callable[[str], Any] = text
    secret: bool = False
    fallback: str = ""  # another environment variable, used when this one is not set

    @property
    def flag(self) -> str:
        return "--" + self.name.lower().replace("_", "-")


VARIABLES = (
    Variable("DATABASE_HOST", "", "MySQL server; empty: SQLite is used"),
    Variable("DATABASE_PORT", "3306", "port of the MySQL server", WholeNumber(1, 65535)),
    Variable("DATABASE_NAME", "pipedrive", "name of the database"),
    Variable("DATABASE_USERNAME", "pipedrive", "user of the database"),
    Variable("DATABASE_PASSWORD", "pipedrive", "password of that user", secret=True),
    Variable("DATABASE_TLS", "false", "require an encrypted connection to MySQL", boolean),
    Variable("PIPEDRIVE_TOKEN", "", "Pipedrive API token; required by sync_gists", token, secret=True),
    Variable("GITHUB_TOKEN", "", "GitHub token; without it GitHub allows 60 requests an hour", token, secret=True),
    Variable("SQLITE_PATH", "gisttracker.sqlite3", "SQLite file, used when DATABASE_HOST is empty"),
    Variable(
        "GITHUB_API_URL",
        "https://api.github.com",
        "URL of GitHub's REST API; GitHub Enterprise Server: https://HOST/api/v3",
        url_with_path,
    ),
    Variable(
        "PIPEDRIVE_API_URL",
        "https://api.pipedrive.com",
        "URL of Pipedrive's API; recommended: https://YOURCOMPANY.pipedrive.com",
        http_url,
    ),
    Variable("PIPEDRIVE_ACTIVITY_TYPE", "task", "key of the type of the created activities"),
    Variable("PIPEDRIVE_ACTIVITY_DONE", "true", "mark the created activities as done", boolean),
    Variable(
        "PIPEDRIVE_DAILY_ACTIVITIES",
        "0",
        "maximum number of activities that all runs of a UTC day create together; 0: unlimited",
        WholeNumber(0, 10_000_000),
    ),
    Variable(
        "PIPEDRIVE_ACTIVITY_OWNER",
        "token",
        "who owns the created activities: token (its user), person (the owner of the Pipedrive person) or a user's id",
        owner,
    ),
    Variable(
        "PIPEDRIVE_GITHUB_FIELD",
        "",
        "key or name of a custom text field of persons for the GitHub id; none: no field; empty: GitHub ID is created",
    ),
    Variable("PUSH_EDITS", "false", "update the activity when its gist is edited", boolean),
    Variable(
        "BACKFILL",
        "all",
        "which gists from before a person was added are exported: all, none, or those since a date such as 2026-01-31",
        backfill.parse,
    ),
    Variable(
        "GITHUB_REQUESTS_PER_MINUTE",
        "900",
        "maximum number of requests to GitHub per minute; GitHub itself allows 900",
        WholeNumber(1, 900),
    ),
    Variable(
        "GITHUB_STREAM",
        "true",
        "read GitHub's list of all public gists once a minute, to hear of new ones at once; costs 1 or 2 requests",
        boolean,
    ),
    Variable(
        "SYNC_INTERVAL_MINUTES",
        "180",
        "how often sync_gists runs for all people; older polls than two intervals and half an hour are unhealthy",
        WholeNumber(5, 10080),
    ),
    Variable(
        "PING_URL",
        "",
        "URL that each run for all people reports to: start, success, failure (the protocol of healthchecks.io)",
        webhook_url,
        secret=True,
    ),
    Variable(
        "NOTIFY_URL",
        "",
        "URL that gets one JSON POST for each problem that begins or ends, such as an incoming webhook of Slack",
        webhook_url,
        secret=True,
    ),
    Variable("ENVIRONMENT_NAME", "", "name shown in the admin and in notifications, such as production"),
    Variable(
        "SECRET_KEY",
        "",
        "Django's secret key, 50 characters or more; the same for all web processes",
        secret=True,
    ),
    Variable("DEBUG", "false", "show errors in the browser; never in production", boolean),
    Variable("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]", "host names of the service, comma-separated", host_names),
    Variable(
        "API_AUTH",
        "",
        "key: the API requires a key or a staff session; none: open to all; empty: key, or none with DEBUG",
        one_of("key", "none"),
    ),
    Variable(
        "API_REQUESTS_PER_MINUTE",
        "600",
        "maximum number of requests per minute of each consumer or staff member in each web process",
        WholeNumber(1, 1_000_000),
    ),
    Variable(
        "ANONYMOUS_REQUESTS_PER_MINUTE",
        "60",
        "maximum number of requests per minute of each address without a valid key in each web process",
        WholeNumber(1, 1_000_000),
    ),
    Variable("METRICS_PUBLIC", "false", "serve /metrics without a key", boolean),
    Variable(
        "CORS_ALLOWED_ORIGINS",
        "",
        "origins whose pages may call the API, such as https://app.example.com, comma-separated",
        origins,
    ),
    Variable("REQUIRE_HTTPS", "true", "redirect plain HTTP to HTTPS; has no effect with DEBUG", boolean),
    Variable(
        "TRUSTED_PROXY_COUNT",
        "0",
        "number of proxies in front, whose X-Forwarded-For and X-Forwarded-Proto headers are trusted",
        WholeNumber(0, 10),
    ),
    Variable(
        "ALLOW_INSECURE",
        "false",
        "start with a missing or weak SECRET_KEY, with ALLOWED_HOSTS=*, or with tokens sent over plain HTTP",
        boolean,
    ),
    Variable("LISTEN_HOST", "127.0.0.1", "address that the web service listens on; the image sets 0.0.0.0"),
    Variable("LISTEN_PORT", "3000", "port that the web service listens on", WholeNumber(1, 65535), fallback="PORT"),
    Variable("WEB_WORKERS", "1", "number of web processes, with 8 threads each", WholeNumber(1, 64)),
    Variable("LOG_FORMAT", "text", "format of the log: text or json", one_of("text", "json")),
)


def read(env_file: Path, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the typed values of all settings by name.

    An invalid value ends the process with one line that names it; exit code 78.
    """
    from_file = {name: value for name, value in dotenv_values(env_file).items() if value is not None}
    _warn_of_unknown_names(env_file.name, from_file)
    values = {**from_file, **environ}
    _warn_of_files(values)
    return {variable.name: _value(variable, values, environ) for variable in VARIABLES}


def _warn_of_unknown_names(file: str, names: Iterable[str]) -> None:
    """A misspelled name would be ignored silently. Names that other software reads from the same file are fine."""
    known = [variable.name for variable in VARIABLES]
    known += [f"{variable.name}_FILE" for variable in VARIABLES if variable.secret]
    not_secret = {f"{variable.name}_FILE" for variable in VARIABLES if not variable.secret}  # see _warn_of_files
    for name in names:
        if name in known or name in not_secret or name.startswith(FOREIGN_PREFIXES):
            continue
        closest = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.75)
        hint = f" Did you mean {closest[0]}?" if closest else ""
        _warn(f"{file}: {name} is not a setting of gisttracker and is ignored.{hint}")


def _warn_of_files(values: Mapping[str, str]) -> None:
    for variable in VARIABLES:
        if not variable.secret and values.get(f"{variable.name}_FILE"):
            _warn(f"{variable.name}_FILE is ignored: only secrets can be in a file. Set {variable.name} instead.")


@functools.cache  # Once in a process, also if the settings are read again.
def _warn(message: str) -> None:
    print(f"gisttracker: warning: {message}", file=sys.stderr)


def _value(variable: Variable, values: Mapping[str, str], environ: Mapping[str, str]) -> Any:
    source = variable.name
    given = _secret(variable, values, environ) if variable.secret else values.get(source, "")
    if not given and variable.fallback:
        source, given = variable.fallback, environ.get(variable.fallback, "")
    try:
        return variable.parse(given or variable.default) if given or variable.default else ""
    except ValueError as error:
        may_have_password = "://" in given and "@" in given
        shown = "" if variable.secret or may_have_password else f" (it is {given[:80]!r})"
        exit_with_config_error(f"{source} {error}{shown}.")


def _secret(variable: Variable, values: Mapping[str, str], environ: Mapping[str, str]) -> str:
    path = values.get(f"{variable.name}_FILE", "")
    if path and environ.get(variable.name):
        exit_with_config_error(f"{variable.name} and {variable.name}_FILE are both set. Set only one of them.")
    if not path:
        return values.get(variable.name, "")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        exit_with_config_error(f"{variable.name}_FILE must name a readable file: {path}: {reason}.")


def exit_with_config_error(message: str) -> NoReturn:
    """End the process with one line on stderr, no traceback, and exit code 78. The exception's note is the message."""
    print(f"gisttracker: {message}", file=sys.stderr)
    error = SystemExit(EX_CONFIG)
    error.add_note(message)
    raise error


def add_flags(parser: argparse.ArgumentParser, names: Collection[str] | None = None) -> None:
    """Add a flag for each of these settings, or for all, to a command's parser.

    A flag that is not given is absent from the result.
    """
    group = parser.add_argument_group(
        "settings", "Each setting is also an environment variable; a secret may be in a file, named by NAME_FILE."
    )
    for variable in VARIABLES:
        if names is not None and variable.name not in names:
            continue
        default = "" if variable.default == "" else f" (default {variable.default})".replace("%", "%%")
        group.add_argument(
            variable.flag,
            dest=variable.name,
            default=argparse.SUPPRESS,
            metavar="VALUE",
            help=f"{variable.name}: {variable.help}{default}",
        )


def apply_flags(arguments: Sequence[str], environ: MutableMapping[str, str] = os.environ) -> None:
    """Write the settings given as flags to the environment. Must run before Django reads its settings."""
    parser = argparse.ArgumentParser(usage=argparse.SUPPRESS, add_help=False, allow_abbrev=False)
    add_flags(parser)
    given, _ = parser.parse_known_args(list(arguments))
    for name, value in vars(given).items():
        environ[name] = value
        environ.pop(f"{name}_FILE", None)
