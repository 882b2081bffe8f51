"""One person's gists become Pipedrive activities, exactly one each. Plain functions, called in the push lane's threads.

    pending -> started -> pushed | rejected | pending again

`started` is committed before the POST, so whoever finds a started gist knows that Pipedrive may have its activity, and
checks before sending another (see reconcile).
"""

import threading
from collections.abc import Iterator
from datetime import datetime

from django.db.models import F

from people.models import Gist, Person
from sync.activity import new_activity
from sync.budget import Budget
from sync.claims import Claims
from sync.clients.errors import (
    CircuitOpenError,
    ConfigurationError,
    LeaseLostError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    RejectedError,
    RetryNextRunError,
    RunStoppedError,
)
from sync.clients.pipedrive import NewActivity
from sync.clients.transport import boot_clock
from sync.context import RunContext
from sync.link import is_lost, link, unlink
from sync.reconcile import Reconciler, pushed_columns

MAX_SEND_DELAY = 60.0  # seconds from "started" to the POST; a process that was suspended longer must not send it
BATCH_SIZE = 50  # gists read at once
State = Gist.PushState


class Push:
    """Pushes people's gists under the leases of the push lane. Its methods may run in several threads."""

    def __init__(self, context: RunContext, claims: Claims) -> None:
        self._context, self._claims = context, claims
        self._summary, self._pipedrive = context.summary, context.pipedrive
        self._reconciler = Reconciler(context, claims)
        options = context.options
        self._budget = Budget(context.clock, per_run=options.max_activities, per_day=options.max_activities_per_day)
        self._type_lock = threading.Lock()
        self._is_type_checked = False

    def push_person(self, person: Person) -> None:
        """Link the person, resolve pushes with unknown outcome, push pending gists oldest first; then the edits."""
        self._check_activity_type()
        self._prepare(person)
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
        with self._type_lock:
            if self._is_type_checked:
                return
            activity_type = self._context.options.activity_type
            try:
                types = self._pipedrive.get_activity_types()
            except (RejectedError, RetryNextRunError) as error:
                self._is_type_checked = True
                self._summary.problem(f"The activity type could not be checked: {error}")
                return
            self._is_type_checked = True
        if activity_type not in types:
            self._pipedrive.api.open_circuit(
                ConfigurationError(
                    f"PIPEDRIVE_ACTIVITY_TYPE is {activity_type!r}, which does not exist at Pipedrive. "
                    f"Available: {', '.join(sorted(types))}"
                )
            )

    def _prepare(self, person: Person, lost: int = 0) -> set[int]:
        """Link the person. Returns the gists for which its Pipedrive person already has activities."""
        pipedrive_id = link(person, self._context, self._claims, lost=lost)
        return self._reconciler.match_existing(person, pipedrive_id) if person.pipedrive_matched_at is None else set()

    def _relink(self, person: Person) -> set[int]:
        """Replace a deleted Pipedrive person. Returns what `_prepare` returns."""
        lost = person.pipedrive_id or 0
        unlink(person, self._claims)
        already_pushed = self._prepare(person, lost=lost)
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
        """The person's pending gists, oldest first. Gists with unknown outcome are resolved before they are passed."""
        last = 0
        while batch := self._unfinished(person, last):
            started = [gist for gist in batch if gist.push_state == State.STARTED]
            if started:
                self._reconciler.resolve_unknown(person, person.pipedrive_id or 0, started)
            yield from (gist for gist in batch if gist.push_state == State.PENDING)
            if len(batch) < BATCH_SIZE:
                return
            last = batch[-1].pk

    @staticmethod
    def _unfinished(person: Person, after: int) -> list[Gist]:
        return list(Gist.objects.unfinished().filter(person=person, pk__gt=after).order_by("pk")[:BATCH_SIZE])

    def _push_gist(self, person: Person, gist: Gist) -> None:
        """Create the activity of a pending gist. RejectedError when Pipedrive refuses it; the gist is then pending."""
        self._pipedrive.api.raise_if_stopping()
        pipedrive_id = person.pipedrive_id or 0
        self._book()
        try:
            started = self._start(person, gist, pipedrive_id)
        except LeaseLostError:
            self._budget.cancel()
            raise
        not_after = boot_clock() + min(MAX_SEND_DELAY, self._claims.lease_seconds / 2)
        try:
            activity_id = self._pipedrive.create_activity(pipedrive_id, self._activity(gist), not_after=not_after)
        except OutcomeUnknownError as error:
            self._finish(gist, started, push_error=str(error)[:500])  # It stays started; see reconcile.
            self._summary.count("gists_unknown")
            self._summary.problem(str(error), person=person, gist=gist)
        except (RejectedError, NotSentError, CircuitOpenError, RunStoppedError) as error:
            # Nothing was created, so the gist is pending as before.
            self._finish(gist, started, push_state=State.PENDING, push_error=str(error)[:500])
            self._budget.cancel()
            raise
        else:
            self._finish(gist, started, activity_outdated=False, **pushed_columns(activity_id, self._context.clock()))
            self._summary.count("gists_pushed")

    def _book(self) -> None:
        try:
            self._budget.book()
        except CircuitOpenError as error:
            self._pipedrive.api.open_circuit(error)

    def _activity(self, gist: Gist) -> NewActivity:
        options = self._context.options
        return new_activity(gist, type=options.activity_type, done=options.activity_done)

    def _start(self, person: Person, gist: Gist, pipedrive_id: int) -> datetime:
        """Commit that the POST may be sent from now on. Only the lease's holder may."""
        now = self._context.clock()
        self._claims.start_push(
            person,
            gist,
            push_started_at=now,
            push_attempts=F("push_attempts") + 1,
            push_error="",
            pipedrive_person_id=pipedrive_id,
        )
        return now

    @staticmethod
    def _finish(gist: Gist, started: datetime, **columns: object) -> None:
        """Record the outcome of the attempt that began at `started`.

        It holds whoever has the lease by now, and for this attempt only; a deleted gist has nothing to record.
        """
        Gist.objects.filter(pk=gist.pk, push_state=State.STARTED, push_started_at=started).update(**columns)

    def _reject(self, person: Person, gist: Gist, error: RejectedError) -> None:
        Gist.objects.filter(pk=gist.pk, push_state=State.PENDING).update(
            push_state=State.REJECTED, push_error=str(error)[:500], updated_at=self._context.clock()
        )
        self._summary.count("gists_rejected")
        self._summary.problem(str(error), person=person, gist=gist)

    def _push_edits(self, person: Person) -> None:
        """Update outdated activities. Repeating an update is harmless, so nothing is committed before."""
        outdated = Gist.objects.filter(person=person, push_state=State.PUSHED, activity_outdated=True)
        last = 0
        while batch := list(outdated.filter(pk__gt=last).order_by("pk")[:BATCH_SIZE]):
            for gist in batch:
                self._push_edit(person, gist)
            last = batch[-1].pk

    def _push_edit(self, person: Person, gist: Gist) -> None:
        activity = self._activity(gist)
        columns: dict[str, object] = {"activity_outdated": False, "push_error": ""}
        try:
            self._pipedrive.update_activity(gist.pipedrive_activity_id or 0, activity.subject, activity.note)
            self._summary.count("activities_edited")
        except NotFoundError:
            columns["push_error"] = "The activity was deleted at Pipedrive; it is not created again."
        except RejectedError as error:
            columns["push_error"] = f"The activity could not be updated: {error}"[:500]
            self._summary.problem(str(error), person=person, gist=gist)
        Gist.objects.filter(pk=gist.pk, github_updated_at=gist.github_updated_at).update(**columns)
