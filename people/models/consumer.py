"""The consumers of the API, their keys, and the markers of what they have received."""

import string
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.crypto import get_random_string
from rest_framework_api_key.models import AbstractAPIKey, BaseAPIKeyManager

from people.models.person import Person

USE_RECORDED_EVERY = timedelta(minutes=10)
ANONYMOUS = "anonymous"
MAX_IDENTIFIER = 64
MAX_NAME = 200


def new_identifier() -> str:
    """Return an identifier in lower case, because MySQL does not distinguish it from upper case."""
    return f"consumer:{get_random_string(16, string.ascii_lowercase + string.digits)}"


class Consumer(models.Model):
    """Who receives gists: a team or program with keys, a staff member, or all requests without a key (API_AUTH=none).

    The markers belong to the consumer, so they stay when its keys are replaced.
    """

    name = models.CharField(max_length=MAX_NAME, unique=True, help_text="the team or program that uses the API")
    # The name under which markers and request counts are stored. Releases before 1.0.0 had no consumers and stored
    # them as key:PREFIX, user:ID and anonymous, which those consumers keep.
    identifier = models.CharField(max_length=MAX_IDENTIFIER, unique=True, editable=False)
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.CASCADE
    )
    feed_cursor = models.PositiveBigIntegerField(
        default=0, db_default=0, editable=False, help_text="position of the last gist of the feed that was acknowledged"
    )
    created_at = models.DateTimeField(auto_now_add=True, help_text="when the consumer was added")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def has_keys(self) -> bool:
        """Is this a consumer with API keys, and not a staff member or the anonymous one?"""
        return self.user_id is None and self.identifier != ANONYMOUS


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def valid(self) -> "ApiKeyQuerySet":
        """Keys that are neither revoked nor expired."""
        return self.filter(Q(expiry_date=None) | Q(expiry_date__gt=timezone.now()), revoked=False)

    def expiring(self) -> "ApiKeyQuerySet":
        """Valid keys with an end, the next one first, with their consumers."""
        return self.valid().filter(expiry_date__isnull=False).select_related("consumer").order_by("expiry_date")

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

    # NULL: created by a release without consumers; see people.keys.
    consumer = models.ForeignKey(Consumer, null=True, on_delete=models.CASCADE, related_name="keys")
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

    @property
    def consumer_name(self) -> str:
        return self.consumer.name if self.consumer else self.name

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
    # Without a constraint in the database, because releases without consumers write their own identifiers.
    consumer = models.ForeignKey(
        Consumer,
        to_field="identifier",
        db_column="consumer",
        db_constraint=False,
        on_delete=models.CASCADE,
        related_name="visits",
        help_text="who has visited",
    )
    cursor = models.PositiveBigIntegerField(default=0, help_text="gists up to this id were shown")
    visited_at = models.DateTimeField(null=True, help_text="when the marker was moved last")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["person", "consumer"], name="one_visit_marker_each")]

    def __str__(self) -> str:
        return f"{self.consumer_id} at {self.cursor}"
