"""Refusals of Pipedrive: are they about one person or gist, or about us?

The same refusal for different people, without a success in between, is about us: a missing permission, a required
field, a wrong address. Then that part of the work ends, nothing is rejected, and nothing counts against anyone. Until
that is known, the results of refused people are kept back (see sync.push.push_results).
"""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from django.utils.translation import ngettext

from people.models import Gist, Person
from sync.clients.errors import (
    ConfigurationError,
    InvalidResponseError,
    RejectedError,
    RetryNextRunError,
    SyncError,
)
from sync.run.api_state import is_refused
from sync.run.context import RunContext

MAX_SAME_GISTS = 5  # of one person, refused in a row for the same reason: then the person fails, not the gists


class Step(StrEnum):
    """What is refused. The values complete the sentence "Pipedrive refused to ..."."""

    LOOK_UP = "look up persons"
    CONFIRM = "show the given persons"
    CREATE_PERSON = "create persons"
    LIST = "list activities"
    PUSH = "create activities"
    EDIT = "update activities"


# How many different people are about us. Ids that users have given may well be wrong for several people.
MAX_PEOPLE = {Step.CONFIRM: 6}
DEFAULT_MAX_PEOPLE = 3
MAX_PEOPLE_AFTER_SUCCESS = 10  # if the same step has succeeded for others in this run


@dataclass(eq=False)
class Refusal:
    """`is_about_us` is None while it is not decided."""

    step: Step
    person: Person
    error: SyncError
    gist: Gist | None = None
    is_about_us: bool | None = None

    @property
    def key(self) -> tuple[Step, int, str]:
        """Equal for refusals with the same status and reason, whatever ids and values they name."""
        status = self.error.status if isinstance(self.error, RejectedError) else 0
        return self.step, status, re.sub(r"\d+|'[^']*'|\"[^\"]*\"", "…", str(self.error))


class StepRefusedError(RetryNextRunError):
    """A step of one person's push was refused; `refusal` has whether that is about the person or about us."""

    def __init__(self, refusal: Refusal, message: str) -> None:
        super().__init__(message)
        self.refusal = refusal


class Refusals:
    """The refusals of one run. Thread-safe."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._streaks: dict[tuple[Step, int, str], list[Refusal]] = {}
        self._blocked: dict[Step, Refusal] = {}
        self._succeeded: set[Step] = set()
        # A run for a few people cannot tell that a refusal of all still lasts, which an earlier run has found.
        self._is_doubtful = not context.is_round and is_refused("Pipedrive")
        self._lock = threading.Lock()

    def raise_if_blocked(self, step: Step) -> None:
        """StepRefusedError for a step whose refusals are about us: then no request is sent."""
        if step in self._blocked:
            raise StepRefusedError(self._blocked[step], str(self._blocked[step].error))

    @contextmanager
    def watch(self, step: Step, person: Person) -> Iterator[None]:
        """Do a step for a person. StepRefusedError if Pipedrive refuses it, or does not respond as documented."""
        self.raise_if_blocked(step)
        try:
            yield
        except (RejectedError, InvalidResponseError) as error:
            self.refuse(Refusal(step, person, error), f"Pipedrive refused to {step}: {error}")
        else:
            self.record_success(step)

    def refuse(self, refusal: Refusal, message: str) -> NoReturn:
        self.record(refusal)
        raise StepRefusedError(refusal, message) from None

    def record(self, refusal: Refusal) -> None:
        with self._lock:
            streak = self._streaks.setdefault(refusal.key, [])
            streak.append(refusal)
            people = {other.person.pk for other in streak}
            has_succeeded = refusal.step in self._succeeded
            limit = MAX_PEOPLE_AFTER_SUCCESS if has_succeeded else MAX_PEOPLE.get(refusal.step, DEFAULT_MAX_PEOPLE)
            if len(people) < limit:
                return
            for other in streak:
                other.is_about_us = True
            if refusal.step not in self._blocked:
                self._block(refusal, len(people))

    def record_success(self, step: Step) -> None:
        """The refusals of this step so far were about single people and gists."""
        with self._lock:
            self._succeeded.add(step)
            self._decide(step)

    def decide_all(self, *, is_complete: bool) -> None:
        """No more responses will come: what is not decided is about single people and gists.

        If the work is not complete, that is concluded only for steps that have succeeded for others.
        """
        with self._lock:
            for step in Step if is_complete else self._succeeded:
                self._decide(step, is_about_us=self._is_doubtful and step not in self._succeeded)

    def _decide(self, step: Step, *, is_about_us: bool = False) -> None:
        for key in [key for key in self._streaks if key[0] == step]:
            for refusal in self._streaks.pop(key):
                refusal.is_about_us = bool(refusal.is_about_us) or is_about_us

    def _block(self, refusal: Refusal, people: int) -> None:
        number = ngettext("%d person", "%d people", people) % people
        error = ConfigurationError(
            f"Pipedrive refused to {refusal.step} for {number} in a row for the same reason; nothing was rejected. "
            f"Check the permissions of PIPEDRIVE_TOKEN's user, required fields, and PIPEDRIVE_API_URL. {refusal.error}"
        )
        self._blocked[refusal.step] = Refusal(refusal.step, refusal.person, error, is_about_us=True)
        if refusal.step is Step.CREATE_PERSON:  # Linked people need no new person, so the others go on.
            self._context.errors.append(error)
        else:
            self._context.pipedrive.api.circuit.open(error)
