"""Find out which gists already have an activity: after a POST with unknown outcome, or a lost database.

That an activity does not exist is concluded only from lists that were read to their end and are believed (see
sync.crm.evidence). For pushes with unknown outcome, activities that were moved to another person, or deleted, are
looked for as well.
"""

import threading
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gisttracker.common.database import retried
from people.models import Gist, KnownActivity, Person
from people.models.gist import pushed_columns
from sync.clients.errors import NotFoundError, RejectedError
from sync.clients.pipedrive_records import Activity
from sync.crm.activity import note
from sync.crm.evidence import ListingEvidence, known_activities, known_ids
from sync.crm.recognition import Fingerprint, fingerprint_of, match_gists, match_ids, shows
from sync.models import PushAttempt
from sync.push.attempts import count_failed_in_a_row, has_succeeded_since, record_found
from sync.push.find_person import MAX_CLOCK_DIFFERENCE
from sync.run.claims import Claims
from sync.run.context import RunContext

MAX_SCANNED = 20_000  # activities of all persons that are looked at for moved ones
MAX_LOOKUPS = 30  # ids between known activities that are requested, because they may be deleted
IDS_AFTER_NEWEST = 10  # that are requested, too: the newest activities may be deleted
MAX_POST_SECONDS = 300  # from "started" until Pipedrive has certainly processed a POST
MAX_ATTEMPTS = 5  # of a gist whose POST never gets a clear response, although others do
DELETED = "The activity was deleted in Pipedrive; it is not created again."
State = Gist.PushState
COUNTERS = {State.PUSHED: "gists_found", State.PENDING: "gists_retried", State.REJECTED: "gists_rejected"}


