"""The time of a run: the database's, so that machines with different clocks agree."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from django.db import connection

from sync.clients.boot_clock import boot_clock

Clock = Callable[[], datetime]


def database_clock() -> Clock:
    """Returns a clock that shows the database's time: read once, and continued without this machine's time of day."""
    # As text with microseconds, which does not depend on how the driver converts times.
    sql = "STRFTIME('%Y-%m-%d %H:%M:%f', 'NOW')" if connection.vendor == "sqlite" else "CAST(UTC_TIMESTAMP(6) AS CHAR)"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {sql}")  # one of the two constants above
        (text,) = cursor.fetchone()
    now, measured_at = datetime.fromisoformat(text).replace(tzinfo=UTC), boot_clock()
    return lambda: now + timedelta(seconds=boot_clock() - measured_at)
