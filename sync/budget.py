"""How many activities may still be made: by this run, and today by all runs together."""

from datetime import UTC, datetime, time, timedelta

from django.db.models import F

from people.models import Gist
from sync.claims import Clock
from sync.clients.errors import CircuitOpenError
from sync.models import ActivityDay


class Budget:
    """Activities are booked before they are made, so that runs at once cannot overdraw a day. 0 means any number."""

    def __init__(self, clock: Clock, *, per_run: int = 0, per_day: int = 0) -> None:
        self._clock, self._per_run, self._per_day = clock, per_run, per_day
        self._booked = 0

    def book(self) -> None:
        """Book one activity. CircuitOpenError, saying when there will be more, when none is left."""
        if self._per_run and self._booked >= self._per_run:
            raise CircuitOpenError(f"Pipedrive: the {self._per_run} activities of --max-activities are made")
        if self._per_day:
            self._book_today()
        self._booked += 1

    def give_back(self) -> None:
        """What was booked last was certainly not made."""
        self._booked -= 1
        if self._per_day:
            ActivityDay.objects.filter(day=self._clock().date(), count__gt=0).update(count=F("count") - 1)

    def _book_today(self) -> None:
        today = self._clock().date()
        midnight = datetime.combine(today, time(), UTC)
        if not ActivityDay.objects.filter(day=today).exists():  # Count what was made before there was a cap.
            made = Gist.objects.filter(push_started_at__gte=midnight).count()
            ActivityDay.objects.get_or_create(day=today, defaults={"count": made})
        if not ActivityDay.objects.filter(day=today, count__lt=self._per_day).update(count=F("count") + 1):
            raise CircuitOpenError(
                f"Pipedrive: the {self._per_day} activities of PIPEDRIVE_DAILY_ACTIVITIES are made for today; "
                f"it goes on at {midnight + timedelta(days=1):%Y-%m-%d %H:%M} UTC",
                midnight + timedelta(days=1),
            )
