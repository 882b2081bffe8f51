"""Notice that the database is older than what it has made, as after a restored backup, before anything is pushed.

Once a run, the newest activities of Pipedrive are read back to the newest one that the database knows. An activity of a
gist that the database would push again shows that the database was restored. Such activities are kept in a table until
their gist is stored, whichever person they are filed under, and the activities of all people are compared again.
"""

import logging
import threading

from django.db.models import Max
from django.utils.translation import ngettext

from gisttracker.database import retried
from people.models import Gist, Person
from sync.activity import page_of_gist_in
from sync.claims import Claims
from sync.context import RunContext
from sync.models import FoundActivity
from sync.reconcile import pushed_columns

log = logging.getLogger(__name__)
MAX_ACTIVITIES_IF_EMPTY = 5000  # looked at if the database has pushed nothing yet: there may be millions of others
State = Gist.PushState


class RestoreCheck:
    """The check of one run. Thread-safe."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._is_done = False
        self._has_found = False

    def check(self) -> None:
        """Once a run. Raises what the client raises; then nothing may be pushed, and the next call tries again."""
        with self._lock:  # The other threads wait for the result.
            if self._is_done:
                return
            newest_known = _get_newest_known_id()
            unknown = _without_pushed(self._get_newer_activities(newest_known))
            if unknown:
                _store(unknown)
                if newest_known:
                    gists = ngettext("%d gist", "%d gists", len(unknown)) % len(unknown)
                    self._context.summary.problem(
                        f"Pipedrive has activities of {gists} that this database has not pushed (a restored backup, or "
                        "people who were deleted here): all people are compared with Pipedrive before they are pushed."
                    )
            self._has_found = FoundActivity.objects.exists()
            self._is_done = True

    def match(self, person: Person, gists: list[Gist], claims: Claims) -> None:
        """Those of these pending gists that have an activity become pushed."""
        if not self._has_found:
            return
        found = dict(
            FoundActivity.objects.filter(gist_id__in=[gist.github_id for gist in gists]).values_list(
                "gist_id", "activity_id"
            )
        )
        for gist in gists:
            if gist.github_id in found and gist.push_state == State.PENDING:
                claims.update_gist(person, gist, **pushed_columns(found[gist.github_id], self._context.clock()))
                gist.push_state = State.PUSHED
                self._context.summary.count("gists_found")
                FoundActivity.objects.filter(gist_id=gist.github_id).delete()

    def _get_newer_activities(self, newest_known: int) -> dict[str, int]:
        """Activity ids by gist id, of activities that are newer than this one."""
        found = {}
        for number, activity in enumerate(self._context.pipedrive.iter_last_activities()):
            if activity.id <= newest_known or (not newest_known and number >= MAX_ACTIVITIES_IF_EMPTY):
                break
            gist_id = page_of_gist_in(activity.note)
            if gist_id:
                found[gist_id] = activity.id
        return found


@retried
def _get_newest_known_id() -> int:
    pushed: int | None = Gist.objects.aggregate(newest=Max("pipedrive_activity_id"))["newest"]
    found: int | None = FoundActivity.objects.aggregate(newest=Max("activity_id"))["newest"]
    return max(pushed or 0, found or 0)


@retried
def _without_pushed(activities: dict[str, int]) -> dict[str, int]:
    """Without those of gists that are pushed, or just being pushed by another run."""
    states = [State.PUSHED, State.STARTED]
    known = Gist.objects.filter(push_state__in=states, github_id__in=list(activities))
    return {
        gist_id: activities[gist_id] for gist_id in activities.keys() - set(known.values_list("github_id", flat=True))
    }


@retried
def _store(unknown: dict[str, int]) -> None:
    rows = [FoundActivity(gist_id=gist_id, activity_id=activity_id) for gist_id, activity_id in unknown.items()]
    FoundActivity.objects.bulk_create(rows, batch_size=1000, ignore_conflicts=True)
    Person.objects.compare_again()
