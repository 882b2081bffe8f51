"""Clients that occupy a connection as long as they can, each in its own way. Used by tests and by `make attack`."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

HOST = b"Host: localhost\r\n"
# 1.5 MB, served without a key. Several of them are larger than all buffers between server and client.
LARGE_FILE = b"/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"


@dataclass(frozen=True)
class Kind:
    """What a client sends at once, and then every few seconds. None of them reads."""

    name: str
    start: bytes
    drip: bytes = b""

    def __str__(self) -> str:
        return self.name


POST = b"POST /api/v1/people HTTP/1.1\r\n" + HOST
KINDS = [
    Kind("idle", b""),
    Kind("trickling request line", b"G", b"E"),
    Kind("trickling headers", b"GET / HTTP/1.1\r\n" + HOST, b"X-A: b\r\n"),
    Kind("idle body", POST + b"Content-Length: 10000\r\n\r\n"),
    Kind("trickling body", POST + b"Content-Length: 10000\r\n\r\n", b"x"),
    Kind("trickling chunked body", POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    Kind("unread responses", (b"GET " + LARGE_FILE + b" HTTP/1.1\r\n" + HOST + b"\r\n") * 20),
]


def connect(url: str) -> socket.socket:
    """With a small buffer, so that an unread response soon fills it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(60)
    address = urlsplit(url)
    client.connect((address.hostname, address.port))
    return client


@contextmanager
def slow_clients(url: str, kind: Kind, count: int, *, seconds: float = 2) -> Iterator[list[socket.socket]]:
    """Keep this many connections busy, with a byte or line every so many seconds."""
    done = threading.Event()
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(url)) for _ in range(count)]
        for client in clients:
            client.sendall(kind.start)
        thread = threading.Thread(target=_drip, args=(clients, kind.drip, done, seconds))
        thread.start()
        try:
            yield clients
        finally:
            done.set()
            thread.join()


def _drip(clients: list[socket.socket], data: bytes, done: threading.Event, seconds: float) -> None:
    while data and not done.wait(seconds):
        for client in clients:
            with suppress(OSError):  # The server has closed the connection.
                client.send(data)