class Reconciler:
    """Compares our gists with the activities in Pipedrive. Thread-safe."""

    def __init__(self, context: RunContext, claims: Claims, evidence: ListingEvidence) -> None:
        self._context, self._claims, self._evidence = context, claims, evidence
        self._pipedrive, self._summary = context.pipedrive, context.summary
        self._scan_lock = threading.Lock()
        self._scan: list[Fingerprint] = []
        self._scanned_at: datetime | None = None

    def match_existing(self, person: Person, pipedrive_id: int) -> None:
        """A Pipedrive person that we did not create may have activities of these gists, from a lost database."""
        count = self._evidence.count_activities(pipedrive_id)
        listed = self._list_activities(pipedrive_id)
        ids = _ids_of(listed)
        self._evidence.check_person(pipedrive_id, ids, _newest_known_of(person, pipedrive_id, None, ids))
        self._evidence.check_count(count, ids, lambda: _ids_of(self._list_activities(pipedrive_id)))
        matched = self._store_matches(person, listed)
        self._summary.add({"gists_found": matched})

    @retried
    def _store_matches(self, person: Person, listed: list[Fingerprint]) -> int:
        now = self._context.clock()
        with self._claims.lock_linked(person):
            gists = list(Gist.objects.filter(person=person).exclude(push_state=State.PUSHED).order_by("pk"))
            matched = match_gists(gists, _without_known(listed))
            for gist in gists:
                if gist.pk in matched:
                    columns = pushed_columns(matched[gist.pk], now)
                    columns["activity_outdated"] = not _is_current(gist, matched[gist.pk], listed)
                    Gist.objects.filter(pk=gist.pk).update(**columns, pipedrive_person_id=person.pipedrive_id)
            found = [gist.github_id for gist in gists if gist.pk in matched]
            KnownActivity.objects.drop(KnownActivity.objects.find(found).values())
            Person.objects.filter(pk=person.pk).update(pipedrive_matched_at=now)
        person.pipedrive_matched_at = now
        return len(matched)

    def resolve_unknown(self, person: Person, pipedrive_id: int, started: list[Gist]) -> None:
        """Look for the activities of started gists, after the settle delay.

        The gists become pushed, pending again, or rejected if they never get a clear response.
        """
        settled = self._context.clock() - self._context.options.settle_delay
        unknown: dict[int, list[Gist]] = {}
        for gist in started:
            if (gist.push_started_at or settled) <= settled:
                unknown.setdefault(gist.pipedrive_person_id or pipedrive_id, []).append(gist)
        for filed_under, gists in unknown.items():
            self._resolve(person, filed_under, gists)

    def _resolve(self, person: Person, filed_under: int, gists: list[Gist]) -> None:
        since = min(gist.push_started_at or self._context.clock() for gist in gists) - MAX_CLOCK_DIFFERENCE
        listed = self._list_recent(person, filed_under, since)
        found = self._describe(gists, match_gists(gists, _without_known(listed)), listed)
        if missing := _without(gists, found):
            scanned = self._scan_all(since)
            found |= self._describe(missing, match_ids(missing, _without_known(scanned)), scanned)
            listed += scanned
        if missing := _without(gists, found):
            found |= self._find_unlisted(missing, _ids_of(listed))
        self._store_outcomes(person, gists, found)

    def _describe(self, gists: list[Gist], ids: dict[int, int], listed: list[Fingerprint]) -> "dict[int, _Found]":
        with_text = {fingerprint.activity_id for fingerprint in listed if fingerprint.text}
        found = {}
        for gist in gists:
            if number := ids.get(gist.pk):
                is_current = (
                    _is_current(gist, number, listed)
                    if number in with_text
                    else is_current_at_pipedrive(self._context, gist, number)
                )
                found[gist.pk] = _Found(number, is_current)
        return found

    @retried
    def _store_outcomes(self, person: Person, gists: list[Gist], found: "dict[int, _Found]") -> None:
        now = self._context.clock()
        counts: Counter[str] = Counter()
        rejected: list[Gist] = []
        with self._claims.lock_linked(person):
            for gist in gists:
                activity = found.get(gist.pk)
                columns = activity.columns(now) if activity else self._columns_of_missing(gist)
                counts[COUNTERS[columns["push_state"]]] += 1
                rejected += [gist] if columns["push_state"] == State.REJECTED else []
                if Gist.objects.filter(pk=gist.pk, push_state=State.STARTED).update(**columns) and activity:
                    record_found(gist, activity.id, now)
        self._summary.add(counts)
        for gist in rejected:
            self._summary.record("gist", failed=1)
            self._summary.problem("It was rejected after several attempts.", person=person, gist=gist)

    @staticmethod
    def _columns_of_missing(gist: Gist) -> dict[str, Any]:
        """Pending again; rejected after several attempts, if other activities have been created since."""
        attempts = count_failed_in_a_row(gist, PushAttempt.Kind.CREATE)
        if attempts < MAX_ATTEMPTS or not has_succeeded_since(gist.push_started_at):
            return {"push_state": State.PENDING}
        error = f"Pipedrive gave no clear response to {attempts} attempts, and did not create it. {gist.push_error}"
        return {"push_state": State.REJECTED, "push_error": error[:500]}

    # --- lists ---
    def _list_activities(self, pipedrive_id: int, since: datetime | None = None) -> list[Fingerprint]:
        """The activities of a person, newest first, back to `since`."""
        listed = []
        for activity in self._pipedrive.iter_newest_activities(pipedrive_id):
            listed.append(fingerprint_of(activity))
            if since and activity.add_time and activity.add_time < since:
                break
        return listed

    def _list_recent(self, person: Person, pipedrive_id: int, since: datetime) -> list[Fingerprint]:
        """Those of one person since this time. Empty if Pipedrive refuses: then the list of all persons decides."""
        count = self._evidence.count_activities(pipedrive_id)
        try:
            listed = self._list_activities(pipedrive_id, since)
        except RejectedError:
            return []
        ids = _ids_of(listed)
        self._evidence.check_person(pipedrive_id, ids, _newest_known_of(person, pipedrive_id, since, ids))
        is_whole = not listed or not listed[-1].added_at or listed[-1].added_at >= since
        if is_whole:
            self._evidence.check_count(count, ids, lambda: _ids_of(self._list_activities(pipedrive_id, since)))
        return listed

    def _scan_all(self, since: datetime) -> list[Fingerprint]:
        """The activities of all persons updated since; read once a run for all unknown pushes."""
        with self._scan_lock:
            now = self._context.clock()
            delay = self._context.options.settle_delay
            started = Gist.objects.filter(push_state=State.STARTED).order_by("push_started_at")
            settled = started.filter(push_started_at__lte=now - delay)
            # Has the settle delay of a push ended since the list was read?
            if self._scanned_at is None or settled.filter(push_started_at__gt=self._scanned_at - delay).exists():
                moments = started.filter(push_started_at__isnull=False).values_list("push_started_at", flat=True)
                oldest = min(since, (retried(moments.first)() or since) - MAX_CLOCK_DIFFERENCE)
                known = known_activities(self._context, oldest + 2 * MAX_CLOCK_DIFFERENCE)
                self._scan = []
                for number, activity in enumerate(self._pipedrive.iter_last_activities(oldest)):
                    if number >= MAX_SCANNED:
                        break
                    self._scan.append(fingerprint_of(activity, with_text=False))
                else:
                    self._evidence.check_all(_ids_of(self._scan), known)
                self._scanned_at = now
            return self._scan

    # --- activities that no list contains ---
    def _find_unlisted(self, gists: list[Gist], listed: set[int]) -> "dict[int, _Found]":
        """Ids grow with time, so the activity of an unknown push lies between those created before and after it.

        The ids in between that no list contains are requested, if there are few.
        """
        first, last = _range_of_ids(gists, listed)
        ids = set(range(max(first, last - 10 * MAX_LOOKUPS), last + 1)) - listed
        ids -= known_ids(sorted(ids))
        if len(ids) > MAX_LOOKUPS:
            return {}
        activities = [activity for number in sorted(ids) if (activity := self._get_activity(number))]
        deleted = {activity.id for activity in activities if activity.is_deleted}
        fingerprints = [fingerprint_of(activity) for activity in activities]
        matched = match_gists(gists, fingerprints)
        return {
            gist.pk: _Found(number, _is_current(gist, number, fingerprints), is_deleted=number in deleted)
            for gist in gists
            if (number := matched.get(gist.pk))
        }

    def _get_activity(self, activity_id: int) -> Activity | None:
        try:
            return self._pipedrive.get_activity(activity_id)
        except RejectedError:
            return None


