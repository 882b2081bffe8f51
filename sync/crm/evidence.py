"""Is Pipedrive's list of activities to be believed? An activity that is missing there may be created a second time.

The list of all activities must contain the newest ones that are known to exist. The list of one person must contain
those that are known of this person, and as many as the person's own record counts.
"""

import threading
from collections.abc import Callable, Collection
from datetime import datetime

from gisttracker.common.database import retried
from people.models import Gist
from sync.clients.errors import InvalidResponseError, NotFoundError, RejectedError
from sync.clients.pipedrive_records import Activity
from sync.run.context import RunContext

MAX_LOOKUPS = 3  # known activities that are requested by their ids


class ListingEvidence:
    """What the lists of single people's activities have shown in one run. Thread-safe."""

    def __init__(self, context: RunContext) -> None:
        self._pipedrive = context.pipedrive
        self._has_shown_known = threading.Event()

    def check_all(self, listed: Collection[int], known: Collection[int]) -> None:
        """InvalidResponseError if the list of all activities lacks a known one that Pipedrive shows by its id."""
        for activity_id in [number for number in known if number not in listed][:MAX_LOOKUPS]:
            if self._find(activity_id):
                raise InvalidResponseError(f"Pipedrive does not list activity {activity_id}, although it exists")

    def check_person(self, pipedrive_id: int, listed: Collection[int], known: int | None) -> None:
        """InvalidResponseError if the list of this person lacks an activity.

        `known`: an activity that was filed under this person and is not listed; None if all are.
        """
        found = self._find(known) if known else None
        if found and found.filed_under == pipedrive_id:
            raise InvalidResponseError("Pipedrive does not list an activity of this person, although it exists")
        if not self._has_shown_known.is_set() and known_ids(list(listed)):
            self._has_shown_known.set()

    def count_activities(self, pipedrive_id: int) -> int | None:
        """The count in the person's own record, to be read before the list. None if it is not known."""
        try:
            return self._pipedrive.get_person(pipedrive_id, count_activities=True).activities_count
        except RejectedError:
            return None  # A person that does not exist any more has no count.

    def check_count(self, count: int | None, listed: set[int], read_again: Callable[[], set[int]]) -> None:
        """InvalidResponseError if this whole list has fewer activities than the person's own record counts.

        The count may include activities that the list does not contain (that is not documented). So a list that
        is read twice with the same result is believed, if it is not empty or lists were right in this run.
        """
        if count is None or count <= len(listed):
            return
        if (listed or self._has_shown_known.is_set()) and read_again() == listed:
            return
        raise InvalidResponseError("Pipedrive counts more activities of this person than it lists")

    def _find(self, activity_id: int) -> Activity | None:
        try:
            activity = self._pipedrive.get_activity(activity_id)
        except NotFoundError:
            return None
        return None if activity.is_deleted else activity


@retried
def known_activities(context: RunContext, since: datetime | None = None) -> list[int]:
    """The newest activities that this database has made, since this time, and that lists must show by now."""
    settled = context.clock() - context.options.settle_delay
    known = Gist.objects.filter(pushed_at__lte=settled)
    if since:
        known = known.filter(push_started_at__gte=since)
    return list(known.activity_ids()[:MAX_LOOKUPS])


@retried
def known_ids(activity_ids: list[int]) -> set[int]:
    """Those of these activities that belong to gists."""
    known: set[int] = set()
    for start in range(0, len(activity_ids), 500):
        rows = Gist.objects.filter(pipedrive_activity_id__in=activity_ids[start : start + 500])
        known.update(rows.activity_ids())
    return known
