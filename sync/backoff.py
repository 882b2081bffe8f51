"""How long a person, or an edit, that failed repeatedly waits for the next attempt."""

from datetime import datetime, timedelta

from django.db.models import Q

from people.models.freshness import MAX_CLOCK_ERROR

MIN_FAILURES_TO_PAUSE = 3  # in a row; before, it is tried again in the next run
FIRST_PAUSE, MAX_PAUSE = timedelta(hours=6), timedelta(days=1)  # doubled with each failure


def next_attempt(failures: int, now: datetime) -> datetime | None:
    """When it is due again after this many failures in a row. None: in the next run."""
    if failures < MIN_FAILURES_TO_PAUSE:
        return None
    doublings = min(failures - MIN_FAILURES_TO_PAUSE, 10)
    return now + min(FIRST_PAUSE * (1 << doublings), MAX_PAUSE)


def is_over(column: str, now: datetime) -> Q:
    """Is the pause over that ends at this column's time? One that is too long is a mistake of a clock."""
    return (
        Q(**{column: None}) | Q(**{f"{column}__lte": now}) | Q(**{f"{column}__gt": now + MAX_PAUSE + MAX_CLOCK_ERROR})
    )
