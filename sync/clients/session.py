"""HTTP sessions whose requests have a limit for the whole response, however slowly it trickles.

Timeouts of `requests` limit each read only, and a response may have many. A watching thread therefore shuts down the
connections of requests that take too long, or that still go on a few seconds after the run was stopped.
"""

import functools
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.connection import HTTPConnection, HTTPSConnection

CHECK_SECONDS = 0.2
STOP_GRACE_SECONDS = 5.0  # that a request gets to finish after the run was stopped


def new_session(base_url: str, headers: Mapping[str, str], concurrency: int) -> requests.Session:
    """A session that keeps `concurrency` connections and no cookies.

    The environment's proxies and certificates are read once here: `trust_env` would read them for every request, and
    would also put a login of ~/.netrc in the place of our token.
    """
    session = requests.Session()
    session.trust_env = False
    session.proxies.update(get_environ_proxies(base_url))
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers.update(headers)
    adapter = _Adapter(pool_connections=1, pool_maxsize=concurrency)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


@dataclass
class _Request:
    deadline: float
    stopping: threading.Event
    stop_deadline: float = float("inf")
    sock: socket.socket | None = None
    is_ended: bool = False

    def check(self, now: float) -> None:
        if self.stopping.is_set():
            self.stop_deadline = min(self.stop_deadline, now + STOP_GRACE_SECONDS)
        if now < min(self.deadline, self.stop_deadline):
            return
        self.is_ended = True
        if self.sock:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)  # The thread that reads gets the end of the stream.


_requests: dict[int, _Request] = {}  # that are going on, by thread
_lock = threading.Lock()


@contextmanager
def time_limit(seconds: float, stopping: threading.Event) -> Iterator[_Request]:
    """Ends the request inside the with block after this time; `is_ended` of the result tells whether it did."""
    request = _Request(time.monotonic() + seconds, stopping)
    with _lock:
        _requests[threading.get_ident()] = request
        _start_watching()
    try:
        yield request
    finally:
        with _lock:
            del _requests[threading.get_ident()]


@functools.cache
def _start_watching() -> None:
    threading.Thread(target=_watch, name="request-watch", daemon=True).start()


def _watch() -> None:
    while True:
        time.sleep(CHECK_SECONDS)
        with _lock:
            going_on = list(_requests.values())
        for request in going_on:
            request.check(time.monotonic())


class _Connection(HTTPConnection):
    def getresponse(self) -> Any:
        with _lock:
            request = _requests.get(threading.get_ident())
        if request:
            request.sock = self.sock  # The connection itself forgets it when the response has no length.
        return super().getresponse()


class _SecureConnection(_Connection, HTTPSConnection):
    pass


class _Adapter(HTTPAdapter):
    """Uses the connections above, directly and through a proxy."""

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = _SecureConnection if pool.scheme == "https" else _Connection
        return pool
