"""Log formats: text for a terminal, or one JSON object per line. Both redact secrets and e-mail addresses.

Secrets are replaced in the formatted text, so that messages, arguments, extra fields and tracebacks are all covered,
also those of libraries.
"""

import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any
from urllib.parse import quote

from pythonjsonlogger.json import JsonFormatter as PythonJsonFormatter

from gisttracker.common import database_errors
from gisttracker.config.environment import EX_INTERRUPTED

MIN_SECRET_LENGTH = 6  # characters; replacing a shorter text would damage ordinary words
_secrets: set[str] = set()
_global_fields: dict[str, Any] = {}
_request_id: ContextVar[str] = ContextVar("request_id")
EMAIL = re.compile(r"[\w.+-]{1,64}(?:@|%40)[\w-]{1,63}(?:\.[\w-]{1,63})+")
SEARCH = re.compile(r"([?&]search=)[^&\s\"]+")  # in URLs: of names and e-mail addresses
API_KEY = re.compile(r"\b[A-Za-z0-9]{8}\.[A-Za-z0-9]{32}\b")  # the format of djangorestframework-api-key


def register_secrets(secrets: Iterable[str]) -> None:
    """Redact these from all further records: as they are, URL-encoded, as in a repr, and as in JSON."""
    for secret in secrets:
        if len(secret) >= MIN_SECRET_LENGTH:
            forms = {secret, quote(secret, safe=""), repr(secret)[1:-1]}
            _secrets.update(forms, {json.dumps(form)[1:-1] for form in forms})


def bind_global(**fields: Any) -> None:
    """Add these fields to all further records of this process."""
    _global_fields.update(fields)


@contextmanager
def bind_request(request_id: str) -> Iterator[None]:
    """Add the request id to the records of this thread, inside the with block."""
    token = _request_id.set(request_id)
    try:
        yield
    finally:
        _request_id.reset(token)


def get_context(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields that are added to a record: the global ones, and `request` (the id).

    Django logs some records after the middleware returned; those have the request itself as an attribute.
    """
    request_id = getattr(getattr(record, "request", None), "request_id", "") or _request_id.get("")
    return {**_global_fields, **({"request": request_id} if request_id else {})}


def redact(text: str) -> str:
    """Replace registered secrets and API keys with `[secret]`, e-mail addresses and search terms with `[personal]`."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, "[secret]")
    text = SEARCH.sub(r"\1[personal]", API_KEY.sub("[secret]", text))
    return EMAIL.sub("[personal]", text)


class TextFormatter(logging.Formatter):
    """`2026-11-24 12:00:00,000 WARNING sync.summary [run 7]: message`"""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # named by the logging module
        context = " ".join(f"{name} {value}" for name, value in get_context(record).items())
        suffix = f" [{context}]" if context else ""
        return f"{self.formatTime(record)} {record.levelname} {record.name}{suffix}: {record.message}"


class JsonFormatter(PythonJsonFormatter):
    """`{"time": ..., "level": ..., "logger": ..., "message": ..., "run": 7, "person": "ada", ...}`"""

    def __init__(self) -> None:
        super().__init__(
            "{asctime}{levelname}{name}{message}",
            style="{",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger", "exc_info": "traceback"},
        )

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        super().add_fields(log_data, record, message_dict)
        log_data.pop("request", None)  # Django's request object; its id is added below.
        for name, value in get_context(record).items():
            log_data.setdefault(name, value)

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Log the exception that ends a command, with secrets redacted. Assigned to sys.excepthook."""
    if issubclass(kind, KeyboardInterrupt):
        sys.exit(EX_INTERRUPTED)
    log, cause = logging.getLogger("gisttracker"), database_errors.find_cause(error)
    if cause and "--traceback" not in sys.argv:
        log.critical("%s", database_errors.format_cause(cause, error))
    else:
        log.critical("%s", error, exc_info=(kind, error, traceback))
