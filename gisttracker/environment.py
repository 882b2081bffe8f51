"""Every setting of the service: its name, default and meaning, how it is read, and the flag that mirrors it.

A value comes from, first wins: the command-line flag, the environment, the file named by NAME_FILE (secrets
only), the .env file, the default. An empty value counts as not set.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from dotenv import dotenv_values

from people import backfill

EX_CONFIG = 78  # sysexits.h: the configuration is wrong; nothing else is.


def text(value: str) -> str:
    """Any text."""
    return value


def boolean(value: str) -> bool:
    """true or false (also yes/no, on/off, 1/0)."""
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if value.lower() not in words:
        raise ValueError("must be true or false")
    return words[value.lower()]


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """A reader for whole numbers from `least` to `most`."""

    def read(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", value) or not least <= int(value) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(value)

    return read


def one_of(*words: str) -> Callable[[str], str]:
    """A reader for one of a few words."""

    def read(value: str) -> str:
        if value not in words:
            raise ValueError(f"must be one of: {', '.join(words)}")
        return value

    return read


def words(value: str) -> list[str]:
    """A list, separated by commas."""
    return [word.strip() for word in value.split(",") if word.strip()]


def http_url(value: str) -> str:
    """An http(s) address of a host, without a path."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be an address such as https://api.example.com")
    if parts.path.strip("/"):
        raise ValueError("must have no path: the addresses of the API are added to the host")
    if parts.username or parts.password:
        raise ValueError("must not hold a user name or password")
    return value.rstrip("/")


def token(value: str) -> str:
    """A secret that can stand in an HTTP header."""
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise ValueError("must be one word of plain ASCII characters, without spaces or line breaks")
    return value


@dataclass(frozen=True)
class Variable:
    """One setting. `says` completes the sentence "NAME: ..." in help texts."""

    name: str
    default: str
    says: str
    read: Callable[[str], Any] = text
    secret: bool = False

    @property
    def flag(self) -> str:
        return "--" + self.name.lower().replace("_", "-")


VARIABLES = (
    Variable("DATABASE_HOST", "", "MySQL server; SQLite is used when empty"),
    Variable("DATABASE_PORT", "3306", "its port", whole_number(1, 65535)),
    Variable("DATABASE_NAME", "pipedrive", "its database"),
    Variable("DATABASE_USERNAME", "pipedrive", "its user"),
    Variable("DATABASE_PASSWORD", "pipedrive", "that user's password", secret=True),
    Variable("DATABASE_TLS", "false", "demand an encrypted connection to MySQL", boolean),
    Variable("PIPEDRIVE_TOKEN", "", "Pipedrive API token; sync_gists needs it", token, secret=True),
    Variable("GITHUB_TOKEN", "", "GitHub token; without it GitHub answers 60 requests an hour", token, secret=True),
    Variable("TEST_DATABASE_NAME", "", "database the tests create and drop (test_ + DATABASE_NAME when empty)"),
    Variable("SQLITE_PATH", "gisttracker.sqlite3", "SQLite file, used when DATABASE_HOST is empty"),
    Variable("GITHUB_API_URL", "https://api.github.com", "GitHub's REST API", http_url),
    Variable("PIPEDRIVE_API_URL", "https://api.pipedrive.com", "better: https://YOURCOMPANY.pipedrive.com", http_url),
    Variable("PIPEDRIVE_ACTIVITY_TYPE", "task", "key of the activity type to make"),
    Variable("PIPEDRIVE_ACTIVITY_DONE", "true", "make activities as done", boolean),
    Variable(
        "PIPEDRIVE_DAILY_ACTIVITIES",
        "0",
        "activities that all runs of a UTC day may make together; 0 = any number",
        whole_number(0, 10000000),
    ),
    Variable("PUSH_EDITS", "false", "bring the activity up to date when its gist is edited", boolean),
    Variable("BACKFILL", "all", "a new person's old gists to export: all, none, a number, or a date", backfill.parse),
    Variable(
        "PUSH_RECONCILE_AFTER_SECONDS",
        "120",
        "how long after a cut-off push Pipedrive is asked whether it arrived",
        whole_number(0, 86400),
    ),
    Variable("SYNC_CONCURRENCY", "8", "requests at once to each API", whole_number(1, 100)),
    Variable(
        "GITHUB_REQUESTS_PER_MINUTE", "900", "pace kept towards GitHub; 0 switches it off", whole_number(0, 1000000)
    ),
    Variable("SYNC_LEASE_SECONDS", "600", "how long a silent run keeps its people", whole_number(5, 86400)),
    Variable("SECRET_KEY", "", "Django's secret, 50 characters or more; the same for all web processes", secret=True),
    Variable("DEBUG", "false", "show errors in the browser; never in production", boolean),
    Variable("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]", "host names the API answers to, by commas", words),
    Variable("CSRF_TRUSTED_ORIGINS", "", "origins trusted behind a proxy, such as https://gists.example.com", words),
    Variable(
        "API_AUTH",
        "",
        "key: the API wants a key or a staff session; none: open to all. Default: key, with DEBUG none",
        one_of("key", "none"),
    ),
    Variable(
        "API_REQUESTS_PER_MINUTE",
        "600",
        "requests that each key, or staff member, may make; 0 = any number",
        whole_number(0, 1000000),
    ),
    Variable(
        "ANONYMOUS_REQUESTS_PER_MINUTE",
        "60",
        "requests from each address without a valid key; 0 = any number",
        whole_number(0, 1000000),
    ),
    Variable("METRICS_PUBLIC", "false", "serve /metrics to everybody, without a key", boolean),
    Variable(
        "CORS_ALLOWED_ORIGINS",
        "",
        "origins whose pages may call the API, such as https://app.example.com, by commas",
        words,
    ),
    Variable(
        "HTTPS",
        "true",
        "the service is reached by HTTPS only; plain HTTP is redirected. With DEBUG always false",
        boolean,
    ),
    Variable("PROXIES", "0", "proxies in front, whose X-Forwarded-For and -Proto are believed", whole_number(0, 10)),
    Variable("INSECURE", "false", "serve in spite of an empty or weak SECRET_KEY, or ALLOWED_HOSTS=*", boolean),
    Variable("HOST", "127.0.0.1", "address that the web service listens on; 0.0.0.0 in the image", text),
    Variable("WEB_WORKERS", "1", "processes of the web service, each with 8 threads", whole_number(1, 64)),
    Variable("PORT", "3000", "port of `make run` and of the image", whole_number(1, 65535)),
    Variable("LOG_FORMAT", "text", "text or json", one_of("text", "json")),
)


