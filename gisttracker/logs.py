"""How log records look: text for a terminal, or one JSON object a line; no secret in either, whoever wrote it.

Secrets are cut out of the finished text, so that messages, arguments, extras and tracebacks are all covered.
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

MIN_SECRET_LENGTH = 6  # characters; a shorter one would tear words apart, and is none
_secrets: set[str] = set()
_everywhere: dict[str, Any] = {}
_request: ContextVar[str] = ContextVar("request")
API_KEY = re.compile(r"\b[A-Za-z0-9]{8}\.[A-Za-z0-9]{32}\b")  # as djangorestframework-api-key makes them


def register_secrets(secrets: Iterable[str]) -> None:
    """Keep these out of all records from now on, as they are and as they look in URLs, in a repr and in JSON."""
    for secret in secrets:
        if len(secret) >= MIN_SECRET_LENGTH:
            spelled = {secret, quote(secret, safe=""), repr(secret)[1:-1]}
            _secrets.update(spelled, {json.dumps(spelling)[1:-1] for spelling in spelled})


def bind_global(**fields: Any) -> None:
    """Let every further record of this process carry these fields."""
    _everywhere.update(fields)


@contextmanager
def bind_request(request_id: str) -> Iterator[None]:
    """Let the records of this thread say which request they are about."""
    token = _request.set(request_id)
    try:
        yield
    finally:
        _request.reset(token)


def context(record: logging.LogRecord) -> dict[str, Any]:
    """What a record carries beside its own fields. Django's own records about a request come with the request."""
    request_id = getattr(getattr(record, "request", None), "request_id", "") or _request.get("")
    return {**_everywhere, **({"request": request_id} if request_id else {})}


def redact(text: str) -> str:
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, "[secret]")
    return API_KEY.sub("[secret]", text)


class TextFormatter(logging.Formatter):
    """`2026-11-24 12:00:00,000 WARNING sync.summary [run 7]: message`"""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the name is logging's
        where = " ".join(f"{name} {value}" for name, value in context(record).items())
        place = f" [{where}]" if where else ""
        return f"{self.formatTime(record)} {record.levelname} {record.name}{place}: {record.message}"


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
        log_data.pop("request", None)  # Django's object; its id is what helps.
        for name, value in context(record).items():
            log_data.setdefault(name, value)

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """For sys.excepthook: what ends a command is logged like everything else, without secrets."""
    if issubclass(kind, KeyboardInterrupt):
        sys.exit(130)
    log = logging.getLogger("gisttracker")
    if kind.__name__ in ("OperationalError", "ProgrammingError"):  # Django's; it may not be there yet.
        log.critical("%s - does the database answer, and was `manage.py migrate` run?", error)
    else:
        log.critical("%s", error, exc_info=(kind, error, traceback))
