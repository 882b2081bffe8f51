"""Create one Pipedrive activity for each of a person's gists. Called in the threads of the push lane.

    pending -> started -> pushed | pending again | (decided in sync.push_results) rejected

`started` is committed before the POST: Pipedrive may have the activity of a started gist, so the activity is searched
(see sync.reconcile) before another POST is sent.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.db.models import F

from gisttracker.database import retried
from people.models import Gist, Person
from sync.activity import new_activity
from sync.attempts import Attempt
from sync.budget import Budget
from sync.claims import Claims
from sync.clients.boot_clock import boot_clock
from sync.clients.errors import (
    CircuitOpenError,
    ConfigurationError,
    NotSentError,
    OutcomeUnknownError,
    RejectedError,
    RetryNextRunError,
    RunStoppedError,
    SyncError,
)
from sync.clients.pipedrive_records import Activity, NewActivity
from sync.context import RunContext
from sync.edits import Editor
from sync.evidence import ListingEvidence
from sync.link import Linker, LinkError
from sync.owner import ActivityOwner
from sync.reconcile import Reconciler, pushed_columns
from sync.refusals import MAX_SAME_GISTS, Refusal, Refusals, Stage
from sync.restore import RestoreCheck

MAX_SEND_DELAY = 60.0  # seconds from "started" to the POST; a process that was suspended longer must not send it
MAX_UNKNOWN = 3  # pushes of one person in a row without a clear response: then it is the next person's turn
BATCH_SIZE = 50  # gists read at once
State = Gist.PushState


class _ReplacedError(Exception):
    """The person has got another Pipedrive person: compare its activities, and begin again."""


@dataclass
class _Progress:
    """The push of one person."""

    refusals: list[Refusal]  # all of this push, for the caller
    owner_id: int | None = None
    tried: set[int] = field(default_factory=set)  # gists, in this run
    created: int = 0
    unknown_in_a_row: int = 0
    may_be_replaced: bool = True

    @property
    def refused_in_a_row(self) -> int:
        """The last refusals for the same reason."""
        same = [refusal for refusal in self.refusals if refusal.key == self.refusals[-1].key]
        return len(same) if same == self.refusals else 0


class Pusher:
    """Pushes people's gists under the leases of the push lane. Thread-safe."""

    def __init__(self, context: RunContext, claims: Claims, run_id: int | None = None) -> None:
        self.refusals = Refusals(context)
        self.linker = Linker(context, claims, self.refusals)
        self._context, self._claims, self._run_id = context, claims, run_id
        self._summary, self._pipedrive = context.summary, context.pipedrive
        evidence = ListingEvidence(context)
        self._reconciler = Reconciler(context, claims, evidence)
        self._restore_check = RestoreCheck(context, evidence)
        self._owner = ActivityOwner(context)
        self._editor = Editor(context, claims, self.refusals, run_id)
        options = context.options
        self._budget = Budget(context.clock, per_run=options.max_activities, per_day=options.max_activities_per_day)
        self._type_lock = threading.Lock()
        self._is_type_checked = False

    def push_person(self, person: Person, refusals: list[Refusal], *, is_lost: bool = False) -> None:
        """Link the person, resolve pushes with unknown outcome, push pending gists; then the edits.

        Refusals of single gists are added to `refusals`: whether those gists are rejected is decided later.
        `is_lost`: its Pipedrive person was found to be deleted.
        """
        self._check_activity_type()
        self._check_restore(person)
        if is_lost:
            self.linker.is_replaced(person)
        self._link_and_match(person)
        self._resolve_unknown(person)
        progress = _Progress(refusals)
        try:
            self._push_gists(person, progress)
        except _ReplacedError:
            self._link_and_match(person)
            progress.tried.clear()
            self._push_gists(person, progress)
        if self._context.options.push_edits:
            self._editor.push_edits(person)

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

    def _check_restore(self, person: Person) -> None:
        """Once a run, see sync.restore. People who were claimed before a restore was noticed are compared, too."""
        if not self._restore_check.is_done:
            with self.refusals.watch(Stage.LIST, person):
                self._restore_check.check()
        if self._restore_check.has_compared:
            _read_matched_at(person)

    def _link_and_match(self, person: Person) -> None:
        """Link the person; the activities of a Pipedrive person that was not created just now are compared first."""
        pipedrive_id = self.linker.link(person)
        if person.pipedrive_matched_at is None:
            with self.refusals.watch(Stage.LIST, person):
                self._reconciler.match_existing(person, pipedrive_id)

    def _resolve_unknown(self, person: Person) -> None:
        last = 0
        while started := _read_gists(person, last, push_state=State.STARTED):
            with self.refusals.watch(Stage.LIST, person):
                self._reconciler.resolve_unknown(person, _pipedrive_id(person), started)
            last = started[-1].pk

    # --- the gists of a person ---
    def _push_gists(self, person: Person, progress: _Progress) -> None:
        """_ReplacedError when the person has got another Pipedrive person, once."""
        for gist in self._pending(person, progress.tried):
            if not progress.tried:
                progress.owner_id = self._owner.find(_pipedrive_id(person))
            progress.tried.add(gist.pk)
            try:
                created = self._push_gist(person, gist, progress.owner_id)
            except RejectedError as error:
                self._record_refusal(person, gist, error, progress)
                continue
            if created is None:
                progress.unknown_in_a_row += 1
                if progress.unknown_in_a_row >= MAX_UNKNOWN:
                    raise RetryNextRunError(
                        f"{MAX_UNKNOWN} activities in a row got no clear response. They are looked up in the next run."
                    )
            else:
                progress.created += 1
                progress.unknown_in_a_row = 0
                self._check_filed(person, gist, created, progress)

    def _pending(self, person: Person, tried: set[int]) -> Iterator[Gist]:
        """The person's pending gists, oldest first; those that have failed before come last."""
        for attempts in ({"push_attempts": 0}, {"push_attempts__gt": 0}):
            last = 0
            while batch := _read_gists(person, last, push_state=State.PENDING, **attempts):
                self._restore_check.match(person, batch, self._claims)
                yield from (gist for gist in batch if gist.push_state == State.PENDING and gist.pk not in tried)
                last = batch[-1].pk

    def _record_refusal(self, person: Person, gist: Gist, error: RejectedError, progress: _Progress) -> None:
        refusal = Refusal(Stage.PUSH, person, error, gist)
        if progress.may_be_replaced:
            progress.may_be_replaced = False
            try:
                is_replaced = self.linker.is_replaced(person)
            except LinkError:
                # The person cannot be used. If that is so for several people in a row, it is about us.
                refusal.gist = None
                self.refusals.record(refusal)
                progress.refusals.append(refusal)
                raise
            if is_replaced:
                raise _ReplacedError
        self.refusals.record(refusal)
        progress.refusals.append(refusal)
        self._pipedrive.api.circuit.raise_if_open()
        if not progress.created and progress.refused_in_a_row >= MAX_SAME_GISTS:
            for other in progress.refusals:
                other.gist = None  # It stays pending.
            raise RetryNextRunError(f"Pipedrive refused {MAX_SAME_GISTS} gists in a row for the same reason: {error}")

    def _check_filed(self, person: Person, gist: Gist, created: Activity, progress: _Progress) -> None:
        """Report an activity that Pipedrive has filed under another person, or under none; follow a merge."""
        expected = gist.pipedrive_person_id
        if created.filed_under == expected:
            return
        actual = f"person {created.filed_under}" if created.filed_under else "no person"
        message = f"Pipedrive filed activity {created.id} under {actual}, not under person {expected}."
        _store_remark(gist, message)
        self._summary.problem(message, person=person, gist=gist)
        if progress.may_be_replaced and created.filed_under:
            progress.may_be_replaced = False
            if self.linker.is_replaced(person):
                raise _ReplacedError

    # --- one gist ---
    def _push_gist(self, person: Person, gist: Gist, owner_id: int | None) -> Activity | None:
        """Create the activity of a pending gist. None when the outcome is unknown.

        RejectedError when Pipedrive refuses it; the gist is then pending.
        """
        self._pipedrive.api.raise_if_stopping()
        pipedrive_id, activity = _pipedrive_id(person), self._build_activity(gist)
        self._book_activity()
        try:
            started = self._start(person, gist, pipedrive_id)
        except BaseException:
            self._budget.cancel()
            raise
        attempt = Attempt(gist, self._run_id, started)
        not_after = boot_clock() + min(MAX_SEND_DELAY, self._claims.lease_seconds / 2)
        try:
            created = self._create(pipedrive_id, activity, owner_id, not_after)
            if created.filed_under != pipedrive_id:
                created = self._read_again(created, activity)
        except OutcomeUnknownError as error:
            self._finish(attempt, error, push_error=str(error)[:500])  # It stays started; see sync.reconcile.
            self._summary.count("gists_unknown")
            self._summary.record("gist", failed=1)
            self._summary.problem(str(error), person=person, gist=gist)
            return None
        except (RejectedError, NotSentError, CircuitOpenError, RunStoppedError) as error:
            # Nothing was created, so the gist is pending as before.
            self._finish(attempt, error, push_state=State.PENDING, push_error=str(error)[:500])
            self._budget.cancel()
            raise
        self._finish(attempt, created, **pushed_columns(created.id, self._context.clock()))
        self.refusals.record_success(Stage.PUSH)
        self._summary.count("gists_pushed")
        self._summary.record("gist", succeeded=1)
        return created

    def _create(self, pipedrive_id: int, activity: NewActivity, owner_id: int | None, not_after: float) -> Activity:
        """Create the activity, for the token's user if its owner is refused."""
        create = self._pipedrive.create_activity
        owner_id = self._owner.unless_refused(owner_id)
        try:
            created = create(pipedrive_id, activity, owner_id=owner_id, not_after=not_after)
        except RejectedError as error:
            if not self._owner.may_be_refused(owner_id, error):
                raise
            created = create(pipedrive_id, activity, not_after=not_after)
            self._owner.refuse(owner_id, error)
        else:
            self._owner.confirm(owner_id)
        return created

    def _read_again(self, created: Activity, activity: NewActivity) -> Activity:
        """OutcomeUnknownError if the response to a POST names an activity that does not exist, or another one."""
        try:
            found = self._pipedrive.get_activity(created.id)
        except (RejectedError, RetryNextRunError, CircuitOpenError, RunStoppedError) as error:
            raise OutcomeUnknownError(f"Pipedrive returned a new activity that it does not show: {error}") from None
        if found.subject != activity.subject:
            raise OutcomeUnknownError(f"Pipedrive returned activity {created.id}, which is another one")
        return found

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
            push_run_id=self._run_id,
        )
        gist.pipedrive_person_id = pipedrive_id
        return now

    @retried
    def _finish(self, attempt: Attempt, outcome: Activity | SyncError, **columns: object) -> None:
        """Record the outcome of this attempt, and of no later one.

        No lease is needed: what Pipedrive has done stays true when another run has taken the person over.
        """
        with transaction.atomic():
            same = Gist.objects.filter(pk=attempt.gist.pk, push_state=State.STARTED, push_started_at=attempt.started_at)
            same.update(**columns)
            attempt.record(outcome, self._context.clock())


@retried
def _read_gists(person: Person, after: int, **selected: object) -> list[Gist]:
    return list(Gist.objects.filter(person=person, pk__gt=after, **selected).order_by("pk")[:BATCH_SIZE])


@retried
def _read_matched_at(person: Person) -> None:
    person.pipedrive_matched_at = Person.objects.values_list("pipedrive_matched_at", flat=True).get(pk=person.pk)


@retried
def _store_remark(gist: Gist, message: str) -> None:
    Gist.objects.filter(pk=gist.pk).update(push_error=message[:500])


def _pipedrive_id(person: Person) -> int:
    if person.pipedrive_id is None:
        raise ValueError(f"{person} is not linked yet")
    return person.pipedrive_id
