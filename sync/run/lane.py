"""A lane is one of the two kinds of work of a run, polling or pushing: its claimed people and its threads."""

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from django.db import DatabaseError
from django.db.models import Q

from people.models import Person
from sync.clients.transport import Api
from sync.run.claims import Claims
from sync.run.context import RunContext
from sync.run.workers import Workers

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
        self._to_give_up = 0  # people in the threads who belong to the share of other runs
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """May more people be claimed? Not when the run is stopping or does not call the API any more."""
        return not self._api.circuit.error and not self._context.stopping.is_set()

    def claim(self, get_due: Callable[[], Q], runs: int, limit: float = float("inf"), *, peers: int = 1) -> int:
        """Claim up to `limit` people when few are waiting. Returns how many were claimed.

        When several runs are alive, a claim takes at most one CLAIM_PARTS-th of a fair share of the people, so that
        the runs end at about the same time. When there are so few people that the threads of one run could take them
        all, this run works on no more than its share: `peers` runs, of this kind and with this one, want these people.
        """
        waiting = self.workers.waiting
        if not self.may_find_people or not self.is_open or waiting > self._max_waiting * REFILL_BELOW:
            return 0
        due, number = get_due(), int(min(self._max_waiting - waiting, limit))
        if runs > 1:
            parts = CLAIM_PARTS * runs
            free = self.claims.count_free(due, number * parts)
            if peers > 1 and free < number * parts:
                number = min(number, self._share(due, peers) - self.workers.unfinished)
            number = min(number, max(free // parts, 1))
        people = self.claims.take(due, number) if number > 0 else []
        self.may_find_people = bool(people)
        for person in people:
            self.held[person.pk] = person
            self.workers.submit(person)
        return len(people)

    def _share(self, due: Q, peers: int) -> int:
        """A fair share of the due people, whoever holds them; at least 1. More than this run can hold: any number."""
        max_held = self._max_waiting + self._context.options.concurrency
        return max(-(-self.claims.count_due(due, peers * max_held) // peers), 1)

    def share(self, get_due: Callable[[], Q], peers: int) -> int:
        """Leave the others their share: release people who are waiting, and ask threads to give up theirs.

        Returns how many people were released.
        """
        if not self.workers.unfinished:
            return 0
        excess = self.workers.unfinished - self._share(get_due(), peers)
        waiting = self.workers.withdraw(max(excess, 0))
        if waiting:
            self.claims.release([person.pk for person in waiting])
            self.forget(waiting)
        with self._lock:
            self._to_give_up = max(excess - len(waiting), 0)
        return len(waiting)

    def gives_up(self) -> bool:
        """Should the thread that asks give up its person, at a moment when nothing is in flight?"""
        with self._lock:
            gives_up = self._to_give_up > 0
            self._to_give_up -= gives_up
            return gives_up

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
