"""One person's gists -> Pipedrive activities: each exactly one, whatever is cut off or killed on the way.

    pending -> started -> pushed | rejected | pending again

`started` is committed before the POST, so whoever finds a gist so knows that Pipedrive may have its activity, and
asks before sending another.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, QuerySet

from people.models import Gist, Person
from sync.activities import gist_of, new_activity
from sync.claims import Claims, Clock
from sync.errors import (
    ApiEndedError,
    LeaseLostError,
    LimitedError,
    NotSentError,
    RefusedError,
    RunStoppedError,
    UnclearError,
)
from sync.link import CLOCK_DIFFERENCE, link
from sync.pipedrive import Activity, PipedriveClient
from sync.steps import Steps, remote

SEND_WITHIN = 60.0  # seconds from "started" to the POST; a process that slept longer must not send it any more
AT_A_TIME = 50  # gists read from the database at once
TRIES = 3  # for a POST that the limits refused
State = Gist.PushState


@dataclass(frozen=True)
class Push:
    """What all pushes of a run share."""

    pipedrive: PipedriveClient
    claims: Claims
    clock: Clock
    settle: timedelta  # from a cut-off until Pipedrive's lists are sure to show what it did
    activity_type: str
    activity_done: bool
    counts: Counter[str]
    stop: Callable[[], None]  # raises when the run is to end

    def person(self, person: Person) -> Steps[None]:
        """Link the person, find out about cut-off pushes, then push what is pending, oldest first."""
        pipedrive_id = yield from link(person, self.pipedrive, self.claims, self.clock, self.settle)
        if person.pipedrive_compared_at is None:
            yield from self._compare(person, pipedrive_id)
        yield from self._reconcile(person, pipedrive_id)
        last = 0
        while gists := list(self._gists(person, State.PENDING).filter(pk__gt=last)[:AT_A_TIME]):
            for gist in gists:
                self.stop()
                yield from self._gist(gist, pipedrive_id)
                last = gist.pk

    def _gists(self, person: Person, *states: State) -> QuerySet[Gist]:
        return Gist.objects.filter(person=person, push_state__in=states).order_by("pk")

    def _gist(self, gist: Gist, pipedrive_id: int) -> Steps[None]:
        activity = new_activity(gist, type=self.activity_type, done=self.activity_done)
        for attempt in range(TRIES):
            started = self._start(gist)
            try:
                activity_id = yield from remote(
                    self.pipedrive.create_activity, pipedrive_id, activity, not_after=time.monotonic() + SEND_WITHIN
                )
            except UnclearError as error:
                self._settle(gist, started, push_error=str(error)[:500])  # It stays started; see _reconcile.
                self.counts["gists_unclear"] += 1
                return
            except RefusedError as error:
                self._settle(gist, started, push_state=State.REJECTED, push_error=str(error)[:500])
                self.counts["gists_rejected"] += 1
                return
            except (LimitedError, NotSentError, ApiEndedError, RunStoppedError) as error:
                # Nothing was done at Pipedrive, so this is as pending as before.
                self._settle(gist, started, push_state=State.PENDING, push_error=str(error)[:500])
                if not isinstance(error, LimitedError) or attempt == TRIES - 1:
                    raise
            else:
                self._settle(gist, started, **self._pushed(activity_id))
                self.counts["gists_pushed"] += 1
                return

    def _start(self, gist: Gist) -> datetime:
        """Say that the POST may be sent from now on. Only the lease's holder may."""
        now = self.clock()
        with self.claims.holding([gist.person_id]) as held:
            started = Gist.objects.filter(pk=gist.pk, push_state=State.PENDING, person__in=held).update(
                push_state=State.STARTED, push_started_at=now, push_attempts=F("push_attempts") + 1, push_error=""
            )
        if not started:
            raise LeaseLostError(f"gist {gist.github_id} was taken over or deleted")
        return now

    def _settle(self, gist: Gist, started: datetime, **columns: object) -> None:
        """Record what became of the attempt that began at `started`.

        True whoever holds the lease by now, and about this attempt only; a deleted gist has nothing to record.
        """
        Gist.objects.filter(pk=gist.pk, push_state=State.STARTED, push_started_at=started).update(**columns)

    def _pushed(self, activity_id: int) -> dict[str, object]:
        now = self.clock()
        return {
            "push_state": State.PUSHED,
            "pipedrive_activity_id": activity_id,
            "pushed_at": now,
            "updated_at": now,
            "push_error": "",
        }

    def _compare(self, person: Person, pipedrive_id: int) -> Steps[None]:
        """A Pipedrive person that we did not make may have activities of these gists: from before a lost database."""
        there = yield from remote(_activities_by_gist, self.pipedrive.newest_activities(pipedrive_id))
        with self.claims.holding([person.pk]) as held:
            if person.pk not in held:
                raise LeaseLostError(f"{person} was taken over or deleted")
            open_gists = Gist.objects.filter(person=person).exclude(push_state=State.PUSHED)
            for pk, github_id in list(open_gists.values_list("pk", "github_id")):
                if github_id in there:
                    Gist.objects.filter(pk=pk).update(**self._pushed(there[github_id]))
                    self.counts["gists_found"] += 1
            Person.objects.filter(pk=person.pk).update(pipedrive_compared_at=self.clock())

    def _reconcile(self, person: Person, pipedrive_id: int) -> Steps[None]:
        """Find out about POSTs without a clear answer, once Pipedrive had time to settle."""
        settled = self.clock() - self.settle
        unclear = [gist for gist in self._gists(person, State.STARTED) if (gist.push_started_at or settled) <= settled]
        if not unclear:
            return
        oldest = min(gist.push_started_at or settled for gist in unclear) - CLOCK_DIFFERENCE
        there = yield from remote(_activities_by_gist, self.pipedrive.newest_activities(pipedrive_id), oldest)
        with self.claims.holding([person.pk]) as held:
            if person.pk not in held:
                raise LeaseLostError(f"{person} was taken over or deleted")
            for gist in unclear:
                found = there.get(gist.github_id)
                columns = self._pushed(found) if found else {"push_state": State.PENDING}
                Gist.objects.filter(pk=gist.pk, push_state=State.STARTED).update(**columns)
                self.counts["gists_found" if found else "gists_again"] += 1


def _activities_by_gist(activities: Iterable[Activity], since: datetime | None = None) -> dict[str, int]:
    """Activity ids by gist id, of activities newest first; down to `since` if given, the oldest of a gist."""
    found = {}
    for activity in activities:
        if since and activity.add_time and activity.add_time < since:
            break
        found[gist_of(activity.note)] = activity.id
    return found
