"""The record of each request that creates, updates or deletes an activity; see PushAttempt."""

import itertools
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from gisttracker.database import retried
from people.models import Gist
from sync.clients.errors import OutcomeUnknownError, RejectedError, SyncError
from sync.clients.pipedrive_records import Activity
from sync.models import PushAttempt

Outcome = PushAttempt.Outcome
BATCH_SIZE = 1000  # rows deleted at once


@dataclass(frozen=True)
class Attempt:
    """An attempt that has begun."""

    gist: Gist
    run_id: int | None
    started_at: datetime
    kind: PushAttempt.Kind = PushAttempt.Kind.CREATE

    def record(self, outcome: Activity | SyncError, now: datetime) -> None:
        """Record that it ended with this activity, or with this error."""
        if isinstance(outcome, Activity):
            self._create(Outcome.SUCCEEDED, now, activity_id=outcome.id, activity_updated_at=outcome.update_time)
        elif isinstance(outcome, RejectedError):
            self._create(Outcome.REFUSED, now, status=outcome.status, message=str(outcome)[:500])
        else:
            kind = Outcome.UNKNOWN if isinstance(outcome, OutcomeUnknownError) else Outcome.NOT_SENT
            self._create(kind, now, message=str(outcome)[:500])

    def _create(self, outcome: PushAttempt.Outcome, now: datetime, **columns: object) -> None:
        duration = (now - self.started_at).total_seconds()
        with transaction.atomic():
            # A gist that is being deleted gets no attempt.
            if not Gist.objects.select_for_update().filter(pk=self.gist.pk).exists():
                return
            PushAttempt.objects.create(
                gist_id=self.gist.pk,
                run_id=self.run_id,
                attempted_at=self.started_at,
                kind=self.kind,
                outcome=outcome,
                duration=max(duration, 0.0),
                **columns,
            )


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


@retried
def count_failed_in_a_row(gist: Gist, kind: PushAttempt.Kind) -> int:
    """How many of the gist's last attempts were refused or got no clear response, up to 20."""
    attempts = PushAttempt.objects.filter(gist=gist, kind=kind).exclude(outcome=Outcome.NOT_SENT)
    failed = itertools.takewhile(
        lambda outcome: outcome in (Outcome.REFUSED, Outcome.UNKNOWN), attempts.values_list("outcome", flat=True)[:20]
    )
    return len(list(failed))


@retried
def has_succeeded_since(moment: datetime | None) -> bool:
    """Was an activity created by an attempt that began later?"""
    later = PushAttempt.objects.filter(kind=PushAttempt.Kind.CREATE, outcome=Outcome.SUCCEEDED)
    return moment is not None and later.filter(attempted_at__gt=moment).exists()


@retried
def delete_old_attempts(before: datetime) -> None:
    """Delete attempts that are older, in batches."""
    old = PushAttempt.objects.filter(attempted_at__lt=before).order_by("attempted_at")
    while keys := list(old.values_list("pk", flat=True)[:BATCH_SIZE]):
        PushAttempt.objects.filter(pk__in=keys).delete()
