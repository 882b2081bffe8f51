"""How old a poll, or a gist that waits for its activity, may be."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Min, Q

RUN_TIME = timedelta(minutes=30)  # for the run itself
MAX_CLOCK_ERROR = timedelta(minutes=1)  # A time that is further in the future is wrong.


def max_age() -> timedelta:
    """Two intervals of the schedule, and the time of a run: a single missed run is no problem yet."""
    interval: timedelta = settings.SYNC_INTERVAL
    return 2 * interval + RUN_TIME


def set_up_at() -> datetime:
    """When the database was set up: the schedule's first run is expected within an interval from then."""
    first: datetime = MigrationRecorder.Migration.objects.aggregate(first=Min("applied"))["first"]
    return first


def is_stale(now: datetime, age: timedelta) -> Q:
    """People who were not polled for so long, since they were added or resumed.

    A time in the future is wrong, and counts as old.
    """
    oldest = now - age
    is_old = Q(polled_at__lt=oldest) | Q(polled_at__gt=now + MAX_CLOCK_ERROR) | Q(polled_at=None, created_at__lt=oldest)
    is_settled = Q(state_changed_at=None) | Q(state_changed_at__lt=oldest)
    return is_old & (is_settled | Q(state_changed_at__gt=now + MAX_CLOCK_ERROR))
