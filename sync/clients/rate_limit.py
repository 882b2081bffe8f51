"""When the next request to an API may be sent: a window of real send times, and pauses that the API requires."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

MAX_WAIT = 30.0  # seconds; a longer pause ends this API's part of the run
MAX_PAUSE = 24 * 3600.0  # seconds; responses that ask for more are not believed
MAX_NUMBER = 1e12  # more than any count, or time in epoch seconds
GENERAL = "general"  # the window that every request counts in


@dataclass(frozen=True)
class Pause:
    """Seconds without requests. `refused`: the response itself was the refusal; its request was not processed.

    `max_wait`: up to how many seconds the run waits, before it ends this API's part.
    """

    seconds: float
    refused: bool
    reason: str
    max_wait: float = MAX_WAIT


@dataclass
class Hit:
    """A request in the windows that it counts in; `time` is when it was sent, or when it arrived at the latest."""

    time: float


class SlidingWindow:
    """At most `limit` requests in any `period` seconds.

    The times are those of real requests. Sending at an even pace instead would waste every delay.
    """

    def __init__(self, limit: int, period: float) -> None:
        self.limit, self.period = limit, period
        self._hits: deque[Hit] = deque(maxlen=limit)

    def set_limit(self, limit: int) -> None:
        if limit != self.limit:
            self.limit = limit
            self._hits = deque(self._hits, maxlen=limit)

    def resets_in(self, now: float) -> float:
        """Seconds until one more request fits into the window; 0 if it fits now."""
        if len(self._hits) < self.limit:
            return 0.0
        return max(min(hit.time for hit in self._hits) + self.period - now, 0.0)

    def hit(self, hit: Hit) -> None:
        self._hits.append(hit)


class RateLimiter:
    """The pace towards one API, shared by all threads of a run. Times are those of a monotonic clock."""

    def __init__(
        self,
        general: SlidingWindow,
        windows: Mapping[str, SlidingWindow] | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._windows = {GENERAL: general, **(windows or {})}
        self._now = now
        self._lock = threading.Lock()
        self._paused_until = 0.0
        self._fastest: dict[str, float] = {}  # seconds of the fastest request so far, by method
        self.pause_reason = ""
        self.max_wait = MAX_WAIT

    def twin(self) -> "RateLimiter":
        """A limiter whose requests count together with those of this one, and whose pauses are its own."""
        twin = RateLimiter(self._windows[GENERAL], self._windows, now=self._now)
        twin._lock = self._lock
        return twin

    def hit(self, window: str = GENERAL) -> Hit | float:
        """Count a request as sent now, or return the seconds to wait before trying again."""
        with self._lock:
            now = self._now()
            counted = {self._windows[GENERAL], self._windows[window]}
            seconds = max(self._paused_until - now, *(one.resets_in(now) for one in counted))
            if seconds > 0:
                return seconds
            hit = Hit(now)
            for one in counted:
                one.hit(hit)
            return hit

    def finish(self, hit: Hit, method: str) -> None:
        """The response has arrived. A slow request, as the first one of a connection, may have arrived late, too.

        The API counts requests when they arrive. What a request took longer than the fastest one of its method is
        added to the time it was sent at, so that the requests of the next window do not arrive in this one's.
        """
        with self._lock:
            duration = self._now() - hit.time
            fastest = self._fastest[method] = min(self._fastest.get(method, duration), duration)
            hit.time += duration - fastest

    def set_limit(self, window: str, limit: int) -> None:
        with self._lock:
            self._windows[window].set_limit(limit)

    def pause(self, pause: Pause) -> None:
        """Send no request before these seconds are over."""
        with self._lock:
            until = self._now() + min(pause.seconds, MAX_PAUSE)
            if until > self._paused_until:
                self._paused_until, self.pause_reason, self.max_wait = until, pause.reason, pause.max_wait


def parse_number(headers: Mapping[str, str], name: str) -> float | None:
    """The number in a header, clamped to 0..MAX_NUMBER; None when the header is missing or not a number."""
    try:
        number = float(headers[name])
    except (KeyError, ValueError):
        return None
    return None if math.isnan(number) else min(max(number, 0.0), MAX_NUMBER)


def server_time(headers: Mapping[str, str]) -> float:
    """The server's clock in epoch seconds, so that an error of ours does not shift its reset times."""
    try:
        return parsedate_to_datetime(headers["date"]).astimezone(UTC).timestamp()
    except (KeyError, ValueError, TypeError, OverflowError):
        return time.time()
