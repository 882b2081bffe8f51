"""Find out which gists already have an activity: after a POST with unknown outcome, or a lost database."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from gisttracker.database import retried
from people.models import Gist, Person
from sync.activity import gist_id_in
from sync.claims import Claims
from sync.clients.errors import NotFoundError
from sync.clients.pipedrive import Activity
from sync.context import RunContext
from sync.link import MAX_CLOCK_DIFFERENCE

State = Gist.PushState


@dataclass(frozen=True)
class Reconciler:
    """Compares our gists with the activities of a Pipedrive person."""

    context: RunContext
    claims: Claims

    def match_existing(self, person: Person, pipedrive_id: int) -> set[int]:
        """A Pipedrive person that we did not create may have activities of these gists, from a lost database.

        Returns the primary keys of the gists that are pushed now.
        """
        matched = self._store_matches(person, self._get_activities(pipedrive_id))
        self.context.summary.add({"gists_found": len(matched)})
        return matched

    @retried
    def _store_matches(self, person: Person, found: dict[str, int]) -> set[int]:
        now = self.context.clock()
        with self.claims.lock_linked(person):
            open_gists = Gist.objects.filter(person=person).exclude(push_state=State.PUSHED)
            matched = {pk: found[key] for pk, key in open_gists.values_list("pk", "github_id") if key in found}
            for pk, activity_id in matched.items():
                Gist.objects.filter(pk=pk).update(**pushed_columns(activity_id, now))
            Person.objects.filter(pk=person.pk).update(pipedrive_matched_at=now)
        person.pipedrive_matched_at = now
        return set(matched)

    def resolve_unknown(self, person: Person, pipedrive_id: int, started: list[Gist]) -> None:
        """Look for the activities of started gists, after the settle delay; the gists become pushed or pending."""
        settle_delay = timedelta(seconds=self.context.options.reconcile_after_seconds)
        settled = self.context.clock() - settle_delay
        unknown: dict[int, list[Gist]] = {}
        for gist in started:
            if (gist.push_started_at or settled) <= settled:
                unknown.setdefault(gist.pipedrive_person_id or pipedrive_id, []).append(gist)
        for filed_under, gists in unknown.items():
            oldest = min(gist.push_started_at or settled for gist in gists) - MAX_CLOCK_DIFFERENCE
            found = self._get_activities(filed_under, oldest)
            self._store_outcomes(person, gists, found)
            for gist in gists:
                gist.push_state = State.PUSHED if gist.github_id in found else State.PENDING
                self.context.summary.count("gists_found" if gist.github_id in found else "gists_retried")

    @retried
    def _store_outcomes(self, person: Person, gists: list[Gist], found: dict[str, int]) -> None:
        now = self.context.clock()
        with self.claims.lock_linked(person):
            for gist in gists:
                activity_id = found.get(gist.github_id)
                columns = pushed_columns(activity_id, now) if activity_id else {"push_state": State.PENDING}
                Gist.objects.filter(pk=gist.pk, push_state=State.STARTED).update(**columns)

    def _get_activities(self, pipedrive_id: int, since: datetime | None = None) -> dict[str, int]:
        try:
            return _by_gist(self.context.pipedrive.iter_newest_activities(pipedrive_id), since)
        except NotFoundError:
            return {}  # A person that does not exist any more has no activities.


def pushed_columns(activity_id: int, now: datetime) -> dict[str, object]:
    """The columns of a gist that has its activity."""
    return {
        "push_state": State.PUSHED,
        "pipedrive_activity_id": activity_id,
        "pushed_at": now,
        "updated_at": now,
        "push_error": "",
    }


def _by_gist(activities: Iterable[Activity], since: datetime | None) -> dict[str, int]:
    """Activity ids by gist id, from activities that come newest first, back to `since`; the oldest of each gist."""
    found = {}
    for activity in activities:
        if since and activity.add_time and activity.add_time < since:
            break
        found[gist_id_in(activity.note)] = activity.id
    return found
