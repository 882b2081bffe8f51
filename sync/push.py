"""One person's gists -> Pipedrive activities: each exactly one, whatever is cut off or killed on the way.

    pending -> started -> pushed | rejected | pending again

`started` is committed before the POST, so whoever finds a gist so knows that Pipedrive may have its activity, and
asks before sending another (see reconcile).
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F

from people.models import Gist, Person
from sync.activity import new_activity
from sync.budget import Budget
from sync.claims import Claims, Clock
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
from sync.clients.pipedrive import PipedriveClient
from sync.clients.transport import now
from sync.link import check_held, is_lost, link, unlink
from sync.reconcile import Reconciler, pushed
from sync.steps import Steps, remote

SEND_WITHIN = 60.0  # seconds from "started" to the POST; a process that slept longer must not send it any more
State = Gist.PushState


@dataclass(frozen=True)
class Push:
    """What all pushes of a run share."""

    pipedrive: PipedriveClient
    claims: Claims
    clock: Clock
    reconciler: Reconciler
    budget: Budget
    activity_type: str
    activity_done: bool
    edits: bool
    counts: Counter[str]
    stop: Callable[[], None]  # raises when the run is to end
    problem: Callable[..., None]  # (what, person=..., gist=...)

    def check_activity_type(self) -> Steps[None]:
        """End Pipedrive's part when there is no such activity type, before gist after gist is rejected for it."""
        try:
            types = yield from remote(self.pipedrive.activity_types)
        except (RejectedError, RetryNextRunError) as error:
            self.problem(f"The activity type could not be checked: {error}")
            return
        if self.activity_type not in types:
            self.pipedrive.api.end(
                ConfigurationError(
                    f"PIPEDRIVE_ACTIVITY_TYPE is {self.activity_type!r}, which Pipedrive does not have; "
                    f"it has: {', '.join(sorted(types))}"
                )
            )

    def person(self, person: Person) -> Steps[None]:
        """Link the person, find out about cut-off pushes, push what is pending, oldest first; then the edits."""
        try:
            person.refresh_from_db()  # The batch was read a while ago; somebody may have linked it since.
        except Person.DoesNotExist:
            raise LeaseLostError(f"{person} was deleted") from None
        pipedrive_id = yield from self._prepare(person)
        may_relink = True
        last = 0
        while gist := self._next(person, last, push_state=State.PENDING):
            self.stop()
            try:
                yield from self._gist(person, gist, pipedrive_id)
            except RejectedError as error:
                if may_relink and (yield from is_lost(person, self.pipedrive)):
                    unlink(person, self.claims)
                    pipedrive_id = yield from self._prepare(person, lost=pipedrive_id)
                    may_relink = False
                    continue  # The same gist again, if the new Pipedrive person does not have it.
                may_relink = False
                self._reject(person, gist, error)
            last = gist.pk
        if self.edits:
            yield from self._edits(person)

    def _prepare(self, person: Person, lost: int = 0) -> Steps[int]:
        pipedrive_id = yield from link(
            person, self.pipedrive, self.claims, self.clock, self.reconciler.settle, lost=lost
        )
        if lost:
            self.problem(
                f"Pipedrive person {lost} is deleted or merged; {pipedrive_id} takes its place.", person=person
            )
        if person.pipedrive_matched_at is None:
            yield from self.reconciler.compare(person, pipedrive_id)
        yield from self.reconciler.cut_off(person, pipedrive_id)
        return pipedrive_id

    @staticmethod
    def _next(person: Person, after: int, **which: object) -> Gist | None:
        return Gist.objects.filter(person=person, pk__gt=after, **which).order_by("pk").first()

    def _gist(self, person: Person, gist: Gist, pipedrive_id: int) -> Steps[None]:
        """Make the activity of a pending gist. RejectedError when Pipedrive says no; the gist is pending then."""
        self._book()
        activity = new_activity(gist, type=self.activity_type, done=self.activity_done)
        try:
            started = self._start(person, gist, pipedrive_id)
        except LeaseLostError:
            self.budget.give_back()
            raise
        not_after = now() + min(SEND_WITHIN, self.claims.lease_seconds / 2)
        try:
            activity_id = yield from remote(self.pipedrive.create_activity, pipedrive_id, activity, not_after=not_after)
        except OutcomeUnknownError as error:
            self._settle(gist, started, push_error=str(error)[:500])  # It stays started; see reconcile.
            self.counts["gists_unclear"] += 1
            self.problem(str(error), person=person, gist=gist)
        except (RejectedError, NotSentError, CircuitOpenError, RunStoppedError) as error:
            # Nothing was done at Pipedrive, so this is as pending as before.
            self._settle(gist, started, push_state=State.PENDING, push_error=str(error)[:500])
            self.budget.give_back()
            raise
        else:
            self._settle(gist, started, activity_outdated=False, **pushed(activity_id, self.clock()))
            self.counts["gists_pushed"] += 1

    def _book(self) -> None:
        try:
            self.budget.book()
        except CircuitOpenError as spent:
            self.pipedrive.api.end(spent)

    def _start(self, person: Person, gist: Gist, pipedrive_id: int) -> datetime:
        """Say that the POST may be sent from now on. Only the lease's holder may."""
        moment = self.clock()
        with self.claims.holding([person.pk]) as held:
            check_held(person, held)
            started = Gist.objects.filter(pk=gist.pk, push_state=State.PENDING, person__in=held).update(
                push_state=State.STARTED,
                push_started_at=moment,
                push_attempts=F("push_attempts") + 1,
                push_error="",
                pipedrive_person_id=pipedrive_id,
            )
        if not started:
            raise LeaseLostError(f"gist {gist.github_id} was taken over or deleted")
        return moment

    def _settle(self, gist: Gist, started: datetime, **columns: object) -> None:
        """Record what became of the attempt that began at `started`.

        True whoever holds the lease by now, and about this attempt only; a deleted gist has nothing to record.
        """
        Gist.objects.filter(pk=gist.pk, push_state=State.STARTED, push_started_at=started).update(**columns)

    def _reject(self, person: Person, gist: Gist, error: RejectedError) -> None:
        Gist.objects.filter(pk=gist.pk, push_state=State.PENDING).update(
            push_state=State.REJECTED, push_error=str(error)[:500], updated_at=self.clock()
        )
        self.counts["gists_rejected"] += 1
        self.problem(str(error), person=person, gist=gist)

    def _edits(self, person: Person) -> Steps[None]:
        """Bring activities up to date; doing that twice is doing it once, so nothing is written down before."""
        last = 0
        while gist := self._next(person, last, push_state=State.PUSHED, activity_outdated=True):
            self.stop()
            activity = new_activity(gist, type=self.activity_type, done=self.activity_done)
            columns: dict[str, object] = {"activity_outdated": False, "push_error": ""}
            try:
                yield from remote(
                    self.pipedrive.edit_activity, gist.pipedrive_activity_id or 0, activity.subject, activity.note
                )
                self.counts["activities_edited"] += 1
            except NotFoundError:
                columns["push_error"] = "Its activity was deleted at Pipedrive; it is not made again."
            except RejectedError as error:
                columns["push_error"] = f"Its activity could not be brought up to date: {error}"[:500]
                self.problem(str(error), person=person, gist=gist)
            Gist.objects.filter(pk=gist.pk, github_updated_at=gist.github_updated_at).update(**columns)
            last = gist.pk
