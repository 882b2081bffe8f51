"""Notice that the database is older than what it has made, as after a restored backup, before anything is pushed.

Once a run, the newest activities of Pipedrive are read back to the newest one that the database knows. An activity of a
gist that the database would push again shows that the database was restored. Such activities are kept in a table until
their gist is stored, whichever person they are filed under, and the activities of all people are compared again.
"""

import threading
from dataclasses import dataclass, field

from django.utils.translation import ngettext

from gisttracker.common.database import retried
from people.models import Gist, Person, Suppressed
from people.models.github_names import login_key
from people.tracking import compare_again
from sync.crm.evidence import ListingEvidence, known_activities
from sync.crm.recognition import owner_of_gist_in, page_of_gist_in
from sync.crm.reconcile import is_current_at_pipedrive, pushed_columns
from sync.models import FoundActivity
from sync.run.claims import Claims
from sync.run.context import RunContext

MAX_ACTIVITIES_IF_EMPTY = 5000  # looked at if the database has pushed nothing yet: there may be millions of others
MAX_ACTIVITIES = 50_000  # looked at otherwise; with more, all people are compared
State = Gist.PushState


@dataclass
class _Read:
    """What was read of the list of all activities, newest first."""

    ids: set[int] = field(default_factory=set)
    found: dict[str, int] = field(default_factory=dict)  # activity ids by gist id, newer than the newest known
    owners: dict[str, str] = field(default_factory=dict)  # the logins in the URLs of these gists; empty if unknown
    oldest: int = 0  # the id at which reading ended; 0 if the list was read to its end
    has_too_many: bool = False


class RestoreCheck:
    """The check of one run. Thread-safe."""

    def __init__(self, context: RunContext, evidence: ListingEvidence) -> None:
        self._context, self._evidence = context, evidence
        self._lock = threading.Lock()
        self.is_done = False
        self.has_compared = False  # Were all people marked to be compared in this run?
        self._has_found = False

    def check(self) -> None:
        """Once a run. Raises what the client raises; then nothing may be pushed, and the next call tries again."""
        with self._lock:  # The other threads wait for the result.
            if self.is_done:
                return
            found = FoundActivity.objects.order_by("-activity_id").values_list("activity_id", flat=True)
            newest_known = max(retried(Gist.objects.all().activity_ids().first)() or 0, retried(found.first)() or 0)
            known = known_activities(self._context)  # Read first: others may push while the list is read.
            read = self._read_newer(newest_known)
            self._evidence.check_all(read.ids, [number for number in known if number >= read.oldest])
            unknown = _find_unknown(read)
            if unknown or read.has_too_many:
                retried(compare_again)(Person.objects.all())  # Before the rows that show how new the database is.
                self.has_compared = True
                rows = [FoundActivity(gist_id=gist_id, activity_id=number) for gist_id, number in unknown.items()]
                retried(FoundActivity.objects.bulk_create)(rows, batch_size=1000, ignore_conflicts=True)
                if newest_known:
                    gists = ngettext("%d gist", "%d gists", len(unknown)) % len(unknown)
                    what = f"more than {MAX_ACTIVITIES} activities" if read.has_too_many else f"activities of {gists}"
                    self._context.summary.problem(
                        f"Pipedrive has {what} that this database has not pushed (a restored backup, or "
                        "people who were deleted here): all people are compared with Pipedrive before they are pushed."
                    )
            self._has_found = retried(FoundActivity.objects.exists)()
            self.is_done = True

    def match(self, person: Person, gists: list[Gist], claims: Claims) -> None:
        """Those of these pending gists that have an activity become pushed."""
        if not self._has_found:
            return
        rows = FoundActivity.objects.filter(gist_id__in=[gist.github_id for gist in gists])
        found = retried(dict)(rows.values_list("gist_id", "activity_id"))
        for gist in gists:
            if gist.github_id in found and gist.push_state == State.PENDING:
                activity_id = found[gist.github_id]
                columns = pushed_columns(activity_id, self._context.clock())
                columns["activity_outdated"] = not is_current_at_pipedrive(self._context, gist, activity_id)
                claims.update_gist(person, gist, **columns)
                gist.push_state = State.PUSHED
                self._context.summary.count("gists_found")
                FoundActivity.objects.filter(gist_id=gist.github_id).delete()

    def _read_newer(self, newest_known: int) -> _Read:
        read = _Read()
        limit = MAX_ACTIVITIES if newest_known else MAX_ACTIVITIES_IF_EMPTY
        for activity in self._context.pipedrive.iter_last_activities():
            read.ids.add(activity.id)
            if activity.id <= newest_known or len(read.ids) > limit:
                read.oldest = activity.id
                read.has_too_many = activity.id > newest_known > 0
                return read
            gist_id = page_of_gist_in(activity.note)
            if gist_id:
                read.found[gist_id] = activity.id
                read.owners[gist_id] = owner_of_gist_in(activity.note)
        return read


@retried
def _find_unknown(read: _Read) -> dict[str, int]:
    """The activities of gists that are not pushed, nor just being pushed by another run, by the gist's id.

    Those of people who were forgotten are left out: nothing about them is stored again.
    """
    known = Gist.objects.filter(push_state__in=[State.PUSHED, State.STARTED], github_id__in=list(read.found))
    unknown = read.found.keys() - set(known.values_list("github_id", flat=True))
    suppressed = Suppressed.objects.find_logins({read.owners[gist_id] for gist_id in unknown if read.owners[gist_id]})
    return {gist_id: read.found[gist_id] for gist_id in unknown if login_key(read.owners[gist_id]) not in suppressed}
