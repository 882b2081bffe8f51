"""Stopping in good order, and what SIGTERM and Ctrl-C mean before there is something to stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from gisttracker.environment import EX_STOPPED


class StopSignals:
    """Before `begin`, SIGTERM ends the process with EX_STOPPED and Ctrl-C with KeyboardInterrupt.

    Afterwards both only set `stopping`, however often they come: the run finishes its current requests and ends.
    """

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._has_begun = False

    def begin(self) -> None:
        self._has_begun = True

    def handle(self, number: int, frame: FrameType | None) -> None:
        if self._has_begun:
            self._stopping.set()
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise SystemExit(EX_STOPPED)


@contextmanager
def stop_on_signals(stopping: threading.Event) -> Iterator[StopSignals]:
    """Handle SIGTERM and Ctrl-C inside the block."""
    signals = StopSignals(stopping)
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    before = {number: signal.signal(number, signals.handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
