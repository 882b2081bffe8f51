"""Notice that the database is older than what it has made, as after a restored backup, before anything is pushed.

Once a run, the newest activities of Pipedrive are read back to the newest one that the database knows. An activity of a
gist that the database would push again shows that the database was restored. Such activities are kept as KnownActivity
until their gist is stored, whichever person they are filed under, and the activities of all people are compared again.
"""

import threading
from dataclasses import dataclass, field

from django.utils.translation import ngettext

from gisttracker.common.database import retried
from people.models import Gist, KnownActivity, Person
from people.tracking import compare_again
from sync.crm.evidence import ListingEvidence, known_activities
from sync.crm.recognition import page_of_gist_in
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
    oldest: int = 0  # the id at which reading ended; 0 if the list was read to its end
    has_too_many: bool = False


class RestoreCheck:
    """The check of one run. Thread-safe."""

    def __init__(self, context: RunContext, evidence: ListingEvidence) -> None:
        self._context, self._evidence = context, evidence
        self._lock = threading.Lock()
        self.is_done = False
        self.has_compared = False  # Were all people marked to be compared in this run?
        self._has_known = False

    def check(self) -> None:
        """Once a run. Raises what the client raises; then nothing may be pushed, and the next call tries again."""
        with self._lock:  # The other threads wait for the result.
            if self.is_done:
                return
            newest_known = _find_newest_known()
            known = known_activities(self._context)  # Read first: others may push while the list is read.
            read = self._read_newer(newest_known)
            self._evidence.check_all(read.ids, [number for number in known if number >= read.oldest])
            unknown = _find_unknown(read)
            if unknown or read.has_too_many:
                retried(compare_again)(Person.objects.all())  # Before the rows that show how new the database is.
                self.has_compared = True
                retried(KnownActivity.objects.store)(unknown)
                if newest_known:
                    gists = ngettext("%d gist", "%d gists", len(unknown)) % len(unknown)
                    what = f"more than {MAX_ACTIVITIES} activities" if read.has_too_many else f"activities of {gists}"
                    self._context.summary.problem(
                        f"Pipedrive has {what} that this database has not pushed (a restored backup?): all people are "
                        "compared with Pipedrive before they are pushed."
                    )
            self._has_known = retried(KnownActivity.objects.exists)()
            self.is_done = True

    def match(self, person: Person, gists: list[Gist], claims: Claims) -> None:
        """Those of these pending gists that have an activity become pushed."""
        if not self._has_known:
            return
        known = retried(KnownActivity.objects.find)([gist.github_id for gist in gists])
        for gist in gists:
            row = known.get(gist.github_id)
            if row and row.activity_id and gist.push_state == State.PENDING:
                claims.update_gist(person, gist, **row.gist_columns(gist, self._context.clock()))
                gist.push_state = State.PUSHED
                self._context.summary.count("gists_found")
                retried(row.delete)()

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
        return read


@retried
def _find_newest_known() -> int:
    """The newest activity that this database knows; 0 if it knows none."""
    known = KnownActivity.objects.filter(activity_id__isnull=False).order_by("-activity_id")
    newest = known.values_list("activity_id", flat=True).first()
    return max(Gist.objects.all().activity_ids().first() or 0, newest or 0)


@retried
def _find_unknown(read: _Read) -> dict[str, int]:
    """The activities of gists that are not pushed, nor just being pushed by another run, by the gist's id.

    Those of gists that were deleted while their POST was sent are its outcome.
    """
    known = Gist.objects.filter(push_state__in=[State.PUSHED, State.STARTED], github_id__in=list(read.found))
    unknown = read.found.keys() - set(known.values_list("github_id", flat=True))
    deleted = KnownActivity.objects.find(unknown)
    for gist_id, row in deleted.items():
        KnownActivity.objects.filter(pk=row.pk, activity_id=None).settle(read.found[gist_id])
    return {gist_id: read.found[gist_id] for gist_id in unknown - deleted.keys()}
