"""The seam: clients of this process reach a stand-in without sockets, and its faults become those of the network.

`tests/test_client_faults.py` compares each fault with what a real connection makes of it.
"""

import errno
import io
import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from sync.clients import session
from tests.standins.wire import Response, StandIn


def new_session(base_url: str, headers: Mapping[str, str], concurrency: int) -> requests.Session:
    """A session as the clients use it, whose requests to a running stand-in take the seam."""
    opened = session.new_session(base_url, headers, concurrency)
    parts = urlsplit(base_url)
    origin = f"{parts.scheme}://{parts.netloc}/"
    standin = StandIn.running.get(origin)
    if standin and not standin.over_sockets:
        opened.mount(origin, Seam(standin))
    return opened


class Seam(HTTPAdapter):
    """Passes requests to a stand-in in the thread of the client."""

    def __init__(self, standin: StandIn) -> None:
        super().__init__()
        self._standin = standin

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        line = _Line(timeout[1] if isinstance(timeout, tuple) else timeout)
        headers = {name.lower(): str(value) for name, value in request.headers.items()}
        headers["host"] = urlsplit(request.url or "").netloc
        body = request.body or b""
        self._standin.receive(
            line,
            request.method or "",
            request.path_url,
            headers,
            body.encode() if isinstance(body, str) else bytes(body),
        )
        return self.build_response(request, line.response)


class _Line:
    """Keeps the response, or raises what `requests` would raise."""

    def __init__(self, read_timeout: float) -> None:
        self._read_timeout = read_timeout
        self.response = urllib3.HTTPResponse()

    def send(self, response: Response, *, cut: bool = False) -> None:
        body = response.body[: len(response.body) // 2] if cut else response.body
        length = {} if response.status == 304 else {"content-length": str(len(response.body))}
        self.response = urllib3.HTTPResponse(
            io.BytesIO(body), {**response.headers, **length}, response.status, preload_content=False
        )

    def reset(self) -> None:
        cause = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        raise requests.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted.", cause))

    def refuse(self) -> None:
        pool = urllib3.HTTPConnectionPool("127.0.0.1")
        connection = urllib3.connection.HTTPConnection("127.0.0.1")
        cause = urllib3.exceptions.NewConnectionError(connection, "Connection refused")
        cause.__cause__ = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        raise requests.ConnectionError(urllib3.exceptions.MaxRetryError(pool, "/", cause))

    def trickle(self, response: Response, seconds: float) -> None:
        raise requests.ConnectionError(urllib3.exceptions.IncompleteRead(1, 10_000_000))

    def pause(self, seconds: float) -> bool:
        """A client gives up after its timeout; no test waits for it here."""
        if seconds >= self._read_timeout:
            raise requests.ReadTimeout
        return False

    def perform(self, action: Callable[[], object]) -> None:
        """In a thread of its own, with a database connection of its own, as a real connection has them."""
        thread = threading.Thread(target=action)
        thread.start()
        thread.join()
