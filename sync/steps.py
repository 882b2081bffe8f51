"""A step asks one API about one person, in a thread, and returns an outcome. It gets values and writes nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Work = Literal["poll", "push", "stream"]


@dataclass(frozen=True)
class Step:
    """One request, or a short series of them. `ask` returns its result, or raises; it uses no database."""

    ask: Callable[[], Any]
    person: int | None  # the key of the person that it is about; None: it is about the API as a whole
    work: Work = "push"


@dataclass(frozen=True)
class Outcome:
    """What a step has found out: its result, or why there is none."""

    step: Step
    result: Any = None
    error: Exception | None = None


def ask(step: Step) -> Outcome:
    """Do a step. Whatever goes wrong is its outcome."""
    try:
        return Outcome(step, step.ask())
    except Exception as error:
        return Outcome(step, error=error)
