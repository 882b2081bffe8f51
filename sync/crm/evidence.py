"""What this database knows of the activities in Pipedrive: what lists must show, and what is matched already."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Max, QuerySet

from people.models import Gist, KnownActivity, Person
from sync.crm.lists import MAX_KNOWN
from sync.crm.recognition import Fingerprint
from sync.models import PushAttempt

MAX_CLOCK_DIFFERENCE = timedelta(hours=1)  # between Pipedrive's clock and ours
MAX_NEWEST = 50  # activities, of which some must have settled
MAX_LOOKUPS = 30  # ids between known activities that are requested, because they may be deleted
IDS_AFTER_NEWEST = 10  # that are requested, too: the newest activities may be deleted
MAX_POST_SECONDS = 300  # from "started" until Pipedrive has certainly processed a POST
State = Gist.PushState


def settled_before(now: datetime) -> datetime:
    """POSTs that left before this moment are shown by Pipedrive's lists now, if they were processed."""
    return now - timedelta(seconds=settings.SETTLE_SECONDS)


def known_activities(now: datetime, since: datetime | None = None) -> list[int]:
    """The newest activities that this database has made, since this time, and that lists must show by now."""
    known = Gist.objects.filter(pushed_at__lte=settled_before(now))
    if since:
        known = known.filter(push_started_at__gte=since)
    return list(known.activity_ids()[:MAX_KNOWN])


@dataclass(frozen=True)
class NewestActivities:
    """What this database knows of the newest activities. `found` is the newest of gists that are not stored, or 0.

    `newest`: the newest of all, or 0; `settled`: some that lists must show by now.
    """

    newest: int
    found: int
    settled: tuple[int, ...]


def read_newest_activities(now: datetime) -> NewestActivities:
    rows = list(Gist.objects.all().activity_ids().values_list("pipedrive_activity_id", "pushed_at")[:MAX_NEWEST])
    known = KnownActivity.objects.filter(activity_id__isnull=False).order_by("-activity_id")
    found = known.values_list("activity_id", flat=True).first() or 0
    settled = [number for number, pushed_at in rows if number and pushed_at and pushed_at <= settled_before(now)]
    return NewestActivities(max([found, *(number or 0 for number, _ in rows[:1])]), found, tuple(settled[:MAX_KNOWN]))


def known_of_person(person: Person, since: datetime | None = None, filed_under: int | None = None) -> int | None:
    """The newest activity that was filed under this Pipedrive person, or the person's own, since then."""
    pipedrive_id = filed_under or person.pipedrive_id
    pushed = Gist.objects.filter(person=person, push_state=State.PUSHED, pipedrive_person_id=pipedrive_id)
    if since:
        pushed = pushed.filter(push_started_at__gte=since + 2 * MAX_CLOCK_DIFFERENCE)
    return pushed.activity_ids().first()


def known_ids(activity_ids: Collection[int]) -> set[int]:
    """Those of these activities that belong to gists."""
    known: set[int] = set()
    ids = list(activity_ids)
    for start in range(0, len(ids), 500):
        known.update(Gist.objects.filter(pipedrive_activity_id__in=ids[start : start + 500]).activity_ids())
    return known


def without_known(listed: Iterable[Fingerprint]) -> list[Fingerprint]:
    """Without the activities of gists that are pushed already."""
    listed = list(listed)
    known = known_ids([fingerprint.activity_id for fingerprint in listed])
    return [fingerprint for fingerprint in listed if fingerprint.activity_id not in known]


def created_by_attempts() -> QuerySet[PushAttempt]:
    return PushAttempt.objects.filter(kind=PushAttempt.Kind.CREATE, activity_id__isnull=False)


def _find_begin(gists: Collection[Gist]) -> datetime:
    """When the first of these POSTs was begun, or was to be begun if the run died."""
    attempts = PushAttempt.objects.filter(gist__in=[gist.pk for gist in gists], outcome=PushAttempt.Outcome.UNKNOWN)
    last = dict(attempts.order_by().values_list("gist").annotate(Max("attempted_at")))
    margin = timedelta(seconds=settings.SEND_SECONDS)
    moments = [(gist.push_started_at - margin, last.get(gist.pk)) for gist in gists if gist.push_started_at]
    return min(max(written, attempted or written) for written, attempted in moments)


def unlisted_ids(gists: Collection[Gist], listed: set[int]) -> set[int]:
    """The ids that no list contains and that the activities of these started gists may have. Empty if they are many.

    Ids grow with time, so the activity of an unknown push lies between those created before and after it.
    """
    started = [gist.push_started_at for gist in gists if gist.push_started_at]
    if not started:
        return set()
    begun = _find_begin(gists)
    newest_before = Gist.objects.filter(pushed_at__lte=begun).activity_ids().first() or 0
    # What was undone or deleted here since has an attempt, or nothing.
    ended = created_by_attempts().filter(attempted_at__lte=begun - timedelta(seconds=MAX_POST_SECONDS))
    newest_before = max(newest_before, ended.aggregate(newest=Max("activity_id"))["newest"] or 0)
    later = Gist.objects.filter(push_started_at__gte=max(started) + timedelta(seconds=MAX_POST_SECONDS))
    oldest_after = later.filter(pipedrive_activity_id__gt=newest_before).activity_ids().last()
    last = oldest_after - 1 if oldest_after else max([newest_before, *listed]) + IDS_AFTER_NEWEST
    ids = set(range(max(newest_before + 1, last - 10 * MAX_LOOKUPS), last + 1)) - listed
    ids -= known_ids(ids)
    return ids if len(ids) <= MAX_LOOKUPS else set()
