"""Runs Django (WSGI) in threads, behind a server that speaks ASGI.

The event loop receives a request whole, within limits, before a thread runs Django on it, and it sends the response. So
a client that sends or reads slowly, or not at all, occupies no thread.
"""

import asyncio
import io
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit
from wsgiref.types import WSGIApplication, WSGIEnvironment

from django.conf import settings
from django.db import close_old_connections

from gisttracker.web.middleware import BODY_PROBLEM

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApplication = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]

THREADS = 8
BODY_SECONDS = 60.0
SMALL_BODY_BYTES = 64 << 10
MAX_HELD_BYTES = 64 << 20  # of all bodies of a process that are larger than that
MAX_DROPPED_BYTES = 20 << 20
PART_BYTES = 256 << 10

requests_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="request")
# The probes have a thread of their own: an orchestrator kills a process whose probes wait behind other requests.
probes_pool = ThreadPoolExecutor(1, thread_name_prefix="probe")


def serve_with(wsgi_application: WSGIApplication) -> ASGIApplication:
    """Return an ASGI application that passes each request to this WSGI application."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(f"{scope['type']} is not supported")
        pool = probes_pool if scope["path"] in ("/livez", "/readyz") else requests_pool
        body = Body()
        try:
            await body.receive(scope, receive)
            await send_response(WsgiResponse(wsgi_application, build_environ(scope, body)), pool, send)
        finally:
            body.release()

    return application


class Body:
    """The body of a request. `problem` is the status code for a body that is too large (413), too slow (408) or too
    much for the memory of this process at the moment (503); its data is dropped.
    """

    total_held = 0  # bytes of all large bodies; changed by the event loop's thread only

    def __init__(self) -> None:
        self.data = bytearray()
        self.length = 0  # with what was dropped
        self.problem = 0
        self._held = 0

    async def receive(self, scope: Scope, receive: Receive) -> None:
        headers = dict(scope["headers"])
        declared = int(headers.get(b"content-length", 0))
        if declared > settings.MAX_BODY_BYTES:
            self.reject(413)
            if declared > MAX_DROPPED_BYTES or b"expect" in headers:
                self.length = declared
                return
        try:
            async with asyncio.timeout(BODY_SECONDS):
                await self._receive_all(receive)
        except TimeoutError:
            self.reject(408)

    async def _receive_all(self, receive: Receive) -> None:
        """Read a body that is too large to its end, too: most clients read no response before they have sent it."""
        is_complete = False
        while not is_complete and self.length <= MAX_DROPPED_BYTES:
            message = await receive()
            if message["type"] == "http.disconnect":  # The client is gone, or has stopped sending.
                self.reject(408)
                return
            self._add(message.get("body", b""))
            is_complete = not message.get("more_body")

    def _add(self, chunk: bytes) -> None:
        self.length += len(chunk)
        if self.length > settings.MAX_BODY_BYTES:
            self.reject(413)
        elif self.length > SMALL_BODY_BYTES and Body.total_held - self._held + self.length > MAX_HELD_BYTES:
            self.reject(503)
        if not self.problem:
            self.data += chunk
            self._hold(self.length if self.length > SMALL_BODY_BYTES else 0)

    def reject(self, status: int) -> None:
        self.problem = self.problem or status
        self.release()

    def release(self) -> None:
        self.data = bytearray()
        self._hold(0)

    def _hold(self, count: int) -> None:
        Body.total_held += count - self._held
        self._held = count


def build_environ(scope: Scope, body: Body) -> WSGIEnvironment:
    """Return the request in the form of WSGI (PEP 3333), in which bytes are decoded as Latin-1.

    gunicorn has dropped headers with an underscore in their name, which would look like those with a hyphen.
    """
    server, port = scope["server"]
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(get_path(scope["raw_path"])).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": scope["client"][0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body.data),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        BODY_PROBLEM: body.problem,
    }
    for name, value in scope["headers"]:
        key, text = f"HTTP_{name.decode('latin-1').upper().replace('-', '_')}", value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE", "")
    environ.pop("HTTP_CONTENT_LENGTH", None)
    environ["CONTENT_LENGTH"] = str(body.length)  # A chunked body has no such header, and Django would not read it.
    return environ


def get_path(target: bytes) -> bytes:
    """Also of the absolute form, `GET http://host/path`, which a client may send to any server (RFC 9112, 3.2.2)."""
    return target if target.startswith(b"/") else urlsplit(target).path


class WsgiResponse:
    """The response of the WSGI application, which threads produce in parts. No thread waits for the client.

    The parts of a stream may come from different threads, so they must not share a cursor (see people/api/export.py).
    """

    def __init__(self, application: WSGIApplication, environ: WSGIEnvironment) -> None:
        self._application = application
        self._environ = environ
        self._lock = threading.Lock()  # for close(), when the client leaves while a part is produced
        self._iterable: Iterable[bytes] = ()
        self._parts: Iterator[bytes] = iter(())
        self.start: Message = {}
        self.is_complete = False

    def run(self) -> bytes:
        """Run Django, and return the first part."""
        with self._lock:
            self._iterable = self._application(self._environ, self._start)
        self._parts = iter(self._iterable)
        if self._environ["REQUEST_METHOD"] == "HEAD":
            self.close()
        return self._produce()

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[[bytes], object]:
        encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        self.start = {"type": "http.response.start", "status": int(status.split(" ")[0]), "headers": encoded}
        return lambda _: None  # Django does not use write().

    def next_part(self) -> bytes:
        close_old_connections()  # Django does so for the thread in which a request starts or ends.
        return self._produce()

    def _produce(self) -> bytes:
        with self._lock:
            chunks: list[bytes] = []
            size = 0
            while not self.is_complete and size < PART_BYTES:
                chunk = next(self._parts, None)
                if chunk is None:
                    self._close()
                else:
                    chunks.append(chunk)
                    size += len(chunk)
            return b"".join(chunks)

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        if not self.is_complete:
            self.is_complete = True
            getattr(self._iterable, "close", lambda: None)()  # Django ends the request, and its database connection.


async def send_response(response: WsgiResponse, pool: ThreadPoolExecutor, send: Send) -> None:
    loop = asyncio.get_running_loop()
    try:
        part = await loop.run_in_executor(pool, response.run)
        await send(response.start)
        while True:
            await send({"type": "http.response.body", "body": part, "more_body": not response.is_complete})
            if response.is_complete:
                return
            part = await loop.run_in_executor(pool, response.next_part)
    finally:
        if not response.is_complete:  # The client has left.
            pool.submit(response.close)
