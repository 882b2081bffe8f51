"""Update the activities of gists that were edited after their activity was created (PUSH_EDITS)."""

from django.db import transaction

from gisttracker.common.database import retried
from people.models import Gist, Person
from sync.clients.errors import NotFoundError, RejectedError
from sync.clients.pipedrive_records import Activity
from sync.crm.activity import note, subject
from sync.crm.reconcile import DELETED
from sync.models import PushAttempt
from sync.push.attempts import Attempt, count_failed_in_a_row
from sync.push.refusals import Refusal, Refusals, Step
from sync.run.claims import Claims, is_over, next_attempt
from sync.run.context import RunContext

BATCH_SIZE = 50  # gists read at once
Kind = PushAttempt.Kind


class Editor:
    """Updates activities under the leases of the push lane. Thread-safe.

    Nothing is committed before a request, because an update may be repeated. An activity stays outdated until it is
    updated, or Pipedrive shows that it was deleted.
    """

    def __init__(self, context: RunContext, claims: Claims, refusals: Refusals, run_id: int | None) -> None:
        self._context, self._claims, self._refusals, self._run_id = context, claims, refusals, run_id
        self._pipedrive, self._summary = context.pipedrive, context.summary

    def push_edits(self, person: Person) -> None:
        """Update this person's outdated activities, except those whose pause after failures is not over."""
        is_due, last = is_over("next_edit_at", self._context.clock()), 0
        gists = Gist.objects.filter(is_due, person=person, push_state=Gist.PushState.PUSHED, activity_outdated=True)
        while batch := retried(list)(gists.filter(pk__gt=last).order_by("pk")[:BATCH_SIZE]):
            for gist in batch:
                self._refusals.raise_if_blocked(Step.EDIT)
                self._claims.check(person)
                self._push_edit(person, gist)
            last = batch[-1].pk

    def _push_edit(self, person: Person, gist: Gist) -> None:
        attempt = Attempt(gist, self._run_id, self._context.clock(), Kind.UPDATE)
        activity_id = gist.pipedrive_activity_id or 0
        try:
            updated = self._pipedrive.update_activity(activity_id, subject(gist), note(gist))
        except RejectedError as error:
            if isinstance(error, NotFoundError) and self._is_deleted(activity_id):
                self._finish(attempt, error, activity_outdated=False, push_error=DELETED)
            else:
                self._postpone(person, attempt, error)
        else:
            self._finish(attempt, updated, activity_outdated=False, push_error="", next_edit_at=None)
            self._refusals.record_success(Step.EDIT)
            self._summary.count("activities_edited")

    def _is_deleted(self, activity_id: int) -> bool:
        """Does Pipedrive show that the activity was deleted? That it is not found proves nothing."""
        try:
            return self._pipedrive.get_activity(activity_id).is_deleted is True
        except RejectedError:
            return False

    def _postpone(self, person: Person, attempt: Attempt, error: RejectedError) -> None:
        failures = count_failed_in_a_row(attempt.gist, Kind.UPDATE) + 1
        next_edit_at = next_attempt(failures, self._context.clock())
        message = f"The activity could not be updated: {error}"
        self._finish(attempt, error, push_error=message[:500], next_edit_at=next_edit_at)
        self._summary.problem(str(error), person=person, gist=attempt.gist)
        if not isinstance(error, NotFoundError):
            self._refusals.record(Refusal(Step.EDIT, person, error))

    @retried
    def _finish(self, attempt: Attempt, outcome: Activity | RejectedError, **columns: object) -> None:
        gist = attempt.gist
        with transaction.atomic():
            Gist.objects.filter(pk=gist.pk, github_updated_at=gist.github_updated_at).update(**columns)
            attempt.record(outcome, self._context.clock())
