"""Absence and refusal are not facts: what one run has seen is believed when a later run sees it again.

A suspicion is a row. It is believed after at least an hour, and never while more than a few rows have the same one:
then it is an outage, or a mistake of ours, and nothing changes. The step that has seen it has also seen that the API
tells the truth about something that exists.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db.models import Q

from people.models import Gist, Person
from sync.few import is_few
from sync.models import PushAttempt, Suspicion

MIN_AGE = timedelta(hours=1)
Kind = Suspicion.Kind
OF_ACCOUNT = (Kind.GONE, Kind.CONFLICT)


class Suspicions:
    """The suspicions, for one run. To be called in the transaction in which what follows from them is written."""

    def __init__(self, run_id: int) -> None:
        self._run_id = run_id
        self._may_exist: bool | None = None  # None: not read yet

    def see(self, kind: Kind, person_id: int, reason: str, now: datetime, *, gist_id: int | None = None) -> bool:
        """Store that this run has seen it. Returns whether it is believed now; then it is no suspicion any more."""
        self._may_exist = True
        reason = reason[:500]
        row = Suspicion.objects.filter(Q(gist=gist_id) if gist_id else Q(), kind=kind, person_id=person_id).first()
        if row is None or row.reason != reason:  # For another reason it is another suspicion.
            row = row or Suspicion(kind=kind, person_id=person_id, gist_id=gist_id)
            row.since, row.reason, row.runs, row.run_id = now, reason, 1, self._run_id
            row.save()
            return False
        if row.run_id != self._run_id:
            row.runs += 1
            row.run_id = self._run_id
            row.save(update_fields=["runs", "run_id"])
        is_believed = row.runs > 1 and row.since <= now - MIN_AGE and self.are_few(kind, reason)
        if is_believed:
            self.drop(OF_ACCOUNT if kind in OF_ACCOUNT else [kind], people=[] if gist_id else [person_id])
            self.drop([kind], gists=[gist_id] if gist_id else [])
        return is_believed

    def are_few(self, kind: Kind, reason: str = "") -> bool:
        """May the rows with this suspicion have reasons of their own?"""
        if kind != Kind.REFUSED:
            tracked = Person.objects.filter(state__in=[Person.State.NEW, Person.State.ACTIVE])
            return is_few(Suspicion.objects.filter(kind=kind, person__in=tracked).count(), tracked.count())
        # What was skipped, or has its activity, meanwhile is not refused any more.
        refused = Suspicion.objects.filter(kind=kind, reason=reason, gist__push_state=Gist.PushState.PENDING)
        started = Suspicion.objects.filter(kind=kind, reason=reason, gist__push_state=Gist.PushState.STARTED)
        same = (refused | started).order_by("since")
        count, first = same.count(), same.first()
        created = PushAttempt.objects.filter(kind=PushAttempt.Kind.CREATE, outcome=PushAttempt.Outcome.SUCCEEDED)
        since = created.filter(attempted_at__gte=first.since) if first else created.none()
        return is_few(count, count + since.count())

    def drop(self, kinds: Collection[Kind], *, people: Collection[int] = (), gists: Collection[int] = ()) -> None:
        """The contrary was seen. Without a statement if there are no suspicions."""
        if self._may_exist is None:
            self._may_exist = Suspicion.objects.exists()
        if not self._may_exist:
            return
        if people:
            Suspicion.objects.filter(kind__in=kinds, person__in=people).delete()
        if gists:
            Suspicion.objects.filter(kind__in=kinds, gist__in=gists).delete()
