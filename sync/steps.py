"""Network in threads, database in one: stories that hand out their remote calls.

A story is a generator. It reads top to bottom, uses the database freely, and yields each remote call, which is made
in a thread of the pool; the answer, or the error, comes back at the same line. Many stories go on side by side.
"""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from functools import partial
from typing import Any, ParamSpec, TypeVar

Call = Callable[[], Any]
T = TypeVar("T")
P = ParamSpec("P")
Steps = Generator[Call, Any, T]

TICK = 1.0  # seconds between two looks at the clock while all calls take long


def remote(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Steps[T]:
    """Make this call in a thread: `answer = yield from remote(client.act, argument)`."""
    answer: T = yield partial(function, *args, **kwargs)
    return answer


def drive(stories: Iterable[Steps[None]], pool: Executor, at_once: int, tick: Callable[[], None]) -> None:
    """Tell all stories to their ends, at most `at_once` at a time. What a story raises ends them all.

    `tick` is called about every second, for what must go on meanwhile.
    """
    waiting: dict[Future[Any], Steps[None]] = {}
    untold = iter(stories)
    while True:
        while len(waiting) < at_once and (story := next(untold, None)) is not None:
            _advance(story, partial(next, story), waiting, pool)
        if not waiting:
            return
        done, _ = wait(waiting, timeout=TICK, return_when=FIRST_COMPLETED)
        tick()
        for future in done:
            story = waiting.pop(future)
            error = future.exception()
            resume = partial(story.throw, error) if error else partial(story.send, future.result())
            _advance(story, resume, waiting, pool)


def _advance(story: Steps[None], resume: Call, waiting: dict[Future[Any], Steps[None]], pool: Executor) -> None:
    try:
        call = resume()
    except StopIteration:
        return
    waiting[pool.submit(call)] = story
