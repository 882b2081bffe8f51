"""When an API may be asked again: its pace, and the pauses it told us to make."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

MAX_WAIT = 30.0  # seconds; a longer pause ends the API's part of the run


@dataclass(frozen=True)
class Pause:
    """Seconds to keep away. `refused`: the answer itself was the refusal, its request was not done."""

    seconds: float
    refused: bool
    why: str


class Limits:
    """The pace towards one API, shared by all threads of a run. Times are those of a monotonic clock."""

    def __init__(self, *, per_minute: int = 0, now: Callable[[], float] = time.monotonic) -> None:
        self._interval = 60 / per_minute if per_minute else 0.0
        self._now = now
        self._lock = threading.Lock()
        self._next_slot = 0.0
        self._paused_until = 0.0
        self.why = ""
        self.runs = 1  # how many runs share the pace

    def reserve(self) -> float:
        """Book the next request; the seconds to wait before it. Nothing is booked when that is too long a wait."""
        with self._lock:
            now = self._now()
            slot = max(now, self._next_slot, self._paused_until)
            if slot - now <= MAX_WAIT:
                self._next_slot = slot + self._interval * self.runs
            return slot - now

    def pause(self, pause: Pause) -> None:
        """No request before these seconds are over."""
        with self._lock:
            until = self._now() + pause.seconds
            if until > self._paused_until:
                self._paused_until, self.why = until, pause.why


def header_number(headers: Mapping[str, str], name: str) -> float | None:
    """A header that is to hold a number; None when it is missing or something else."""
    try:
        return max(float(headers[name]), 0.0)
    except (KeyError, ValueError):
        return None


def server_time(headers: Mapping[str, str]) -> float:
    """The server's clock in epoch seconds, so that an error of ours does not shift its reset times."""
    try:
        return parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return time.time()
