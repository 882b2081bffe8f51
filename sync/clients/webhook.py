"""Short requests to a URL that an operator has given: a health check service, or an incoming webhook.

The URL is a secret. A service that is down, slow or wrong never blocks or fails a run: the time limits are short, few
tries are made, and what went wrong is returned, not raised.
"""

import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from sync.clients.network_errors import describe
from sync.clients.session import new_session, time_limit

MAX_SECONDS = 5.0  # for a request
TRIES = 3
PAUSE = 0.5  # seconds before the second try; longer before the third


MAX_EXCERPT = 200  # characters
MIN_SECRET_LENGTH = 6  # characters; replacing a shorter text would damage ordinary words


@dataclass(frozen=True)
class Answer:
    """`error`: why the request was not accepted, or "". `is_final`: another try would be useless."""

    error: str
    is_final: bool
    status: int | None = None  # None: there was no response
    excerpt: str = ""  # the beginning of the response, if it was read


def post(url: str, *, json: Any = None, text: str | None = None) -> str:
    """POST once, and again after failures that pass. Returns why it was not accepted, or "" if it was.

    A request whose response was lost is repeated, so the receiver may get it twice. One that got no response in time is
    not: a slow receiver has probably processed it.
    """
    with new_session(url, {"User-Agent": "gisttracker"}, 1) as session:
        for number in range(TRIES):
            time.sleep(PAUSE * number)
            answer = _try(session, url, json, text)
            if answer.is_final:
                break
    return answer.error


def ask(url: str, *, json: Any = None, text: str | None = None) -> Answer:
    """POST once, for whoever tests the URL. Returns what the receiver answers, without the parts of the URL."""
    with new_session(url, {"User-Agent": "gisttracker"}, 1) as session:
        return _try(session, url, json, text, max_excerpt=MAX_EXCERPT)


def _try(session: requests.Session, url: str, json: Any, text: str | None, *, max_excerpt: int = 0) -> Answer:
    data = text.encode() if text is not None else None
    try:
        with (
            time_limit(MAX_SECONDS, threading.Event()) as limit,
            session.post(
                url, json=json, data=data, timeout=MAX_SECONDS, stream=True, allow_redirects=False
            ) as response,
        ):
            status = response.status_code
            excerpt = _read_excerpt(response, url)[:max_excerpt] if max_excerpt else ""
    except (requests.RequestException, OSError, ValueError) as error:
        return Answer(describe(error, url), isinstance(error, requests.ReadTimeout) or limit.is_ended)
    if 200 <= status < 300:
        return Answer("", True, status, excerpt)
    return Answer(f"it returned {status}", status < 500 and status != 429, status, excerpt)


def _read_excerpt(response: requests.Response, url: str) -> str:
    body = b""
    with suppress(OSError, urllib3.exceptions.HTTPError):  # The status is the answer.
        body = response.raw.read1(10 * MAX_EXCERPT, decode_content=True)
    excerpt = " ".join(body.decode("utf-8", "replace").split())
    parts = urlsplit(url)
    for secret in re.split(r"[/&=]", f"{parts.path}/{parts.query}"):
        excerpt = excerpt.replace(secret, "[secret]") if len(secret) >= MIN_SECRET_LENGTH else excerpt
    return excerpt
