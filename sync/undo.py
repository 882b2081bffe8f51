"""Undo a run: delete the activities that it created, unless they were changed since.

An activity is deleted before its gist is written, so that a stopped undo can be repeated: an activity that is already
deleted only needs to be written.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from gisttracker.database import retried
from people.models import Gist
from sync.attempts import Attempt
from sync.claims import Clock
from sync.clients.errors import InvalidResponseError, NotFoundError, RejectedError, RetryNextRunError
from sync.clients.pipedrive import PipedriveClient
from sync.clients.pipedrive_records import Activity
from sync.models import PushAttempt, SyncRun

BATCH_SIZE = 200  # attempts read at once
Kind, Outcome = PushAttempt.Kind, PushAttempt.Outcome


@dataclass(frozen=True)
class Undone:
    """What became of one activity. `kept_because` is empty if it was deleted, or would be."""

    gist: Gist
    activity_id: int
    kept_because: str = ""
    is_failure: bool = False  # the activity could not be read or deleted: trying again may help

    def __str__(self) -> str:
        return f"@{self.gist.person.github_username}, gist {self.gist.github_id}, activity {self.activity_id}"


def undo(run: SyncRun, pipedrive: PipedriveClient, clock: Clock, *, dry_run: bool) -> Iterator[Undone]:
    """Undo the pushes of this run, the newest first. Activities that were undone before are left out.

    Raises CircuitOpenError and RunStoppedError.
    """
    last = None
    while batch := _read_attempts(run, last):
        for attempt in batch:
            undone = _Undo(attempt, pipedrive, clock, dry_run=dry_run)()
            if undone:
                yield undone
        last = batch[-1].pk


@retried
def _read_attempts(run: SyncRun, before: int | None) -> list[PushAttempt]:
    created = PushAttempt.objects.filter(
        run_id=run.pk, kind=Kind.CREATE, outcome__in=[Outcome.SUCCEEDED, Outcome.FOUND], activity_id__isnull=False
    )
    if before is not None:
        created = created.filter(pk__lt=before)
    return list(created.select_related("gist__person").order_by("-pk")[:BATCH_SIZE])


@dataclass
class _Undo:
    """The undo of one attempt."""

    attempt: PushAttempt
    pipedrive: PipedriveClient
    clock: Clock
    dry_run: bool

    def __call__(self) -> Undone | None:
        gist, activity_id = self.attempt.gist, self.attempt.activity_id or 0
        if gist.pipedrive_activity_id != activity_id:
            return None  # It was undone before.
        try:
            activity = self.pipedrive.get_activity(activity_id)
            reason = self._find_change(activity)
            if not reason and not self.dry_run:
                self._delete(gist, activity)
        except NotFoundError as error:
            return Undone(gist, activity_id, f"it cannot be found at Pipedrive ({error.status})")
        except (RejectedError, RetryNextRunError) as error:
            return Undone(gist, activity_id, str(error), is_failure=True)
        return Undone(gist, activity_id, reason)

    def _find_change(self, activity: Activity) -> str:
        """Why the activity must be kept; empty if it is as this attempt has created it."""
        if activity.is_deleted:
            return ""
        if _has_updated(self.attempt):
            return "gisttracker has updated it since, so earlier changes by others are not visible"
        written = self.attempt.activity_updated_at or activity.add_time
        if written is None or activity.update_time is None:
            return "Pipedrive does not show when it was changed last"
        if activity.update_time > written:
            return f"it was changed {activity.update_time:%Y-%m-%d %H:%M} UTC, after gisttracker wrote it"
        return ""

    def _delete(self, gist: Gist, activity: Activity) -> None:
        attempt = Attempt(gist, self.attempt.run_id, self.clock(), Kind.DELETE)
        if not activity.is_deleted:
            with suppress(NotFoundError):  # A DELETE whose response was lost is sent again.
                self.pipedrive.delete_activity(activity.id)
            if not self.pipedrive.get_activity(activity.id).is_deleted:
                raise InvalidResponseError(f"Pipedrive still shows activity {activity.id} after it was deleted")
        _store(gist, attempt, activity, self.clock())


@retried
def _has_updated(attempt: PushAttempt) -> bool:
    """Did an edit of the gist update the activity? Its update time is then ours, whoever changed it before."""
    updates = PushAttempt.objects.filter(gist=attempt.gist, kind=Kind.UPDATE, outcome=Outcome.SUCCEEDED)
    return updates.filter(activity_id=attempt.activity_id).exists()


@retried
def _store(gist: Gist, attempt: Attempt, activity: Activity, now: datetime) -> None:
    with transaction.atomic():
        same = Gist.objects.filter(pk=gist.pk, pipedrive_activity_id=activity.id)
        is_stored = same.update(
            push_state=Gist.PushState.SKIPPED,
            pipedrive_activity_id=None,
            pushed_at=None,
            activity_outdated=False,
            push_error=f"Undone: activity {activity.id} of run {attempt.run_id} was deleted.",
            updated_at=now,
        )
        if is_stored:
            attempt.record(activity, now)
