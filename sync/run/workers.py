"""Threads that ask. They never use the database: the main thread hands them steps, and stores their outcomes."""

import threading
from queue import SimpleQueue
from typing import Self

from sync.steps import Outcome, Step, ask


class Workers:
    """`count` threads that take steps and put the outcomes into `outcomes`.

    `ahead` more steps may wait, so that no thread waits while the main thread stores outcomes.

    Use it as a context manager: leaving it waits for the steps that have begun.
    """

    def __init__(self, name: str, count: int, outcomes: "SimpleQueue[Outcome]", *, ahead: int = 0) -> None:
        self._outcomes = outcomes
        self._steps: SimpleQueue[Step | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True) for number in range(count)
        ]
        self.free = self._room = count + ahead  # for further steps; the main thread counts

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for _thread in self._threads:
            self._steps.put(None)
        for thread in self._threads:
            thread.join()

    @property
    def busy(self) -> int:
        """Steps whose outcomes were not taken yet."""
        return self._room - self.free

    def begin(self, step: Step) -> None:
        self.free -= 1
        self._steps.put(step)

    def _work(self) -> None:
        while (step := self._steps.get()) is not None:
            self._outcomes.put(ask(step))
