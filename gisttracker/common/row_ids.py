"""The ids that the database gives to new rows, each once: that of a deleted row is not given again."""

import re

from django.db import connection, models

# SHOW CREATE TABLE, because information_schema may be a day old: on MySQL it is cached.
NEXT_ID = re.compile(r"^\).* AUTO_INCREMENT=(\d+)", re.MULTILINE)


def last_id(model: type[models.Model]) -> int:
    """Return the greatest id that was given to a row of this table, also to one that was deleted or not committed."""
    table = model._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":  # https://www.sqlite.org/autoinc.html
            cursor.execute("SELECT MAX(seq) FROM sqlite_sequence WHERE name = %s", [table])
            return cursor.fetchone()[0] or 0
        cursor.execute(f"SHOW CREATE TABLE {connection.ops.quote_name(table)}")
        found = NEXT_ID.search(cursor.fetchone()[1])
    return int(found[1]) - 1 if found else 0


def set_next_id(model: type[models.Model], number: int) -> None:
    """Let the next row of this table get this id; MySQL rounds it up to its auto_increment_increment.

    MySQL also commits the current transaction.
    """
    table = model._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("UPDATE sqlite_sequence SET seq = %s WHERE name = %s", [number - 1, table])
            if not cursor.rowcount:  # The table has not had a row yet.
                cursor.execute("INSERT INTO sqlite_sequence (seq, name) VALUES (%s, %s)", [number - 1, table])
        else:
            cursor.execute(f"ALTER TABLE {connection.ops.quote_name(table)} AUTO_INCREMENT = %s", [number])
