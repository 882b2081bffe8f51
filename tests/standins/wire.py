"""The HTTP server under both stand-ins: keep-alive, no Nagle delay, faults on demand, a log of what was asked."""

import json
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from tests.standins.faults import Fault


@dataclass(frozen=True)
class RecordedRequest:
    """A request as the server got it. Header names are in lower case."""

    act: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def json_reply(status: int, content: Any, headers: Mapping[str, str] | None = None) -> Reply:
    raw = json.dumps(content, separators=(",", ":")).encode()
    return Reply(status, raw, {"content-type": "application/json; charset=utf-8", **(headers or {})})


class Connection(BaseHTTPRequestHandler):
    """One client's connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # Else every kept-alive request waits 40 ms for an acknowledgement.
    wbufsize = -1
    server: "_Server"

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        standin = self.server.standin
        act = standin.act_of(self.command, parts.path)
        self.server.standin.handle(self, RecordedRequest(act, self.command, parts.path, query, headers, body))

    # The names are the library's.
    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = _serve

    def send(self, reply: Reply, *, cut: bool = False, announced: int | None = None) -> None:
        lines = [f"HTTP/1.1 {reply.status} {self.responses.get(reply.status, ('Unknown',))[0]}"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        if reply.status != 304:
            lines.append(f"content-length: {len(reply.body) if announced is None else announced}")
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        self.wfile.write(head + (reply.body[: len(reply.body) // 2] if cut else reply.body))
        self.wfile.flush()
        if cut:
            self._close()

    def reset(self) -> None:
        """Close at once, so that the client sees a reset instead of an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._close()

    def _close(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RD)
        self.connection.close()

    def pause(self, seconds: float) -> bool:
        """Wait; true when the server closes meanwhile."""
        return self.server.standin.closing.wait(seconds)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed; see StandIn.asked."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    standin: "StandIn"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is a normal thing here (some tests kill it)."""


class StandIn:
    """A server with acts (method and path) that a subclass answers. Use it as a context manager."""

    acts: tuple[tuple[str, str, str], ...] = ()  # name, method, pattern of the path

    def __init__(self, port: int = 0, *, host: str = "127.0.0.1") -> None:
        self.lock = threading.RLock()
        self.closing = threading.Event()
        self.asked: list[RecordedRequest] = []
        self.counts: Counter[str] = Counter()
        self.keep_log = True
        self._faults: list[tuple[str, range, Fault]] = []
        self._routes = [(name, method, re.compile(pattern)) for name, method, pattern in self.acts]
        self._server = _Server((host, port), Connection)
        self._server.standin = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, asked: RecordedRequest) -> Reply:
        """Do what is asked, under self.lock."""
        raise NotImplementedError

    def act_of(self, method: str, path: str) -> str:
        for name, wanted, pattern in self._routes:
            if method == wanted and pattern.fullmatch(path):
                return name
        return f"{method} {path}"

    def fail(self, act: str, fault: "Fault", *, nth: int = 1, times: int = 1) -> None:
        """Let the n-th call of this act from now on fail, and the times - 1 after it. act "" means any call."""
        with self.lock:
            first = (self.counts[act] if act else self.counts.total()) + nth
            self._faults.append((act, range(first, first + times), fault))

    def heal(self) -> None:
        """Forget all faults."""
        with self.lock:
            self._faults.clear()

    def clear_log(self) -> None:
        with self.lock:
            self.asked.clear()

    def asked_for(self, act: str) -> list[RecordedRequest]:
        with self.lock:
            return [asked for asked in self.asked if asked.act == act]

    def handle(self, connection: Connection, asked: RecordedRequest) -> None:
        with self.lock:
            self.counts[asked.act] += 1
            if self.keep_log:
                self.asked.append(asked)
            fault = self._fault_for(asked.act)
            reply = Reply(500) if fault and not fault.after else self.answer(asked)
        if fault:
            fault.play(connection, reply)
        else:
            connection.send(reply)

    def _fault_for(self, act: str) -> "Fault | None":
        for wanted, calls, fault in self._faults:
            if (self.counts[act] if wanted else self.counts.total()) in calls and wanted in ("", act):
                return fault
        return None
