"""Steps that read which activities Pipedrive has: after a POST with unknown outcome, or a lost database.

That an activity does not exist is concluded only from lists that were read to their end and are believed: the list of
all activities must contain the newest ones that are known to exist; the list of one person must contain the newest one
that is known of this person, and at least as many as the person's own record counts.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sync.clients.errors import InvalidResponseError, NotFoundError, RejectedError
from sync.clients.pipedrive import PipedriveClient
from sync.clients.pipedrive_records import Activity
from sync.crm.recognition import Fingerprint, fingerprint_of

MAX_KNOWN = 3  # known activities that are requested by their ids
MAX_SCANNED = 20_000  # activities of all persons that are looked at for moved ones


def list_activities(
    pipedrive: PipedriveClient, pipedrive_id: int, known: int | None, since: datetime | None = None
) -> list[Fingerprint]:
    """The activities of a person, newest first, back to `since`. `known`: one that must be among them."""
    count = _count_activities(pipedrive, pipedrive_id)
    listed = []
    for activity in pipedrive.iter_newest_activities(pipedrive_id):
        listed.append(fingerprint_of(activity))
        if since and activity.add_time and activity.add_time < since:
            break
    ids = {fingerprint.activity_id for fingerprint in listed}
    found = _find(pipedrive, known) if known and known not in ids else None
    if found and found.filed_under == pipedrive_id:
        raise InvalidResponseError("Pipedrive does not list an activity of this person, although it exists")
    is_whole = not since or not listed or not listed[-1].added_at or listed[-1].added_at >= since
    if is_whole and count is not None and count > len(ids):
        raise InvalidResponseError("Pipedrive counts more activities of this person than it lists")
    return listed


def list_recent_activities(
    pipedrive: PipedriveClient, pipedrive_id: int, known: int | None, since: datetime
) -> list[Fingerprint]:
    """As `list_activities`. Empty if Pipedrive refuses: then the list of all persons decides."""
    try:
        return list_activities(pipedrive, pipedrive_id, known, since)
    except RejectedError:
        return []


def scan_activities(pipedrive: PipedriveClient, since: datetime, known: Collection[int]) -> list[Fingerprint]:
    """The activities of all persons updated since. `known`: some that must be among them."""
    scanned: list[Fingerprint] = []
    for activity in pipedrive.iter_last_activities(since):
        if len(scanned) >= MAX_SCANNED:
            return scanned
        scanned.append(fingerprint_of(activity, with_text=False))
    check_known(pipedrive, {fingerprint.activity_id for fingerprint in scanned}, known)
    return scanned


def check_known(pipedrive: PipedriveClient, listed: Collection[int], known: Collection[int]) -> None:
    """InvalidResponseError if the list of all activities lacks a known one that Pipedrive shows by its id."""
    for activity_id in [number for number in known if number not in listed][:MAX_KNOWN]:
        if _find(pipedrive, activity_id):
            raise InvalidResponseError(f"Pipedrive does not list activity {activity_id}, although it exists")


@dataclass(frozen=True)
class Unlisted:
    """An activity that no list contains."""

    fingerprint: Fingerprint
    is_deleted: bool


def get_activities(pipedrive: PipedriveClient, ids: Collection[int]) -> list[Unlisted]:
    """Those of these activities that Pipedrive shows by their ids."""
    found = []
    for activity_id in sorted(ids):
        try:
            activity = pipedrive.get_activity(activity_id)
        except RejectedError:
            continue
        found.append(Unlisted(fingerprint_of(activity), bool(activity.is_deleted)))
    return found


def _count_activities(pipedrive: PipedriveClient, pipedrive_id: int) -> int | None:
    """The count in the person's own record, to be read before the list. None if it is not known."""
    try:
        return pipedrive.get_person(pipedrive_id, count_activities=True).activities_count
    except RejectedError:
        return None  # A person that does not exist any more has no count.


def _find(pipedrive: PipedriveClient, activity_id: int) -> Activity | None:
    try:
        activity = pipedrive.get_activity(activity_id)
    except NotFoundError:
        return None
    return None if activity.is_deleted else activity
