"""Ways in which a call can go wrong, before or after the server did what it was asked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.standins.wire import Connection, Reply


@dataclass(frozen=True)
class Fault:
    """`after`: the work is done first, only the answer goes wrong. `play` puts something on the wire instead."""

    name: str
    after: bool
    play: Callable[[Connection, Reply], None]


def reset(*, after: bool = False) -> Fault:
    """The connection is reset."""
    return Fault("reset", after, lambda connection, _: connection.reset())


def silence(seconds: float, *, after: bool = False) -> Fault:
    """Nothing comes for a while, then the connection is reset."""

    def play(connection: Connection, _: Reply) -> None:
        connection.pause(seconds)
        connection.reset()

    return Fault("silence", after, play)


def late(seconds: float) -> Fault:
    """The right answer, but late."""

    def play(connection: Connection, answer: Reply) -> None:
        connection.pause(seconds)
        connection.send(answer)

    return Fault("late", True, play)


def reply(
    status: int, body: bytes | str = b"", headers: Mapping[str, str] | None = None, *, after: bool = False
) -> Fault:
    """Another answer than the right one."""
    raw = body.encode() if isinstance(body, str) else body
    answer = Reply(status, raw, {"content-type": "application/json", **(headers or {})})
    return Fault(f"status {status}", after, lambda connection, _: connection.send(answer))


def cut_body(*, after: bool = True) -> Fault:
    """The right headers, half of the body, then the end of the connection."""
    return Fault("cut body", after, lambda connection, answer: connection.send(answer, cut=True))


def trickle(seconds: float, *, after: bool = True) -> Fault:
    """The right headers, then a byte at a time, so slowly that no single wait is long."""

    def play(connection: Connection, answer: Reply) -> None:
        connection.send(Reply(answer.status, b"", {**answer.headers, "x-body": "follows"}), announced=10_000_000)
        while not connection.pause(seconds):
            connection.wfile.write(b" ")
            connection.wfile.flush()

    return Fault("trickle", after, play)
