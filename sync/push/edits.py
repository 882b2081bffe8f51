"""The step that updates the activities of gists that were edited after their activity was created (PUSH_EDITS).

Nothing is written before these requests, because an update may be repeated. An activity stays outdated until it is
updated, or Pipedrive shows that it was deleted.
"""

from dataclasses import dataclass
from datetime import datetime

from sync.clients.boot_clock import boot_clock
from sync.clients.errors import CircuitOpenError, NotFoundError, RejectedError, RetryNextRunError, RunStoppedError
from sync.clients.pipedrive import PipedriveClient
from sync.clients.pipedrive_records import Activity


@dataclass(frozen=True)
class Edit:
    """The new text of an activity. `updated_at`: the version of the gist that it shows."""

    gist: int  # its key
    activity_id: int
    subject: str
    note: str
    updated_at: datetime


@dataclass(frozen=True)
class Edited:
    """What came of it. `is_deleted`: Pipedrive shows that the activity was deleted."""

    edit: Edit
    outcome: Activity | RejectedError
    seconds: float
    is_deleted: bool = False


@dataclass(frozen=True)
class EditedAll:
    """`failure`: why the others were not tried."""

    edited: tuple[Edited, ...]
    failure: Exception | None = None


def update_activities(pipedrive: PipedriveClient, edits: tuple[Edit, ...]) -> EditedAll:
    edited: list[Edited] = []
    for edit in edits:
        began_at = boot_clock()
        try:
            outcome: Activity | RejectedError = pipedrive.update_activity(edit.activity_id, edit.subject, edit.note)
        except RejectedError as error:
            outcome = error
        except (RetryNextRunError, CircuitOpenError, RunStoppedError) as error:
            return EditedAll(tuple(edited), error)
        is_deleted = isinstance(outcome, NotFoundError) and _is_deleted(pipedrive, edit.activity_id)
        edited.append(Edited(edit, outcome, boot_clock() - began_at, is_deleted))
    return EditedAll(tuple(edited))


def _is_deleted(pipedrive: PipedriveClient, activity_id: int) -> bool:
    """Does Pipedrive show that the activity was deleted? That it is not found proves nothing."""
    try:
        return pipedrive.get_activity(activity_id).is_deleted is True
    except (RejectedError, RetryNextRunError):
        return False
