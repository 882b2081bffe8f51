"""Results that need evidence before they are stored: accounts that are gone or in conflict, and rejected requests.

One account alone may be gone. When many seem to be gone, or to be the account of another person, in one run, or when
no response in the run shows that GitHub is right about accounts that exist, the service, the address or the token is
wrong, and no person is changed.
"""

from django.utils.translation import ngettext

from people.models import Person
from sync.clients.errors import (
    CircuitOpenError,
    ConfigurationError,
    OutageError,
    RejectedError,
    RunStoppedError,
    SyncError,
)
from sync.few import is_few
from sync.poll.poll import Poll
from sync.poll.store import NotAttempted, PollFailure, PollResult
from sync.run.context import RunContext

IMPLAUSIBLE = (
    "GitHub returned 404, or the account of another person, for {people}, so no person was marked as gone or in "
    "conflict. Check GITHUB_API_URL, GITHUB_TOKEN and GitHub's status page."
)
ENOUGH_GONE = 50  # people; with so many, the run decides before it polls more


class Verdicts:
    """Keeps such results back until `decide`. Called in the main thread only."""

    def __init__(self, context: RunContext) -> None:
        self.pending: list[PollResult] = []
        self._context = context
        self._gone = 0
        self._confirmed = 0  # people with a well-formed response of GitHub

    def keep_back(self, result: PollResult) -> bool:
        """Returns whether the result has to wait. All results of the run pass through here."""
        if isinstance(result, Poll) and _is_newly_unavailable(result):
            self._gone += 1
        elif isinstance(result, PollFailure) and isinstance(result.error, RejectedError):
            pass
        else:
            self._confirmed += isinstance(result, Poll) and result.state == Person.State.ACTIVE
            return False
        self.pending.append(result)
        if self._gone >= ENOUGH_GONE and self._is_mass():
            self._open_circuit()
        return True

    def decide(self) -> list[PollResult]:
        """The results that were kept back; people who may not be judged are returned as not attempted."""
        results, self.pending = self.pending, []
        if self._is_mass():
            self._open_circuit()
        circuit = self._context.github.api.circuit
        is_about_us = isinstance(circuit.error, ConfigurationError | OutageError)
        if self._gone and not is_about_us and not self._has_control():
            is_about_us = True
        return [NotAttempted(result.person) if is_about_us else result for result in results]

    def _is_mass(self) -> bool:
        return not is_few(self._gone, self._gone + self._confirmed)

    def _open_circuit(self) -> None:
        polled = self._gone + self._confirmed
        self._context.github.api.circuit.open(
            OutageError(IMPLAUSIBLE.format(people=f"{self._gone} of {polled} people"))
        )

    def _has_control(self) -> bool:
        """Does GitHub tell the truth about an account that exists?"""
        if self._confirmed:
            return True
        try:
            self._context.github.check_service()
        except (CircuitOpenError, RunStoppedError):
            return False  # The run reports why.
        except SyncError as error:
            people = ngettext("%d person", "all %d people", self._gone) % self._gone
            message = f"{IMPLAUSIBLE.format(people=people)} A control request failed, too: {error}"
            self._context.github.api.circuit.open(OutageError(message))
            return False
        return True


def _is_newly_unavailable(poll: Poll) -> bool:
    unavailable = (Person.State.GONE, Person.State.CONFLICT)
    return poll.state in unavailable and poll.person.state not in unavailable
