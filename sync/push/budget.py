"""How many more activities may be created: by this run, and today by all runs together."""

from datetime import UTC, datetime, time, timedelta

from django.db.models import F

from people.models import Gist
from sync.clients.errors import CapReachedError
from sync.models import ApiState

API = "Pipedrive"


class Budget:
    """Activities are booked in the transaction that writes their gists as started. 0 means unlimited."""

    def __init__(self, *, per_run: int = 0, per_day: int = 0) -> None:
        self._per_run, self._per_day = per_run, per_day
        self.booked = 0  # in this run; kept by the caller, after its commits

    def book(self, wanted: int, booked: int, now: datetime) -> int:
        """Book up to this many, after `booked` of this run. Returns how many; CapReachedError if none is left."""
        if self._per_run:
            wanted = min(wanted, self._per_run - booked)
            if wanted <= 0:
                raise CapReachedError(f"Pipedrive: the limit of --max-activities ({self._per_run}) is reached")
        return self._book_today(wanted, now) if self._per_day else wanted

    def _book_today(self, wanted: int, now: datetime) -> int:
        midnight = datetime.combine(now.date(), time(), UTC)
        state, _ = ApiState.objects.get_or_create(api=API)
        if state.activity_day is None or not now.date() <= state.activity_day <= now.date() + timedelta(days=1):
            # Count what was created today before there was a limit.
            state.activity_day, state.activity_count = (
                now.date(),
                Gist.objects.filter(push_started_at__gte=midnight).count(),
            )
        wanted = min(wanted, self._per_day - state.activity_count)
        if wanted <= 0:
            tomorrow = midnight + timedelta(days=1)
            raise CapReachedError(
                f"Pipedrive: the limit of PIPEDRIVE_DAILY_ACTIVITIES ({self._per_day}) is reached for today; "
                f"the next activities are created after {tomorrow:%Y-%m-%d %H:%M} UTC",
                tomorrow,
            )
        count = state.activity_count + wanted
        ApiState.objects.filter(pk=state.pk).update(activity_day=state.activity_day, activity_count=count)
        return wanted

    def cancel(self, number: int) -> None:
        """Undo these bookings: the activities were certainly not created."""
        if self._per_day and number:
            booked = ApiState.objects.filter(api=API, activity_count__gte=number)
            booked.update(activity_count=F("activity_count") - number)
