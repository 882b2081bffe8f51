"""How old a poll, or a gist that waits for its activity, may be."""

from datetime import timedelta

from django.conf import settings

RUN_TIME = timedelta(minutes=30)  # for the run itself


def max_age() -> timedelta:
    """Two intervals of the schedule, and the time of a run: a single missed run is no problem yet."""
    interval: timedelta = settings.SYNC_INTERVAL
    return 2 * interval + RUN_TIME
