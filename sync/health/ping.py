"""Reports the runs for all people to a health check service, which raises an alarm when they stop coming.

The protocol of healthchecks.io and its like: https://healthchecks.io/docs/http_api/ - a POST to URL/start, and at the
end to URL or, after a failure, to URL/fail, with the last lines of the log. A run that was stopped, and that
a scheduler starts again, is neither: its end goes to URL/log. `rid` joins the two.
"""

import logging
import threading
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

from gisttracker.config.environment import EX_STOPPED
from sync.clients import webhook

log = logging.getLogger(__name__)
MAX_LINES = 100  # of the log
MAX_LENGTH = 10_000  # characters; healthchecks.io stores 100 kB
MAX_WAIT = 20.0  # seconds for a request, tries included


class LogTail(deque[str]):
    """The stream of a StreamHandler: keeps the last lines of the log."""

    write = deque.append

    def read(self) -> str:
        return "".join(self).rstrip("\n")[-MAX_LENGTH:]


@contextmanager
def ping(url: str, formatter: logging.Formatter) -> Iterator[None]:
    """Report the beginning and the end of the block. An exception, or another exit code than 0 or 75, is a failure.

    `formatter` redacts secrets in the lines of the log.
    """
    if not url:
        yield
        return
    rid, tail = uuid.uuid4(), LogTail(maxlen=MAX_LINES)
    handler = logging.StreamHandler(tail)
    handler.setFormatter(formatter)
    logging.getLogger().addHandler(handler)
    start = _send(f"{_extend(url, 'start')}rid={rid}", "")
    try:
        yield
    except BaseException as error:
        code = error.code if isinstance(error, SystemExit) else 1
        end = "log" if code == EX_STOPPED else "fail" if code else ""
        _finish(f"{_extend(url, end)}rid={rid}", "\n".join([tail.read(), *_describe(error)]).strip(), start)
        raise
    else:
        _finish(f"{_extend(url, '')}rid={rid}", tail.read(), start)
    finally:
        logging.getLogger().removeHandler(handler)


def send_test(url: str) -> webhook.Answer:
    """To URL/log, which changes nothing in what the service thinks of the runs."""
    return webhook.ask(f"{_extend(url, 'log')}rid={uuid.uuid4()}", text="This is a test by `manage.py doctor`.")


def _extend(url: str, path: str) -> str:
    """The URL with a further path segment, ready for a query parameter."""
    parts = urlsplit(url)
    extended = parts.path.rstrip("/") + (f"/{path}" if path else "")
    query = f"{parts.query}&" if parts.query else ""
    return urlunsplit((parts.scheme, parts.netloc, extended, "", "")) + "?" + query


def _describe(error: BaseException) -> list[str]:
    """The notes have the message of a configuration error, which is printed and not logged."""
    notes = list(getattr(error, "__notes__", []))
    if isinstance(error, SystemExit):
        return [*notes, f"exit code {error.code}"]
    return [*notes, f"{type(error).__name__}: the run ended with an unexpected error"]


def _send(url: str, text: str) -> threading.Thread:
    """Send in a thread, so that a slow service delays nothing."""

    def send() -> None:
        error = webhook.post(url, text=text)
        if error:
            log.warning("PING_URL did not accept the report: %s", error)

    thread = threading.Thread(target=send, name="ping", daemon=True)
    thread.start()
    return thread


def _finish(url: str, text: str, start: threading.Thread) -> None:
    """The report of the beginning must not arrive after that of the end."""
    start.join(MAX_WAIT)
    _send(url, text).join(MAX_WAIT)
