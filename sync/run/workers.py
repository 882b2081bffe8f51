"""Threads that run plain functions. A function may use the ORM and the clients; its database connection is closed
when the thread ends.
"""

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, Self, TypeVar

from django.db import connection

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Failed:
    """The function raised: a defect, since what a function can handle it returns as its result."""

    error: BaseException


class Workers(Generic[T, R]):
    """`count` threads that call `function` for each submitted item and put the result into `results`.

    Use it as a context manager: leaving it waits for the items that have begun and drops the others.
    """

    def __init__(self, name: str, count: int, function: Callable[[T], R], results: "SimpleQueue[R | Failed]") -> None:
        self._function, self._results = function, results
        self._items: SimpleQueue[T | None] = SimpleQueue()
        self.unfinished = 0  # items without a result
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True) for number in range(count)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        for _thread in self._threads:
            self._items.put(None)
        for thread in self._threads:
            thread.join()

    def submit(self, item: T) -> None:
        self._count(1)
        self._items.put(item)

    def withdraw(self, count: int) -> list[T]:
        """Take back up to `count` items that no thread has begun yet."""
        withdrawn: list[T] = []
        while len(withdrawn) < count:
            try:
                item = self._items.get_nowait()
            except Empty:
                break
            if item is not None:
                withdrawn.append(item)
        self._count(-len(withdrawn))
        return withdrawn

    @property
    def waiting(self) -> int:
        """Items that no thread has begun yet."""
        return self._items.qsize()

    def _count(self, change: int) -> None:
        with self._lock:
            self.unfinished += change

    def _work(self) -> None:
        try:
            while (item := self._items.get()) is not None and not self._closing.is_set():
                result: R | Failed
                try:
                    result = self._function(item)
                except BaseException as error:  # The main thread raises it again.
                    result = Failed(error)
                self._count(-1)
                self._results.put(result)
        finally:
            connection.close()


def map_unordered(name: str, count: int, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """The results for these items, as they come; at most two items for each thread are read ahead."""
    results: SimpleQueue[R | Failed] = SimpleQueue()
    remaining, pending = iter(items), 0
    with Workers(name, count, function, results) as workers:
        while True:
            for item in itertools.islice(remaining, 2 * count - pending):
                workers.submit(item)
                pending += 1
            if not pending:
                return
            result = results.get()
            pending -= 1
            if isinstance(result, Failed):
                raise result.error
            yield result
