"""Stopping in good order, and what SIGTERM and Ctrl-C mean before there is something to stop."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from gisttracker.config.environment import EX_STOPPED


@contextmanager
def stop_on_signals(stopping: threading.Event) -> Iterator[Callable[[], None]]:
    """Inside the block, SIGTERM ends the process with EX_STOPPED, and Ctrl-C with KeyboardInterrupt.

    Yields a function. After it was called both only set `stopping`, however often they come: the run finishes its
    current requests and ends.
    """
    has_begun, received = threading.Event(), []

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if has_begun.is_set():
            if len(received) == 1:  # A handler interrupts another one, and would wait for ever for the event's lock.
                stopping.set()
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise SystemExit(EX_STOPPED)

    numbers = [signal.SIGTERM, signal.SIGINT] if threading.current_thread() is threading.main_thread() else []
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield has_begun.set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
