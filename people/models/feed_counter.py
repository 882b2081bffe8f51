"""The positions of gists in the feed of all people."""

from django.db import IntegrityError, models, transaction
from django.db.models import F, Max

from people.models.gist import Gist

ROW = 1


class FeedCounter(models.Model):
    """The position of the newest gist of the feed. One row."""

    value = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.value)

    @classmethod
    def take(cls, count: int) -> range:
        """Return the next positions. The row stays locked until the surrounding transaction ends.

        So positions become visible in their order, whichever of several transactions commits first: a reader who has
        seen a position has been able to see all smaller ones. Take nothing else that another transaction may lock
        before it takes this.
        """
        row = cls.objects.filter(pk=ROW)
        if not row.update(value=F("value") + count):
            cls._create()
            row.update(value=F("value") + count)
        value: int = row.values_list("value", flat=True).get()
        return range(value - count + 1, value + 1)

    @classmethod
    def _create(cls) -> None:
        newest = Gist.objects.aggregate(newest=Max("feed_position"))["newest"] or 0
        try:
            with transaction.atomic():
                cls.objects.create(pk=ROW, value=newest)
        except IntegrityError:  # Another process has created it.
            pass

    @classmethod
    def newest(cls) -> int:
        return cls.objects.filter(pk=ROW).values_list("value", flat=True).first() or 0
