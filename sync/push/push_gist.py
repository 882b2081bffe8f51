"""Create the activity of one gist, so that it is created once: `started` is committed, one POST is sent, and its
outcome is recorded together with the attempt.
"""

from datetime import datetime

from django.db import transaction
from django.db.models import F

from gisttracker.common.database import retried
from people.known_activities import settle
from people.models import Gist, Person
from people.models.gist import pushed_columns
from sync.clients.boot_clock import boot_clock
from sync.clients.errors import (
    CircuitOpenError,
    NotSentError,
    OutcomeUnknownError,
    RejectedError,
    RetryNextRunError,
    RunStoppedError,
    SyncError,
)
from sync.clients.pipedrive_records import Activity, NewActivity
from sync.crm.activity import new_activity
from sync.push.attempts import Attempt
from sync.push.owner import ActivityOwner
from sync.run.budget import Budget
from sync.run.claims import Claims
from sync.run.context import RunContext

MAX_SEND_DELAY = 60.0  # seconds from "started" to the POST; a process that was suspended longer must not send it
State = Gist.PushState


class GistPusher:
    """Creates activities under the leases of the push lane. Thread-safe."""

    def __init__(self, context: RunContext, claims: Claims, run_id: int | None) -> None:
        self._context, self._claims, self._run_id = context, claims, run_id
        self._summary, self._pipedrive = context.summary, context.pipedrive
        self._owner = ActivityOwner(context)
        options = context.options
        self._budget = Budget(context.clock, per_run=options.max_activities, per_day=options.max_activities_per_day)

    def push(self, person: Person, gist: Gist, pipedrive_id: int) -> Activity | None:
        """Create the activity of a pending gist under this Pipedrive person. None when the outcome is unknown.

        RejectedError when Pipedrive refuses it; the gist is then pending.
        """
        self._pipedrive.api.raise_if_stopping()
        options = self._context.options
        activity = new_activity(gist, type=options.activity_type, done=options.activity_done)
        owner_id = self._owner.find(pipedrive_id)
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
            self._finish(attempt, error, push_error=str(error)[:500])  # It stays started; see sync.crm.reconcile.
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
        self._summary.count("gists_pushed")
        self._summary.record("gist", succeeded=1)
        return created

    def _book_activity(self) -> None:
        """Open the circuit when the run, or all runs of today, have created as many activities as they may."""
        try:
            self._budget.book()
        except CircuitOpenError as error:
            self._pipedrive.api.open_circuit(error)

    def _start(self, person: Person, gist: Gist, pipedrive_id: int) -> datetime:
        """Commit that the POST will be sent. Returns the time that identifies this attempt."""
        now = self._context.clock()
        self._claims.update_gist(
            person,
            gist,
            push_state=State.STARTED,
            push_started_at=now,
            activity_outdated=False,  # An edit from now on sets it (see sync.poll.store).
            push_attempts=F("push_attempts") + 1,
            push_error="",
            pipedrive_person_id=pipedrive_id,
            push_run_id=self._run_id,
        )
        return now

    def _create(self, pipedrive_id: int, activity: NewActivity, owner_id: int | None, not_after: float) -> Activity:
        """Create the activity, for the token's user if its owner is refused."""
        create = self._pipedrive.create_activity
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

    @retried
    def _finish(self, attempt: Attempt, outcome: Activity | SyncError, **columns: object) -> None:
        """Record the outcome of this attempt, and of no later one; also if the gist was deleted meanwhile.

        No lease is needed: what Pipedrive has done stays true when another run has taken the person over.
        """
        gist, started_at, now = attempt.gist, attempt.started_at, self._context.clock()
        with transaction.atomic():
            same = Gist.objects.filter(pk=gist.pk, push_state=State.STARTED, push_started_at=started_at)
            if not same.update(**columns):
                activity_id = outcome.id if isinstance(outcome, Activity) else None
                certain = not isinstance(outcome, OutcomeUnknownError)
                settle(gist.github_id, started_at, activity_id, certain=certain, now=now)
            attempt.record(outcome, now)
