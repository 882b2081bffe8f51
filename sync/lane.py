"""A lane is one of the two kinds of work of a run, polling or pushing: its claimed people and its threads."""

import logging
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from django.db import DatabaseError
from django.db.models import Q

from people.models import Person
from sync.claims import Claims
from sync.clients.transport import Api
from sync.context import RunContext
from sync.workers import Workers

log = logging.getLogger(__name__)
REFILL_BELOW = 0.25  # of `max_waiting`: with more people waiting, none are claimed
CLAIM_PARTS = 4  # of a fair share, so that runs beside each other end at about the same time


class Lane:
    """Claims people and passes them to its threads.

    Each lane is a lease holder of its own: a person is polled and pushed at different times, and one lane must not
    release, or write under, a lease of the other. `held` has the claimed people that are not released yet, by id.
    At most `max_waiting` of them wait for a thread; a run that claimed more would leave none for runs beside it.
    """

    def __init__(
        self,
        name: str,
        run_token: str,
        context: RunContext,
        api: Api,
        function: Callable[[Person], Any],
        results: "SimpleQueue[Any]",
        *,
        max_waiting: int,
        order_by: str,
    ) -> None:
        options = context.options
        self.name = name
        self.claims = Claims(f"{run_token}-{name}", options.lease_seconds, context.clock, order_by)
        self.workers: Workers[Person, Any] = Workers(name, options.concurrency, function, results)
        self.held: dict[int, Person] = {}
        self.may_find_people = True  # False after a claim that found no people, until something changes
        self._context, self._api = context, api
        self._max_waiting = max_waiting

    @property
    def is_open(self) -> bool:
        """May more people be claimed? Not when the run is stopping or does not call the API any more."""
        return not self._api.circuit.error and not self._context.stopping.is_set()

    def claim(self, get_due: Callable[[], Q], runs: int, limit: float = float("inf")) -> int:
        """Claim up to `limit` people when few are waiting. Returns how many were claimed.

        When several runs are alive, a claim takes at most one CLAIM_PARTS-th of a fair share of the people, so that
        the runs end at about the same time.
        """
        waiting = self.workers.waiting
        if not self.may_find_people or not self.is_open or waiting > self._max_waiting * REFILL_BELOW:
            return 0
        due, number = get_due(), int(min(self._max_waiting - waiting, limit))
        if runs > 1:
            parts = CLAIM_PARTS * runs
            number = min(number, max(self.claims.count_free(due, number * parts) // parts, 1))
        people = self.claims.take(due, number)
        self.may_find_people = bool(people)
        for person in people:
            self.held[person.pk] = person
            self.workers.submit(person)
        return len(people)

    def forget(self, people: list[Person]) -> None:
        """Remove people that were released from `held`. Afterwards other people may be due, or these again."""
        for person in people:
            self.held.pop(person.pk, None)
        self.may_find_people = True

    def release_all(self) -> None:
        """Release who is still held, at the end of the run. A failure is logged; the leases then expire."""
        try:
            self.claims.release(self.held)
        except DatabaseError:
            log.exception("The people of the %s lane could not be released", self.name)
