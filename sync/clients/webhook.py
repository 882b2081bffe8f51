"""Short requests to a URL that an operator has given: a health check service, or an incoming webhook.

The URL is a secret. A service that is down, slow or wrong never blocks or fails a run: the time limits are short, few
tries are made, and what went wrong is returned, not raised.
"""

import threading
import time
from typing import Any

import requests

from sync.clients.network_errors import describe
from sync.clients.session import new_session, time_limit

MAX_SECONDS = 5.0  # for a request
TRIES = 3
PAUSE = 0.5  # seconds before the second try; longer before the third


def post(url: str, *, json: Any = None, text: str | None = None) -> str:
    """POST once, and again after failures that pass. Returns why it was not accepted, or "" if it was.

    A request whose response was lost is repeated, so the receiver may get it twice. One that got no response in time is
    not: a slow receiver has probably processed it.
    """
    with new_session(url, {"User-Agent": "gisttracker"}, 1) as session:
        for number in range(TRIES):
            time.sleep(PAUSE * number)
            error, is_final = _try(session, url, json, text)
            if is_final:
                break
    return error


def _try(session: requests.Session, url: str, json: Any, text: str | None) -> tuple[str, bool]:
    """Returns the error, or "", and whether another try would be useless."""
    data = text.encode() if text is not None else None
    try:
        with (
            time_limit(MAX_SECONDS, threading.Event()) as limit,
            session.post(
                url, json=json, data=data, timeout=MAX_SECONDS, stream=True, allow_redirects=False
            ) as response,
        ):
            status = response.status_code
    except (requests.RequestException, OSError, ValueError) as error:
        return describe(error, url), isinstance(error, requests.ReadTimeout) or limit.is_ended
    if 200 <= status < 300:
        return "", True
    return f"it returned {status}", status < 500 and status != 429
