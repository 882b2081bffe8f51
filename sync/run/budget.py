"""How many more activities may be created: by this run, and today by all runs together."""

import threading
from datetime import UTC, date, datetime, time, timedelta

from django.db.models import F, Q

from gisttracker.common.database import retried
from people.models import Gist
from sync.clients.errors import CapReachedError
from sync.models import ApiState
from sync.run.claims import Clock

API = "Pipedrive"


class Budget:
    """Activities are booked before they are created, so that parallel runs cannot exceed a day. 0 means unlimited."""

    def __init__(self, clock: Clock, *, per_run: int = 0, per_day: int = 0) -> None:
        self._clock, self._per_run, self._per_day = clock, per_run, per_day
        self._booked = 0
        self._lock = threading.Lock()
        self._state = ApiState.objects.filter(api=API)

    def book(self) -> None:
        """Book one activity. CapReachedError, with the time of the next reset, when none is left."""
        with self._lock:
            if self._per_run and self._booked >= self._per_run:
                raise CapReachedError(f"Pipedrive: the limit of --max-activities ({self._per_run}) is reached")
            self._booked += 1
        if self._per_day:
            self._book_today()

    def cancel(self) -> None:
        """Undo one booking: the activity was certainly not created."""
        with self._lock:
            self._booked -= 1
        if self._per_day:
            booked = self._state.filter(_is_of(self._clock().date()), activity_count__gt=0)
            retried(booked.update)(activity_count=F("activity_count") - 1)

    @retried
    def _book_today(self) -> None:
        today = self._clock().date()
        midnight = datetime.combine(today, time(), UTC)
        if not self._state.filter(_is_of(today)).exists():  # Count what was created before there was a limit.
            count = Gist.objects.filter(push_started_at__gte=midnight).count()
            ApiState.objects.get_or_create(api=API)
            # Of several runs, one begins the day: for the others, this statement finds no row any more.
            self._state.exclude(_is_of(today)).update(activity_day=today, activity_count=count)
        free = self._state.filter(_is_of(today), activity_count__lt=self._per_day)
        if not free.update(activity_count=F("activity_count") + 1):
            tomorrow = midnight + timedelta(days=1)
            raise CapReachedError(
                f"Pipedrive: the limit of PIPEDRIVE_DAILY_ACTIVITIES ({self._per_day}) is reached for today; "
                f"the next activities are created after {tomorrow:%Y-%m-%d %H:%M} UTC",
                tomorrow,
            )


def _is_of(today: date) -> Q:
    """Another run may have begun tomorrow already, by moments. A day further ahead is a mistake of a clock."""
    return Q(activity_day__range=(today, today + timedelta(days=1)))
