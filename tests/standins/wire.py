"""The HTTP server of both stand-ins: keep-alive, no Nagle delay, faults on demand, a record of all requests."""

import json
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

if TYPE_CHECKING:
    from tests.standins.faults import Fault


@dataclass(frozen=True)
class RecordedRequest:
    """A request as the server received it. Header names are in lower case."""

    operation: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Response:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def json_response(status: int, content: Any, headers: Mapping[str, str] | None = None) -> Response:
    raw = json.dumps(content, separators=(",", ":")).encode()
    return Response(status, raw, {"content-type": "application/json; charset=utf-8", **(headers or {})})


class Line(Protocol):
    """The way of a response to its client: a connection, or the seam in this process."""

    def send(self, response: Response, *, cut: bool = False) -> None: ...

    def reset(self) -> None: ...

    def refuse(self) -> None: ...

    def trickle(self, response: Response, seconds: float) -> None: ...

    def pause(self, seconds: float) -> bool: ...

    def perform(self, action: Callable[[], object]) -> None: ...


class Connection(BaseHTTPRequestHandler):
    """One client's connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # Else every kept-alive request waits 40 ms for an acknowledgement.
    wbufsize = -1
    server: "_Server"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.standin.receive(self, self.command, self.path, headers, body)

    # The names are the library's.
    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = _serve

    def send(self, response: Response, *, cut: bool = False) -> None:
        self._write(response, response.body[: len(response.body) // 2] if cut else response.body, len(response.body))
        if cut:
            self._close()

    def _write(self, response: Response, body: bytes, announced: int) -> None:
        lines = [f"HTTP/1.1 {response.status} {self.responses.get(response.status, ('Unknown',))[0]}"]
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        if response.status != 304:
            lines.append(f"content-length: {announced}")
        self.wfile.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        self.wfile.flush()

    def trickle(self, response: Response, seconds: float) -> None:
        """Send the headers, then one byte after each pause, without an end."""
        self._write(Response(response.status, b"", {**response.headers, "x-body": "follows"}), b"", 10_000_000)
        while not self.pause(seconds):
            self.wfile.write(b" ")
            self.wfile.flush()

    def reset(self) -> None:
        """Close at once, so that the client sees a connection reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._close()

    def refuse(self) -> None:
        raise NotImplementedError("This connection is already accepted.")

    def _close(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RD)
        self.connection.close()

    def pause(self, seconds: float) -> bool:
        """Wait. Returns True when the server closes in the meantime."""
        return self.server.standin.closing.wait(seconds)

    def perform(self, action: Callable[[], object]) -> None:
        """Do something before the response; a connection has a thread of its own."""
        action()

    def log_message(self, format: str, *args: Any) -> None:
        """Prints nothing; see StandIn.requests."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    standin: "StandIn"

    def accept(self) -> None:
        """Serve connections until the socket is shut down; `serve_forever` would have to look from time to time."""
        with suppress(OSError):
            while True:
                self.process_request(*self.get_request())

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Prints nothing: disconnecting clients are expected, because some tests kill them."""


class StandIn:
    """A server whose operations (method and path) a subclass implements. Use it as a context manager."""

    operations: tuple[tuple[str, str, str], ...] = ()  # name, method, pattern of the path
    running: ClassVar[dict[str, "StandIn"]] = {}  # by scheme, host and port

    def __init__(self, port: int = 0, *, host: str = "127.0.0.1", prefix: str = "") -> None:
        self.lock = threading.RLock()
        self.closing = threading.Event()
        self.requests: list[RecordedRequest] = []
        self.counts: Counter[str] = Counter()
        self.keeps_requests = True
        self.latency = 0.0  # seconds before each response
        self.hold = threading.Event()  # Responses wait while it is not set.
        self.hold.set()
        self.lies: list[Fault] = []
        self.lie_rate = 0.0  # the part of the responses that are one of `lies`, at random
        self.rng = random.Random()  # noqa: S311  # not used for secrets
        self.lie_count = 0
        self._faults: list[tuple[str, range, Fault]] = []
        self._url_faults: list[tuple[re.Pattern[str], Fault]] = []
        self._routes = [(name, method, re.compile(pattern)) for name, method, pattern in self.operations]
        self._server = _Server((host, port), Connection)
        self._server.standin = self
        self.prefix = prefix  # of all paths
        self.over_sockets = False  # Clients in this process use sockets, too; see tests/standins/seam.py.
        self._origin = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{self._origin}{prefix}"

    def __enter__(self) -> Self:
        self.running[f"{self._origin}/"] = self
        threading.Thread(target=self._server.accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        del self.running[f"{self._origin}/"]
        self.closing.set()
        self._server.socket.shutdown(socket.SHUT_RDWR)
        self._server.server_close()

    def respond(self, request: RecordedRequest) -> Response:
        """Process a request, under self.lock."""
        raise NotImplementedError

    def operation_of(self, method: str, path: str) -> str:
        for name, route_method, pattern in self._routes:
            if method == route_method and pattern.fullmatch(path):
                return name
        return f"{method} {path}"

    def fail(self, operation: str, fault: "Fault", *, nth: int = 1, times: int = 1) -> None:
        """Apply the fault to `times` requests of this operation, from the n-th next one on. "" means any operation."""
        with self.lock:
            first = (self.counts[operation] if operation else self.counts.total()) + nth
            self._faults.append((operation, range(first, first + times), fault))

    def fail_always(self, url: str, fault: "Fault") -> None:
        """Apply the fault to all requests whose path and query contain this pattern."""
        with self.lock:
            self._url_faults.append((re.compile(url), fault))

    def heal(self) -> None:
        """Remove all faults."""
        with self.lock:
            self._faults.clear()
            self._url_faults.clear()

    def clear_requests(self) -> None:
        with self.lock:
            self.requests.clear()

    def requests_to(self, operation: str) -> list[RecordedRequest]:
        with self.lock:
            return [request for request in self.requests if request.operation == operation]

    def receive(self, line: Line, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
        """Process a request and respond to it. Header names are in lower case."""
        parts = urlsplit(target)
        if not parts.path.startswith(self.prefix):
            line.send(Response(404, b"<html>Not Found</html>", {"content-type": "text/html"}))
            return
        path = parts.path.removeprefix(self.prefix)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.handle(line, RecordedRequest(self.operation_of(method, path), method, path, query, headers, body))

    def handle(self, line: Line, request: RecordedRequest) -> None:
        with self.lock:
            self.counts[request.operation] += 1
            if self.keeps_requests:
                self.requests.append(request)
            fault = self._fault_for(request)
            response = Response(500) if fault and not fault.after else self.respond(request)
        self.hold.wait(60)
        if self.latency:
            time.sleep(self.latency)
        if fault:
            fault.play(line, response)
        else:
            line.send(response)

    def _fault_for(self, request: RecordedRequest) -> "Fault | None":
        if self.lie_rate and self.rng.random() < self.lie_rate:
            self.lie_count += 1
            return self.rng.choice(self.lies)
        operation, url = request.operation, f"{request.path}?{urlencode(request.query)}"
        for pattern, fault in self._url_faults:
            if pattern.search(url):
                return fault
        for faulty_operation, numbers, fault in self._faults:
            count = self.counts[operation] if faulty_operation else self.counts.total()
            if count in numbers and faulty_operation in ("", operation):
                return fault
        return None
