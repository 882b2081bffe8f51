"""Gunicorn's ASGI worker, with the time limits of a connection that it has not."""

import socket
import struct
import sys
from asyncio import BaseTransport, Transport
from typing import Any

from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers import gasgi

HEADER_SECONDS = 30.0  # to send the headers of a request; an idle connection sends none
UNREAD_SECONDS = 120.0  # that a response may fill the buffer of its connection


class Connection(ASGIProtocol):  # type: ignore[misc]  # gunicorn has no types
    """Ends when its client takes too long to send headers or to read a response.

    Both limits are for the whole, so they also end a client that sends or reads a byte from time to time. The body has
    a limit in bridge.py.
    """

    transport: Transport
    worker: "Worker"

    def connection_made(self, transport: BaseTransport) -> None:
        self._state: object = None
        self._since = 0.0
        super().connection_made(transport)
        self.worker.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.worker.connections.discard(self)
        super().connection_lost(exc)

    def is_waiting(self) -> bool:
        """No request is complete so far, or a keep-alive connection is idle."""
        return bool(self._awaiting_request)

    def check(self, now: float) -> None:
        """Called every second."""
        is_unread = self.transport.get_write_buffer_size() > 0
        state = (self.req_count, is_unread, self.is_waiting())
        if state != self._state:
            self._state, self._since = state, now
        elif is_unread and now - self._since > UNREAD_SECONDS:
            self.reset()
        elif self.is_waiting() and now - self._since > HEADER_SECONDS:
            self.transport.close()

    def reset(self) -> None:
        """Close, and drop what the client has not read: the kernel would keep its part of it for minutes."""
        at_once = struct.pack("ii", 1, 0)  # linger for 0 seconds
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self.transport.abort()


gasgi.ASGIProtocol = Connection  # Gunicorn has no setting for it.


class Worker(gasgi.ASGIWorker):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connections: set[Connection] = set()

    def init_process(self) -> None:
        # By default each thread may keep the interpreter for 5 ms. Then the event loop, and a probe after each of its
        # queries, would wait 40 ms for eight busy threads.
        sys.setswitchinterval(0.0005)
        super().init_process()

    def notify(self) -> None:
        """Send the heartbeat to the main process. Gunicorn calls this every second in the event loop's thread."""
        super().notify()
        for connection in list(self.connections):
            connection.check(self.loop.time())

    def handle_exit_signal(self) -> None:
        """Stop, without waiting for connections that have no request."""
        super().handle_exit_signal()
        for connection in self.connections:
            if connection.is_waiting():
                connection.transport.close()
