"""The record of each request that creates, updates or deletes an activity; see PushAttempt."""

import itertools
from dataclasses import dataclass
from datetime import datetime

from gisttracker.common.database import retried
from people.models import Gist
from sync.clients.errors import OutcomeUnknownError, RejectedError, SyncError
from sync.clients.pipedrive_records import Activity
from sync.models import PushAttempt

Outcome = PushAttempt.Outcome
BATCH_SIZE = 1000  # rows deleted at once


@dataclass(frozen=True)
class Attempt:
    """An attempt that has begun. `gist` is the key of a row."""

    gist: int
    run_id: int | None
    started_at: datetime
    kind: PushAttempt.Kind = PushAttempt.Kind.CREATE

    def ended(self, outcome: Activity | SyncError, now: datetime) -> PushAttempt:
        """The row of an attempt that ended with this activity, or with this error. Not saved."""
        attempt = PushAttempt(
            gist_id=self.gist,
            run_id=self.run_id,
            attempted_at=self.started_at,
            kind=self.kind,
            duration=max((now - self.started_at).total_seconds(), 0.0),
        )
        if isinstance(outcome, Activity):
            attempt.outcome = Outcome.SUCCEEDED
            attempt.activity_id, attempt.activity_updated_at = outcome.id, outcome.update_time
        else:
            kinds = {RejectedError: Outcome.REFUSED, OutcomeUnknownError: Outcome.UNKNOWN, SyncError: Outcome.NOT_SENT}
            attempt.outcome = next(kind for error, kind in kinds.items() if isinstance(outcome, error))
            attempt.message, attempt.status = str(outcome)[:500], getattr(outcome, "status", None)
        return attempt


def record_found(gist: Gist, activity_id: int, now: datetime) -> None:
    """The activity of a push with unknown outcome exists: the run that sent it has created it."""
    PushAttempt.objects.create(
        gist_id=gist.pk,
        run_id=gist.push_run_id,
        attempted_at=gist.push_started_at or now,
        outcome=Outcome.FOUND,
        message="No clear response arrived; the activity was found later.",
        activity_id=activity_id,
    )


def count_failed_in_a_row(gist: int, kind: PushAttempt.Kind) -> int:
    """How many of the gist's last attempts were refused or got no clear response, up to 20."""
    attempts = PushAttempt.objects.filter(gist=gist, kind=kind).exclude(outcome=Outcome.NOT_SENT)
    failed = itertools.takewhile(
        lambda outcome: outcome in (Outcome.REFUSED, Outcome.UNKNOWN), attempts.values_list("outcome", flat=True)[:20]
    )
    return len(list(failed))


def has_succeeded_since(moment: datetime | None) -> bool:
    """Was an activity created by an attempt that began later?"""
    later = PushAttempt.objects.filter(kind=PushAttempt.Kind.CREATE, outcome=Outcome.SUCCEEDED)
    return moment is not None and later.filter(attempted_at__gt=moment).exists()


@retried
def delete_old_attempts(before: datetime) -> None:
    old = PushAttempt.objects.filter(attempted_at__lt=before).order_by("attempted_at")
    while keys := list(old.values_list("pk", flat=True)[:BATCH_SIZE]):
        PushAttempt.objects.filter(pk__in=keys).delete()
