"""Does the protocol allow what a run has done?

Tests record events and give them to `find_violations`: an order of events that the model forbids is reported, also if
it did no harm this time.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import singledispatchmethod

from tests.model.check import Constants
from tests.model.events import (
    Compared,
    Deleted,
    Event,
    Landed,
    LookedUp,
    LoseLease,
    Outcome,
    PushedAgain,
    Refused,
    Removed,
    RenewLease,
    Sent,
    Skipped,
    Started,
    Stored,
    TakeLease,
    Undone,
    Write,
)


def find_violations(events: Iterable[Event], limits: Constants) -> list[str]:
    """What the protocol forbids, in the order of the events; each with the number of its event, from 1."""
    checker = _Checker(limits)
    for number, event in enumerate(events, start=1):
        checker.number = number
        checker.check(event)
    return checker.violations


@dataclass
class _Gist:
    state: str = ""  # empty: not stored
    person: str = ""
    started_at: float | None = None
    may_send: dict[str, float] = field(default_factory=dict)  # by run: when it committed `started`
    sent: dict[str, float] = field(default_factory=dict)  # the same, after its POST, until Pipedrive refuses it
    posts: int = 0  # sent, and not landed or refused
    landed: set[int] = field(default_factory=set)
    existing: set[int] = field(default_factory=set)
    left: str = ""  # the state in which its deleted person left it
    is_undone: bool = False


class _Checker:
    def __init__(self, limits: Constants) -> None:
        self.limits, self.number = limits, 0
        self.violations: list[str] = []
        self._holder, self._renewed_at = "", 0.0
        self._gists: dict[str, _Gist] = {}

    def _report(self, message: str) -> None:
        self.violations.append(f"event {self.number}: {message}")

    def _gist(self, event: Write | Sent | Refused | Landed | Skipped | PushedAgain) -> _Gist:
        return self._gists.setdefault(event.gist, _Gist())

    def _write(self, event: Write, *states: str) -> _Gist:
        """A transaction of a run: it needs the lease, and a gist in one of these states."""
        if event.run != self._holder:
            self._report(f"run {event.run} writes gist {event.gist} without the lease")
        return self._change(event, *states)

    def _change(self, event: Write | Skipped | PushedAgain, *states: str) -> _Gist:
        gist = self._gist(event)
        if gist.state not in states:
            self._report(f"gist {event.gist} is {gist.state or 'not stored'}, not {' or '.join(states) or 'new'}")
        return gist

    @singledispatchmethod
    def check(self, event: Event) -> None:
        raise TypeError(event)

    # --- the lease ---
    @check.register
    def _(self, event: TakeLease) -> None:
        if self._holder and event.at < self._renewed_at + self.limits.lease:
            self._report(f"run {event.run} takes the lease of run {self._holder}, which is not over")
        self._holder, self._renewed_at = event.run, event.at

    @check.register
    def _(self, event: RenewLease) -> None:
        if event.run != self._holder:
            self._report(f"run {event.run} renews a lease that it does not hold")
        self._renewed_at = event.at

    @check.register
    def _(self, event: LoseLease) -> None:
        if event.run == self._holder:
            self._holder = ""

    # --- a push ---
    @check.register
    def _(self, event: Started) -> None:
        gist = self._write(event, "pending")
        gist.state, gist.started_at = "started", event.at
        gist.may_send[event.run] = event.at
        gist.sent.pop(event.run, None)

    @check.register
    def _(self, event: Sent) -> None:
        gist = self._gist(event)
        started_at = gist.may_send.pop(event.run, None)
        if started_at is None:
            self._report(f"run {event.run} sends a POST for gist {event.gist} without a committed `started`")
        elif event.at > started_at + self.limits.send:
            self._report(f"the POST for gist {event.gist} leaves {event.at - started_at:g} s after `started`")
        gist.sent[event.run] = event.at if started_at is None else started_at
        gist.posts += 1

    @check.register
    def _(self, event: Refused) -> None:
        gist = self._gist(event)
        if event.run in gist.sent:
            gist.may_send[event.run] = gist.sent.pop(event.run)
            gist.posts -= 1

    @check.register
    def _(self, event: Landed) -> None:
        gist = self._gist(event)
        if gist.posts < 1:
            self._report(f"activity {event.activity} of gist {event.gist} was created without a POST")
        gist.posts -= 1
        gist.landed.add(event.activity)
        gist.existing.add(event.activity)
        if len(gist.existing) > 1:
            self._report(f"gist {event.gist} has the activities {sorted(gist.existing)}")
        if gist.is_undone:
            self._report(f"gist {event.gist} is pushed again after it was undone")

    @check.register
    def _(self, event: Outcome) -> None:
        gist = self._write(event, "started")
        if event.result == "pushed":
            self._push(gist, event)
        elif event.result == "pending":
            if event.run in gist.sent:
                self._report(f"gist {event.gist} is pending, although its POST may have arrived")
            gist.state = "pending"
        else:  # The POST has left by now.
            gist.started_at = event.at - self.limits.send
        gist.may_send.pop(event.run, None)

    @check.register
    def _(self, event: LookedUp) -> None:
        gist = self._write(event, "started")
        earliest = (gist.started_at or 0.0) + self.limits.send + self.limits.settle
        if event.at < earliest:
            self._report(f"gist {event.gist} is looked up {earliest - event.at:g} s too soon")
        if event.activity is not None:
            self._push(gist, event)
            return
        if gist.existing:
            self._report(f"gist {event.gist} is pending, although activity {min(gist.existing)} exists")
        gist.state = "pending"

    @check.register
    def _(self, event: Compared) -> None:
        self._push(self._write(event, "pending", "started", "skipped"), event)

    def _push(self, gist: _Gist, event: Outcome | LookedUp | Compared) -> None:
        if event.activity not in gist.landed:
            self._report(f"activity {event.activity} is not that of gist {event.gist}")
        gist.state = "pushed"

    # --- users and operators ---
    @check.register
    def _(self, event: Stored) -> None:
        gist = self._write(event, "")
        if gist.left in ("started", "pushed") and event.state not in (gist.left, "pushed"):
            self._report(f"gist {event.gist} is stored again as {event.state}, but was {gist.left}")
        if event.state == "started" and event.started_at != gist.started_at:
            self._report(f"gist {event.gist} is stored again with another time of `started`")
        gist.state, gist.person = event.state, event.person

    @check.register
    def _(self, event: Skipped) -> None:
        self._change(event, "pending").state = "skipped"

    @check.register
    def _(self, event: PushedAgain) -> None:
        gist = self._change(event, "skipped")
        gist.state, gist.is_undone = "pending", False

    @check.register
    def _(self, event: Deleted) -> None:
        for gist in self._gists.values():
            if gist.person == event.person and gist.state:
                gist.left, gist.state, gist.is_undone = gist.state, "", False

    @check.register
    def _(self, event: Removed) -> None:
        for gist in self._gists.values():
            gist.existing.discard(event.activity)

    @check.register
    def _(self, event: Undone) -> None:
        gist = self._write(event, "pushed")
        if gist.existing:
            self._report(f"gist {event.gist} is undone, but activity {min(gist.existing)} exists")
        gist.state, gist.is_undone = "skipped", True
