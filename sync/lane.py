"""One kind of work of a run: the people it has claimed, and the threads that work on them."""

from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from django.db.models import Q

from people.models import Person
from sync.claims import Claims
from sync.clients.transport import Api
from sync.context import RunContext
from sync.workers import Workers


class Lane:
    """Claims people under leases of its own and passes them to its threads.

    With one lease holder for both lanes, each would take the people of the other. `held` has the claimed people that
    are not released yet. At most `max_waiting` of them wait for a thread, so that several runs share the people.
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
    ) -> None:
        options = context.options
        self.claims = Claims(f"{run_token}-{name}", options.lease_seconds, context.clock)
        self.workers: Workers[Person, Any] = Workers(name, options.concurrency, function, results)
        self.held: dict[int, Person] = {}
        self.may_find_people = True  # False after a claim that found no people, until something changes
        self._context, self._api = context, api
        self._max_waiting = max_waiting

    @property
    def is_open(self) -> bool:
        """May more people be claimed? Not when the run is stopping or does not call the API any more."""
        return not self._api.circuit.error and not self._context.stopping.is_set()

    def claim(self, get_due: Callable[[], Q], runs: int, limit: int) -> int:
        """Claim people when few are waiting. Returns how many were claimed.

        When several runs are alive, a claim takes at most a quarter of a fair share of the people.
        """
        waiting = self.workers.waiting
        if not self.may_find_people or not self.is_open or waiting > self._max_waiting // 4:
            return 0
        due, limit = get_due(), min(self._max_waiting - waiting, limit)
        if runs > 1:
            limit = min(limit, max(self.claims.count_free(due, limit * 4 * runs) // (4 * runs), 1))
        people = self.claims.take(due, limit)
        self.may_find_people = bool(people)
        for person in people:
            self.held[person.pk] = person
            self.workers.submit(person)
        return len(people)

    def forget(self, people: list[Person]) -> None:
        """These people are released; others may be due now."""
        for person in people:
            self.held.pop(person.pk, None)
        self.may_find_people = True
