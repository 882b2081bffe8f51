"""Undo a run: delete the activities that it created, unless they were changed since.

An activity is deleted before its gist is written, so that a stopped undo can be repeated: an activity that is already
deleted only needs to be written.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F

from gisttracker.common.database import retried
from gisttracker.common.numbers import MAX_BIGINT
from people.models import Gist
from sync.clients.errors import InvalidResponseError, NotFoundError, RejectedError, RetryNextRunError
from sync.clients.pipedrive import PipedriveClient
from sync.clients.pipedrive_records import Activity
from sync.clock import Clock
from sync.models import PushAttempt, SyncRun
from sync.push.attempts import Attempt

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


Writing = Callable[[], AbstractContextManager[None]]


def undo(
    run: SyncRun, pipedrive: PipedriveClient, clock: Clock, writing: Writing, *, dry_run: bool
) -> Iterator[Undone]:
    """Undo the pushes of this run, the newest first. Activities that were undone before are left out.

    `writing`: a transaction under the lease. Raises CircuitOpenError, RunStoppedError and LeaseLostError.
    """
    created = PushAttempt.objects.filter(run_id=run.pk, kind=Kind.CREATE, activity_id=F("gist__pipedrive_activity_id"))
    attempts = created.filter(outcome__in=[Outcome.SUCCEEDED, Outcome.FOUND]).select_related("gist__person")
    last = MAX_BIGINT
    while batch := retried(list)(attempts.filter(pk__lt=last).order_by("-pk")[:BATCH_SIZE]):
        for attempt in batch:
            yield _undo(attempt, pipedrive, clock, writing, dry_run=dry_run)
        last = batch[-1].pk


def _undo(attempt: PushAttempt, pipedrive: PipedriveClient, clock: Clock, writing: Writing, *, dry_run: bool) -> Undone:
    gist, activity_id = attempt.gist, attempt.activity_id or 0
    try:
        activity = pipedrive.get_activity(activity_id)
        reason = _find_change(attempt, activity)
        if not reason and not dry_run:
            _delete(attempt, activity, pipedrive, clock, writing)
    except NotFoundError as error:
        return Undone(gist, activity_id, f"it cannot be found at Pipedrive ({error.status})")
    except (RejectedError, RetryNextRunError) as error:
        return Undone(gist, activity_id, str(error), is_failure=True)
    return Undone(gist, activity_id, reason)


def _find_change(attempt: PushAttempt, activity: Activity) -> str:
    """Why the activity must be kept; empty if it is as this attempt has created it."""
    if activity.is_deleted:
        return ""
    # Its update time is then ours, whoever changed it before.
    updates = PushAttempt.objects.filter(gist=attempt.gist, kind=Kind.UPDATE, outcome=Outcome.SUCCEEDED)
    if retried(updates.filter(activity_id=attempt.activity_id).exists)():
        return "gisttracker has updated it since, so earlier changes by others are not visible"
    written = attempt.activity_updated_at or activity.add_time
    if written is None or activity.update_time is None:
        return "Pipedrive does not show when it was changed last"
    if activity.update_time > written:
        return f"it was changed {activity.update_time:%Y-%m-%d %H:%M} UTC, after gisttracker wrote it"
    return ""


def _delete(
    created: PushAttempt, activity: Activity, pipedrive: PipedriveClient, clock: Clock, writing: Writing
) -> None:
    attempt = Attempt(created.gist_id, created.run_id, clock(), Kind.DELETE)
    if not activity.is_deleted:
        with suppress(NotFoundError):  # A DELETE whose response was lost is sent again.
            pipedrive.delete_activity(activity.id)
        if not pipedrive.get_activity(activity.id).is_deleted:
            raise InvalidResponseError(f"Pipedrive still shows activity {activity.id} after it was deleted")
    _store(created.gist, attempt, activity, clock(), writing)


@retried
def _store(gist: Gist, attempt: Attempt, activity: Activity, now: datetime, writing: Writing) -> None:
    with writing():
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
            attempt.ended(activity, now).save()
