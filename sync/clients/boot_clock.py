"""A clock for deadlines and leases."""

import time


def boot_clock() -> float:
    """Seconds of a clock that continues while the machine sleeps, unlike time.monotonic() on Linux."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
