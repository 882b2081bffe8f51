"""Create one Pipedrive activity for each of a person's gists. Called in the threads of the push lane.

    pending -> started -> pushed | rejected | pending again

`started` is committed before the POST: Pipedrive may have the activity of a started gist, so the activity is searched
(see sync.reconcile) before another POST is sent.
"""

import threading
from collections.abc import Iterator
from datetime import datetime

from django.db.models import F

from gisttracker.database import retried
from people.models import Gist, Person
from sync.activity import new_activity
from sync.budget import Budget
from sync.claims import Claims
from sync.clients.boot_clock import boot_clock
from sync.clients.errors import (
    CircuitOpenError,
    ConfigurationError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    RejectedError,
    RetryNextRunError,
    RunStoppedError,
)
from sync.clients.pipedrive import NewActivity
from sync.context import RunContext
from sync.link import is_lost, link, unlink
from sync.reconcile import Reconciler, pushed_columns
from sync.restore import RestoreCheck

MAX_SEND_DELAY = 60.0  # seconds from "started" to the POST; a process that was suspended longer must not send it
BATCH_SIZE = 50  # gists read at once
State = Gist.PushState


class Pusher:
    """Pushes people's gists under the leases of the push lane. Thread-safe."""

    def __init__(self, context: RunContext, claims: Claims) -> None:
        self._context, self._claims = context, claims
        self._summary, self._pipedrive = context.summary, context.pipedrive
        self._reconciler = Reconciler(context, claims)
        self._restore_check = RestoreCheck(context)
        options = context.options
        self._budget = Budget(context.clock, per_run=options.max_activities, per_day=options.max_activities_per_day)
        self._type_lock = threading.Lock()
        self._is_type_checked = False

    def push_person(self, person: Person) -> None:
        """Link the person, resolve pushes with unknown outcome, push pending gists oldest first; then the edits."""
        self._check_activity_type()
        self._restore_check.check()
        self._link_and_match(person)
        may_relink = True
        already_pushed: set[int] = set()
        for gist in self._pending(person):
            if gist.pk in already_pushed:
                continue
            try:
                self._push_gist(person, gist)
            except RejectedError as error:
                if may_relink and is_lost(person, self._pipedrive):
                    already_pushed = self._relink(person)
                    self._push_after_relink(person, gist, already_pushed)
                else:
                    self._reject(person, gist, error)
                may_relink = False
        if self._context.options.push_edits:
            self._push_edits(person)

    def _check_activity_type(self) -> None:
        """Once a run: open the circuit when there is no such activity type, before every gist is rejected for it."""
        with self._type_lock:  # The other threads wait for the result.
            if self._is_type_checked:
                return
            activity_type = self._context.options.activity_type
            try:
                types = self._pipedrive.get_activity_types()
            except (RejectedError, RetryNextRunError) as error:
                self._summary.problem(f"The activity type could not be checked: {error}")
            else:
                if activity_type not in types:
                    self._pipedrive.api.open_circuit(
                        ConfigurationError(
                            f"PIPEDRIVE_ACTIVITY_TYPE is {activity_type!r}, which does not exist at Pipedrive. "
                            f"Available: {', '.join(sorted(types))}"
                        )
                    )
            self._is_type_checked = True

    def _link_and_match(self, person: Person, lost: int = 0) -> set[int]:
        """Link the person. Returns the primary keys of the gists whose activities its Pipedrive person already has."""
        pipedrive_id = link(person, self._context, self._claims, lost=lost)
        return self._reconciler.match_existing(person, pipedrive_id) if person.pipedrive_matched_at is None else set()

    def _relink(self, person: Person) -> set[int]:
        """Replace a deleted Pipedrive person. Returns what `_link_and_match` returns."""
        lost = _pipedrive_id(person)
        unlink(person, self._claims)
        already_pushed = self._link_and_match(person, lost=lost)
        message = f"Pipedrive person {lost} was deleted or merged; {person.pipedrive_id} replaces it."
        self._summary.problem(message, person=person)
        return already_pushed

    def _push_after_relink(self, person: Person, gist: Gist, already_pushed: set[int]) -> None:
        """The same gist under the new Pipedrive person, unless that person already has its activity."""
        try:
            if gist.pk not in already_pushed:
                self._push_gist(person, gist)
        except RejectedError as error:
            self._reject(person, gist, error)

    def _pending(self, person: Person) -> Iterator[Gist]:
        """The person's pending gists, oldest first. Pushes with unknown outcome are resolved on the way."""
        last = 0
        while batch := self._unfinished(person, last):
            started = [gist for gist in batch if gist.push_state == State.STARTED]
            if started:
                self._reconciler.resolve_unknown(person, _pipedrive_id(person), started)
            self._restore_check.match(person, batch, self._claims)
            yield from (gist for gist in batch if gist.push_state == State.PENDING)
            if len(batch) < BATCH_SIZE:
                return
            last = batch[-1].pk

    @staticmethod
    @retried
    def _unfinished(person: Person, after: int) -> list[Gist]:
        return list(Gist.objects.unfinished().filter(person=person, pk__gt=after).order_by("pk")[:BATCH_SIZE])

    def _push_gist(self, person: Person, gist: Gist) -> None:
        """Create the activity of a pending gist. RejectedError when Pipedrive refuses it; the gist is then pending."""
        self._pipedrive.api.raise_if_stopping()
        pipedrive_id, activity = _pipedrive_id(person), self._build_activity(gist)
        self._book_activity()
        try:
            started = self._start(person, gist, pipedrive_id)
        except BaseException:
            self._budget.cancel()
            raise
        not_after = boot_clock() + min(MAX_SEND_DELAY, self._claims.lease_seconds / 2)
        try:
            activity_id = self._pipedrive.create_activity(pipedrive_id, activity, not_after=not_after)
        except OutcomeUnknownError as error:
            self._finish(gist, started, push_error=str(error)[:500])  # It stays started; see sync.reconcile.
            self._summary.count("gists_unknown")
            self._summary.record("gist", failed=1)
            self._summary.problem(str(error), person=person, gist=gist)
        except (RejectedError, NotSentError, CircuitOpenError, RunStoppedError) as error:
            # Nothing was created, so the gist is pending as before.
            self._finish(gist, started, push_state=State.PENDING, push_error=str(error)[:500])
            self._budget.cancel()
            raise
        else:
            self._finish(gist, started, **pushed_columns(activity_id, self._context.clock()))
            self._summary.count("gists_pushed")
            self._summary.record("gist", succeeded=1)

    def _book_activity(self) -> None:
        """Open the circuit when the run, or all runs of today, have created as many activities as they may."""
        try:
            self._budget.book()
        except CircuitOpenError as error:
            self._pipedrive.api.open_circuit(error)

    def _build_activity(self, gist: Gist) -> NewActivity:
        options = self._context.options
        return new_activity(gist, type=options.activity_type, done=options.activity_done)

    def _start(self, person: Person, gist: Gist, pipedrive_id: int) -> datetime:
        """Commit that the POST will be sent. Returns the time that identifies this attempt."""
        now = self._context.clock()
        self._claims.update_gist(
            person,
            gist,
            push_state=State.STARTED,
            push_started_at=now,
            activity_outdated=False,  # An edit from now on sets it (see sync.store).
            push_attempts=F("push_attempts") + 1,
            push_error="",
            pipedrive_person_id=pipedrive_id,
        )
        return now

    @staticmethod
    @retried
    def _finish(gist: Gist, started: datetime, **columns: object) -> None:
        """Record the outcome of the attempt that began at `started`, and of no later one.

        No lease is needed: what Pipedrive has done stays true when another run has taken the person over.
        """
        Gist.objects.filter(pk=gist.pk, push_state=State.STARTED, push_started_at=started).update(**columns)

    def _reject(self, person: Person, gist: Gist, error: RejectedError) -> None:
        columns = {"push_error": str(error)[:500], "updated_at": self._context.clock()}
        self._claims.update_gist(person, gist, push_state=State.REJECTED, **columns)
        self._summary.count("gists_rejected")
        self._summary.record("gist", failed=1)
        self._summary.problem(str(error), person=person, gist=gist)

    def _push_edits(self, person: Person) -> None:
        """Update outdated activities. Nothing is committed before, because an update may be repeated."""
        outdated = Gist.objects.filter(person=person, push_state=State.PUSHED, activity_outdated=True)
        last = 0
        while batch := list(outdated.filter(pk__gt=last).order_by("pk")[:BATCH_SIZE]):
            for gist in batch:
                self._push_edit(person, gist)
            last = batch[-1].pk

    def _push_edit(self, person: Person, gist: Gist) -> None:
        activity = self._build_activity(gist)
        columns: dict[str, object] = {"activity_outdated": False, "push_error": ""}
        self._claims.check(person)
        try:
            self._pipedrive.update_activity(gist.pipedrive_activity_id or 0, activity.subject, activity.note)
            self._summary.count("activities_edited")
        except NotFoundError:
            columns["push_error"] = "The activity was deleted at Pipedrive; it is not created again."
        except RejectedError as error:  # It stays outdated, and is tried again in the next round.
            columns = {"push_error": f"The activity could not be updated: {error}"[:500]}
            self._summary.problem(str(error), person=person, gist=gist)
        Gist.objects.filter(pk=gist.pk, github_updated_at=gist.github_updated_at).update(**columns)


def _pipedrive_id(person: Person) -> int:
    if person.pipedrive_id is None:
        raise ValueError(f"{person} is not linked yet")
    return person.pipedrive_id