def read(env_file: Path, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """All settings by name. A bad one ends the process with one line that names it, exit code 78."""
    given = {name: value for name, value in dotenv_values(env_file).items() if value is not None}
    given.update(environ)
    values = {}
    for variable in VARIABLES:
        value = given.get(variable.name, "")
        path = given.get(f"{variable.name}_FILE", "") if variable.secret else ""
        if path and environ.get(variable.name):
            refuse(f"{variable.name} and {variable.name}_FILE are both set: set one of them.")
        if path:
            value = _from_file(variable, path)
        try:
            values[variable.name] = variable.read(value or variable.default) if value or variable.default else ""
        except ValueError as error:
            shown = "" if variable.secret else f" (it is {value[:80]!r})"
            refuse(f"{variable.name} {error}{shown}.")
    return values


def _from_file(variable: Variable, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        refuse(f"{variable.name}_FILE must name a readable file: {path}: {reason}.")


def exit_with_config_error(sentence: str) -> NoReturn:
    """End the process because of a wrong setting: one line, no traceback, exit code 78."""
    refuse(sentence)


def refuse(sentence: str) -> NoReturn:
    """End the process because of a wrong setting: one line, no traceback, exit code 78."""
    print(f"gisttracker: {sentence}", file=sys.stderr)
    raise SystemExit(EX_CONFIG)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for every setting to a command's parser. They show in its -h and are left out when not given."""
    group = parser.add_argument_group("settings", "Each is also a variable; secrets also as NAME_FILE.")
    for variable in VARIABLES:
        default = "" if variable.default == "" else f" (default {variable.default})".replace("%", "%%")
        group.add_argument(
            variable.flag,
            dest=variable.name,
            default=argparse.SUPPRESS,
            metavar="VALUE",
            help=f"{variable.name}: {variable.says}{default}",
        )


def take_flags(arguments: Sequence[str], environ: MutableMapping[str, str] = os.environ) -> None:
    """Put the settings given as flags into the environment, before Django reads its settings."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_flags(parser)
    given, _ = parser.parse_known_args(list(arguments))
    for name, value in vars(given).items():
        environ[name] = value
        environ.pop(f"{name}_FILE", None)