@dataclass(frozen=True)
class _Found:
    id: int
    is_current: bool = True  # It shows the gist as it was read.
    is_deleted: bool = False

    def columns(self, now: datetime) -> dict[str, Any]:
        columns = pushed_columns(self.id, now)
        if self.is_deleted:
            return columns | {"push_error": DELETED}
        # If it is current, the column stays as it is: a poll may have stored an edit meanwhile.
        return columns if self.is_current else columns | {"activity_outdated": True}


def is_current_at_pipedrive(context: RunContext, gist: Gist, activity_id: int) -> bool:
    """Does the activity show the gist as it is now?"""
    try:
        return shows(context.pipedrive.get_activity(activity_id), note(gist))
    except NotFoundError:
        return True  # There is nothing to update.


def _without(gists: list[Gist], found: "dict[int, _Found]") -> list[Gist]:
    return [gist for gist in gists if gist.pk not in found]


def _ids_of(listed: list[Fingerprint]) -> set[int]:
    return {fingerprint.activity_id for fingerprint in listed}


def _is_current(gist: Gist, activity_id: int, listed: list[Fingerprint]) -> bool:
    texts = [fingerprint.text for fingerprint in listed if fingerprint.activity_id == activity_id]
    return any(shows(Activity(activity_id, note=text), note(gist)) for text in texts)


def _without_known(listed: list[Fingerprint]) -> list[Fingerprint]:
    """Without the activities of gists that are pushed already."""
    known = known_ids([fingerprint.activity_id for fingerprint in listed])
    return [fingerprint for fingerprint in listed if fingerprint.activity_id not in known]


@retried
def _newest_known_of(person: Person, pipedrive_id: int, since: datetime | None, listed: set[int]) -> int | None:
    """The newest activity that was filed under this Pipedrive person since then, if it is not listed."""
    pushed = Gist.objects.filter(person=person, push_state=State.PUSHED, pipedrive_person_id=pipedrive_id)
    if since:
        pushed = pushed.filter(push_started_at__gte=since + 2 * MAX_CLOCK_DIFFERENCE)
    newest = pushed.activity_ids().first()
    return newest if newest and newest not in listed else None


@retried
def _range_of_ids(gists: list[Gist], listed: set[int]) -> tuple[int, int]:
    """The first and the last id that an activity of these gists can have."""
    started = [gist.push_started_at for gist in gists if gist.push_started_at]
    newest_before = Gist.objects.filter(pushed_at__lte=min(started)).activity_ids().first() or 0
    later = Gist.objects.filter(push_started_at__gte=max(started) + timedelta(seconds=MAX_POST_SECONDS))
    oldest_after = later.filter(pipedrive_activity_id__gt=newest_before).activity_ids().last()
    last = oldest_after - 1 if oldest_after else max([newest_before, *listed]) + IDS_AFTER_NEWEST
    return newest_before + 1, last
