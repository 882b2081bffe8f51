"""Ways in which a request can fail, before or after the server processed it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.standins.wire import Line, Response


@dataclass(frozen=True)
class Fault:
    """`after`: the request is processed first, and only the response fails. `play` responds instead."""

    name: str
    after: bool
    play: Callable[[Line, Response], None]


def reset(*, after: bool = False) -> Fault:
    """The connection is reset."""
    return Fault("reset", after, lambda line, _: line.reset())


def refuse() -> Fault:
    """The connection is refused, so that the request certainly did not arrive. Through the seam only."""
    return Fault("refuse", False, lambda line, _: line.refuse())


def silence(seconds: float, *, after: bool = False) -> Fault:
    """Nothing is sent for some time, then the connection is reset."""

    def play(line: Line, _: Response) -> None:
        line.pause(seconds)
        line.reset()

    return Fault("silence", after, play)


def respond_after(action: Callable[[], object], fault: Fault | None = None) -> Fault:
    """The right response, or this fault, after `action` has returned: something that happens during a request."""

    def play(line: Line, response: Response) -> None:
        line.perform(action)
        if fault:
            fault.play(line, response)
        else:
            line.send(response)

    return Fault("respond after", fault is None or fault.after, play)


def respond(
    code: int, body: bytes | str = b"", headers: Mapping[str, str] | None = None, *, after: bool = False
) -> Fault:
    """This response instead of the right one."""
    raw = body.encode() if isinstance(body, str) else body
    response = Response(code, raw, {"content-type": "application/json", **(headers or {})})
    return Fault(f"status {code}", after, lambda line, _: line.send(response))


def cut_body(*, after: bool = True) -> Fault:
    """The right headers, half of the body, then the end of the connection."""
    return Fault("cut body", after, lambda line, response: line.send(response, cut=True))


def trickle(seconds: float, *, after: bool = True) -> Fault:
    """The right headers, then one byte at a time, so that only a limit for the whole response ends it."""
    return Fault("trickle", after, lambda line, response: line.trickle(response, seconds))
