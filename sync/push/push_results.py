"""Finish the results of pushes: write the outcome on the rows of people and gists, and release the people.

A refusal may be about one gist or about us, and a deleted Pipedrive person may be one or an outage. What depends on
that is kept back, with its lease, until responses for other people decide it, or until nothing else is left to push.
"""

from dataclasses import dataclass, field

from people.models import Gist, Person
from sync.clients.errors import ConfigurationError, LeaseLostError, OutageError
from sync.few import is_few
from sync.push.push import Pusher
from sync.push.refusals import Refusal
from sync.run.claims import next_attempt
from sync.run.context import RunContext
from sync.run.lane import Lane


@dataclass
class PushResult:
    """`reason`: why the push failed, if it did. Who was not attempted, or was relinked meanwhile, stays due.

    `is_lost`: Pipedrive shows the person as deleted.
    """

    person: Person
    is_attempted: bool = True
    reason: str = ""
    is_lost: bool = False
    refusals: list[Refusal] = field(default_factory=list)

    @property
    def is_about_us(self) -> bool:
        return any(refusal.is_about_us for refusal in self.refusals)

    @property
    def is_undecided(self) -> bool:
        return self.is_lost or any(refusal.is_about_us is None for refusal in self.refusals)


class PushResults:
    """The results of one run. Called in the main thread; the threads of the lane read `lost`."""

    def __init__(self, context: RunContext, lane: Lane, pusher: Pusher) -> None:
        self.ready: list[PushResult] = []
        self._undecided: list[PushResult] = []
        self._context, self._lane, self._pusher = context, lane, pusher
        self._attempted = 0
        self.lost: set[int] = set()  # people whose Pipedrive persons may be replaced

    def add(self, result: PushResult) -> None:
        self._attempted += result.is_attempted
        (self._undecided if result.is_undecided else self.ready).append(result)

    @property
    def has_all(self) -> bool:
        """Are there results of all people of the lane?"""
        return set(self._lane.held) <= {result.person.pk for result in [*self.ready, *self._undecided]}

    @property
    def has_undecided(self) -> bool:
        return bool(self._undecided)

    def take_decided(self) -> None:
        """Results that later responses have decided."""
        for result in [result for result in self._undecided if not result.is_undecided]:
            self._undecided.remove(result)
            self.ready.append(result)

    def decide(self) -> None:
        """Nothing else is left to push: decide what is left. People whose persons are replaced are pushed again."""
        self._pusher.refusals.decide_all(is_complete=self._lane.is_open)
        lost = [result for result in self._undecided if result.is_lost]
        others = [result for result in self._undecided if not result.is_lost]
        self._undecided = []
        for result in others:
            result.is_attempted &= not result.is_undecided  # The run ended before more was known.
        self.ready += others
        if not is_few(len(lost), self._attempted):
            self._context.pipedrive.api.circuit.open(
                OutageError(
                    f"Pipedrive shows the persons of {len(lost)} of {self._attempted} people as deleted, so no link "
                    "was changed. Check PIPEDRIVE_API_URL and PIPEDRIVE_TOKEN."
                )
            )
        for result in lost:
            if self._lane.is_open:
                self._pusher.linker.may_replace_lost = True
                self.lost.add(result.person.pk)
                self._lane.workers.submit(result.person)
            else:
                result.is_attempted = False
                self.ready.append(result)

    def finish(self) -> None:
        """Write the ready results with a few statements, and release their people."""
        results, self.ready = self.ready, []
        claims, now = self._lane.claims, self._context.clock()
        is_about_us = isinstance(self._context.pipedrive.api.circuit.error, ConfigurationError | OutageError)
        for result in results:
            if not is_about_us and not result.is_about_us:
                self._reject_gists(result)
        # Not to be attempted again in this round: what is refused for all, is so for a reason that lasts.
        postponed = [result.person.pk for result in results if result.is_attempted and result.is_about_us]
        claims.release(postponed, push_attempted_at=now)
        claims.release(result.person.pk for result in results if not result.is_attempted)
        attempted = [result for result in results if result.is_attempted and not result.is_about_us]
        pushed = [result.person.pk for result in attempted if not result.reason]
        no_failure = {"push_failures": 0, "push_failing_since": None, "push_error": "", "next_push_at": None}
        claims.release(pushed, push_attempted_at=now, **no_failure)
        self._context.summary.record("push", succeeded=len(pushed))
        for result in attempted:
            if result.reason:
                self._context.summary.fail("push", result.person, result.reason)
                failures = result.person.push_failures + 1
                claims.release(
                    [result.person.pk],
                    push_attempted_at=now,
                    push_failures=failures,
                    push_failing_since=result.person.push_failing_since or now,
                    push_error=result.reason[:500],
                    next_push_at=next_attempt(failures, now),
                )
        self._lane.forget([result.person for result in results])

    def _reject_gists(self, result: PushResult) -> None:
        summary = self._context.summary
        for refusal in result.refusals:
            gist = refusal.gist
            if gist is None or refusal.is_about_us is not False:
                continue
            columns = {"push_error": str(refusal.error)[:500], "updated_at": self._context.clock()}
            try:
                self._lane.claims.update_gist(result.person, gist, push_state=Gist.PushState.REJECTED, **columns)
            except LeaseLostError:  # It was edited or relinked meanwhile, and is tried again.
                continue
            summary.count("gists_rejected")
            summary.record("gist", failed=1)
            summary.problem(str(refusal.error), person=result.person, gist=gist)
