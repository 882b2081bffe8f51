"""The consumers of the API, their keys, and the markers of what they have received."""

from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from rest_framework_api_key.models import AbstractAPIKey, BaseAPIKeyManager

from people.models.person import Person

USE_RECORDED_EVERY = timedelta(minutes=10)
ANONYMOUS = "anonymous"
MAX_NAME = 200


class Consumer(models.Model):
    """Who receives gists: a team or program with keys, a staff member, or all requests without a key (API_AUTH=none).

    The markers belong to the consumer, so they stay when its keys are replaced.
    """

    name = models.CharField(max_length=MAX_NAME, unique=True, help_text="the team or program that uses the API")
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.CASCADE
    )
    feed_cursor = models.PositiveBigIntegerField(
        default=0, editable=False, help_text="id of the last gist of the feed that was acknowledged"
    )
    created_at = models.DateTimeField(auto_now_add=True, help_text="when the consumer was added")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def has_keys(self) -> bool:
        """Is this a consumer with API keys, and not a staff member or the anonymous one?"""
        return self.user_id is None and self.name != ANONYMOUS


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def valid(self) -> "ApiKeyQuerySet":
        """Keys that are neither revoked nor expired."""
        return self.filter(Q(expiry_date=None) | Q(expiry_date__gt=timezone.now()), revoked=False)

    def expiring(self) -> "ApiKeyQuerySet":
        """Valid keys with an end, the next one first, with their consumers."""
        return self.valid().filter(expiry_date__isnull=False).select_related("consumer").order_by("expiry_date")

    def near_end(self, within: timedelta) -> "ApiKeyQuerySet":
        """Keys that end, or have ended, within this time, with their consumers; without those that were revoked."""
        now = timezone.now()
        around = self.filter(expiry_date__range=(now - within, now + within), revoked=False)
        return around.select_related("consumer").order_by("expiry_date")

    def without_successor(self) -> "ApiKeyQuerySet":
        """Keys that no other valid key of the same consumer, which may do as much, outlives."""
        later = Q(expiry_date=None) | Q(expiry_date__gt=OuterRef("expiry_date"))
        may_do_as_much = Q(read_only=False) | Q(read_only=OuterRef("read_only"))
        others = ApiKey.objects.valid().filter(later, may_do_as_much, consumer=OuterRef("consumer"))
        return self.exclude(Exists(others))


class ApiKeyManager(BaseAPIKeyManager.from_queryset(ApiKeyQuerySet)):  # type: ignore[misc]  # untyped library
    pass


class ApiKey(AbstractAPIKey):
    """A key of a consumer; only its hash is stored."""

    consumer = models.ForeignKey(Consumer, on_delete=models.CASCADE, related_name="keys")
    read_only = models.BooleanField(
        default=False, help_text="The key may only read (which also moves the consumer's markers)."
    )
    last_used_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="last valid request, give or take ten minutes"
    )

    objects = ApiKeyManager()  # type: ignore[misc]  # the library does not declare it as a class variable

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
    consumer = models.ForeignKey(Consumer, on_delete=models.CASCADE, related_name="visits", help_text="who has visited")
    cursor = models.PositiveBigIntegerField(default=0, help_text="gists up to this id were shown")
    visited_at = models.DateTimeField(null=True, help_text="when the marker was moved last")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["person", "consumer"], name="one_visit_marker_each")]

    def __str__(self) -> str:
        return f"{self.consumer_id} at {self.cursor}"
