"""Updates of rows that a caller selected in any way."""

from collections.abc import Iterator
from typing import Self, TypeVar

from django.db import models

BATCH_SIZE = 1000  # rows
M = TypeVar("M", bound=models.Model)


class BatchQuerySet(models.QuerySet[M]):
    def in_batches(self) -> Iterator[Self]:
        """The selected rows as querysets by primary key only, in the order of the keys, in which all writers lock rows.

        The admin passes querysets with joins and subqueries, and MySQL refuses an UPDATE that selects from its own
        table (error 1093); MariaDB and SQLite do not.
        """
        keys = sorted(self.order_by().values_list("pk", flat=True).distinct())
        for start in range(0, len(keys), BATCH_SIZE):
            yield type(self)(self.model, using=self.db).filter(pk__in=keys[start : start + BATCH_SIZE])
