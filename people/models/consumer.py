"""The consumers of the API: keys, visit markers and request counts."""

import time
from datetime import timedelta

from django.db import IntegrityError, models, transaction
from django.db.models import F
from django.utils import timezone
from rest_framework_api_key.models import AbstractAPIKey

from people.models.person import Person

USE_RECORDED_EVERY = timedelta(minutes=10)


class ApiKey(AbstractAPIKey):
    """A consumer's key; only its hash is stored."""

    read_only = models.BooleanField(
        default=False, help_text="The key may only read (which also moves its visit markers)."
    )
    last_used_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="last valid request, give or take ten minutes"
    )

    class Meta(AbstractAPIKey.Meta):
        verbose_name = "API key"
        verbose_name_plural = "API keys"

    def record_use(self) -> None:
        """Store when the key was used last, without a write in every request."""
        now = timezone.now()
        if self.last_used_at is None or self.last_used_at < now - USE_RECORDED_EVERY:
            ApiKey.objects.filter(pk=self.pk).update(last_used_at=now)
            self.last_used_at = now


class Visit(models.Model):
    """The visit marker of one consumer for one person: gists up to `cursor` were shown."""

    person = models.ForeignKey(
        Person, on_delete=models.CASCADE, related_name="visits", help_text="the person who was visited"
    )
    consumer = models.CharField(max_length=64, help_text="who has visited: a key, a user, or all without a key")
    cursor = models.PositiveBigIntegerField(default=0, help_text="gists up to this id were shown")
    visited_at = models.DateTimeField(null=True, help_text="when the marker was moved last")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["person", "consumer"], name="one_visit_marker_each")]

    def __str__(self) -> str:
        return f"{self.consumer} at {self.cursor}"


class RequestCount(models.Model):
    """The number of API requests of one client in one minute."""

    client = models.CharField(max_length=100, help_text="a consumer, or an address without a valid key")
    minute = models.BigIntegerField(db_index=True, help_text="minutes since 1970")
    count = models.PositiveIntegerField(default=1)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["client", "minute"], name="one_count_a_minute")]

    def __str__(self) -> str:
        return f"{self.client}: {self.count}"

    @classmethod
    def hit(cls, client: str) -> int:
        """Count a request and return the client's count in this minute. Safe across processes."""
        minute = int(time.time() // 60)
        row = cls.objects.filter(client=client[:100], minute=minute)
        if not row.update(count=F("count") + 1):
            cls.objects.filter(minute__lt=minute - 1).delete()
            try:
                with transaction.atomic():
                    cls.objects.create(client=client[:100], minute=minute)
            except IntegrityError:  # Another process created the row first.
                row.update(count=F("count") + 1)
        return row.get().count
