"""Find out at Pipedrive which gists have their activity already: after a cut-off POST, or after a lost database."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from people.models import Gist, Person
from sync.activity import gist_of
from sync.claims import Claims, Clock
from sync.clients.errors import NotFoundError
from sync.clients.pipedrive import Activity, PipedriveClient
from sync.link import CLOCK_DIFFERENCE, check_held
from sync.steps import Steps, remote

State = Gist.PushState


@dataclass(frozen=True)
class Reconciler:
    """`settle`: from a cut-off until Pipedrive's list is sure to show what it did."""

    pipedrive: PipedriveClient
    claims: Claims
    clock: Clock
    settle: timedelta
    counts: Counter[str]

    def compare(self, person: Person, pipedrive_id: int) -> Steps[None]:
        """A Pipedrive person that we did not make may have activities of these gists: from before a lost database."""
        there = yield from self._activities(pipedrive_id)
        with self.claims.holding([person.pk]) as held:
            check_held(person, held)
            open_gists = Gist.objects.filter(person=person).exclude(push_state=State.PUSHED)
            for pk, github_id in list(open_gists.values_list("pk", "github_id")):
                if github_id in there:
                    Gist.objects.filter(pk=pk).update(**pushed(there[github_id], self.clock()))
                    self.counts["gists_found"] += 1
            Person.objects.filter(pk=person.pk).update(pipedrive_matched_at=self.clock())

    def cut_off(self, person: Person, pipedrive_id: int) -> Steps[None]:
        """Find out about POSTs without a clear answer, once Pipedrive had time to settle."""
        settled = self.clock() - self.settle
        started = Gist.objects.filter(person=person, push_state=State.STARTED)
        unclear: dict[int, list[Gist]] = {}
        for gist in started:
            if (gist.push_started_at or settled) <= settled:
                unclear.setdefault(gist.pipedrive_person_id or pipedrive_id, []).append(gist)
        for filed_under, gists in unclear.items():
            oldest = min(gist.push_started_at or settled for gist in gists) - CLOCK_DIFFERENCE
            there = yield from self._activities(filed_under, oldest)
            with self.claims.holding([person.pk]) as held:
                check_held(person, held)
                for gist in gists:
                    self._decide(gist, there.get(gist.github_id))

    def _decide(self, gist: Gist, found: int | None) -> None:
        columns = pushed(found, self.clock()) if found else {"push_state": State.PENDING}
        Gist.objects.filter(pk=gist.pk, push_state=State.STARTED).update(**columns)
        self.counts["gists_found" if found else "gists_again"] += 1

    def _activities(self, pipedrive_id: int, since: datetime | None = None) -> Steps[dict[str, int]]:
        try:
            return (yield from remote(_by_gist, self.pipedrive.newest_activities(pipedrive_id), since))
        except NotFoundError:
            return {}  # A person that is not there any more has no activities.


def pushed(activity_id: int, now: datetime) -> dict[str, object]:
    """The columns of a gist that has its activity."""
    return {
        "push_state": State.PUSHED,
        "pipedrive_activity_id": activity_id,
        "pushed_at": now,
        "updated_at": now,
        "push_error": "",
    }


def _by_gist(activities: Iterable[Activity], since: datetime | None) -> dict[str, int]:
    """Activity ids by gist id, of activities newest first; down to `since` if given, the oldest of a gist."""
    found = {}
    for activity in activities:
        if since and activity.add_time and activity.add_time < since:
            break
        found[gist_of(activity.note)] = activity.id
    return found
