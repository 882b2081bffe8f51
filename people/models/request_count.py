"""The number of API requests of each client, for the rate limits of all web processes together."""

import time

from django.db import connection, models

MAX_CLIENT = 100  # characters


class RequestCount(models.Model):
    """The number of API requests of one client in one minute."""

    client = models.CharField(max_length=MAX_CLIENT, help_text="a consumer, or an address without a valid key")
    minute = models.BigIntegerField(db_index=True, help_text="minutes since 1970")
    count = models.PositiveIntegerField(default=1)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["client", "minute"], name="one_count_a_minute")]

    def __str__(self) -> str:
        return f"{self.client}: {self.count}"

    @classmethod
    def hit(cls, client: str) -> int:
        """Count a request and return the client's count in this minute, in one statement: it precedes every request.

        The first request of a client in a minute also deletes the counts of earlier minutes.
        """
        minute = int(time.time() // 60)
        increment = _increment_mysql if connection.vendor == "mysql" else _increment_sqlite
        count = increment(client[:MAX_CLIENT], minute)
        if count == 1:
            cls.objects.filter(minute__lt=minute - 1).delete()
        return count


def _increment_sqlite(client: str, minute: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO people_requestcount (client, minute, count) VALUES (%s, %s, 1) "
            "ON CONFLICT (client, minute) DO UPDATE SET count = count + 1 RETURNING count",
            [client, minute],
        )
        return int(cursor.fetchone()[0])


def _increment_mysql(client: str, minute: int) -> int:
    """LAST_INSERT_ID(n) makes the new count of an existing row the "insert id" of the statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO people_requestcount (client, minute, count) VALUES (%s, %s, 1) "
            "ON DUPLICATE KEY UPDATE count = LAST_INSERT_ID(count + 1)",
            [client, minute],
        )
        was_inserted = cursor.rowcount == 1  # an updated row counts 2
        return 1 if was_inserted else int(cursor.lastrowid)
