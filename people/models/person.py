"""A tracked GitHub user."""

from typing import Any

from django.db import models
from django.db.models import Count, Q
from django.utils import timezone

from people.models.batches import BatchQuerySet
from people.models.freshness import is_stale, max_age
from people.models.github_names import login_key, parse_login


class PersonQuerySet(BatchQuerySet["Person"]):
    def named(self, login: str) -> "PersonQuerySet":
        """Select the person with this login, in any case. Empty when the text is not a login."""
        try:
            return self.filter(username_key=login_key(parse_login(login)))
        except ValueError:
            return self.none()

    def with_counts(self) -> "PersonQuerySet":
        """Add `gist_count`, `pending_count` and `rejected_count`, counted for the selected rows only."""
        return self.annotate(
            gist_count=Count("gists"),
            pending_count=Count("gists", filter=Q(gists__push_state__in=["pending", "started"])),
            rejected_count=Count("gists", filter=Q(gists__push_state="rejected")),
        )

    def stale(self) -> "PersonQuerySet":
        """Polled people whose last successful poll, or whose addition if there is none, is older than max_age()."""
        return self.filter(is_stale(timezone.now(), max_age()), state__in=[Person.State.NEW, Person.State.ACTIVE])

    def in_backoff(self) -> "PersonQuerySet":
        """People whose next poll or push waits after repeated failures."""
        now = timezone.now()
        return self.filter(Q(next_attempt_at__gt=now) | Q(next_push_at__gt=now))

    def in_trouble(self) -> "PersonQuerySet":
        """People whose last poll or push failed, and who are polled."""
        return self.filter(Q(failures__gt=0) | Q(push_failures__gt=0)).exclude(state=Person.State.PAUSED)


class Person(models.Model):
    """A tracked GitHub user. `github_id` is the identity; a login can be renamed and reused by another account."""

    class State(models.TextChoices):
        NEW = "new"  # never polled
        ACTIVE = "active"
        GONE = "gone"  # the account does not exist on GitHub, or not any more
        CONFLICT = "conflict"  # the login, or the account, belongs to another tracked person
        PAUSED = "paused"  # kept, but not polled

    github_username = models.CharField(max_length=39, help_text="login on GitHub; a rename there is followed")
    # Lower case, so that uniqueness does not depend on a collation.
    username_key = models.CharField(max_length=39, unique=True, editable=False)
    github_id = models.BigIntegerField(
        null=True,
        blank=True,
        unique=True,
        editable=False,
        help_text="GitHub's number of the account, which a rename does not change; empty until the first poll",
    )
    name = models.CharField(max_length=255, blank=True, help_text="from the GitHub profile")
    email = models.CharField(max_length=255, blank=True, help_text="public address in the GitHub profile")
    company = models.CharField(max_length=255, blank=True, help_text="from the GitHub profile")
    location = models.CharField(max_length=255, blank=True, help_text="from the GitHub profile")
    state = models.CharField(
        max_length=10,
        choices=State.choices,
        default=State.NEW,
        help_text="new: not polled yet; gone: the account does not exist; conflict: the account is tracked twice",
    )
    state_changed_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="when the state changed last"
    )
    backfill = models.CharField(
        max_length=10,
        blank=True,
        help_text="old gists to export: all, none or those since a date; empty: the setting BACKFILL decides",
    )

    pipedrive_id = models.PositiveBigIntegerField(
        null=True,
        blank=True,
        db_index=True,
        help_text="id of the Pipedrive person who gets the activities; empty: one is found or created",
    )
    pipedrive_linked_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="when the service found or created the Pipedrive person; empty: you have given the id",
    )
    pipedrive_confirmed_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="when Pipedrive last showed that this person exists"
    )
    # The key of Pipedrive's custom field in which the GitHub id of this person is written; see sync.crm.github_field.
    pipedrive_field_key = models.CharField(
        max_length=64,
        blank=True,
        default="",
        editable=False,
        help_text="key of Pipedrive's custom field that holds the GitHub id of this person",
    )
    # Written before the POST that creates the Pipedrive person; stays when the outcome of that POST is unknown.
    pipedrive_create_started_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="the last moment at which the service may have begun to create the Pipedrive person",
    )
    # The name sent in that POST: the person may be renamed on GitHub before the outcome is resolved.
    pipedrive_create_name = models.CharField(max_length=255, blank=True, editable=False)
    pipedrive_matched_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="when the activities in Pipedrive were last compared with the gists",
    )

    # The ETag of the list's first page, byte for byte, and its scope (URL, token, API version; see the GitHub client).
    etag = models.CharField(max_length=255, blank=True, editable=False)
    etag_scope = models.CharField(max_length=64, blank=True, editable=False)
    attempted_at = models.DateTimeField(
        null=True, blank=True, editable=False, db_index=True, help_text="last poll, whatever came of it"
    )
    polled_at = models.DateTimeField(null=True, blank=True, editable=False, help_text="last successful poll")
    # [{id, reason}, ...] of listed gists that cannot be read; they are tried again whenever the list is read.
    unreadable_gists = models.JSONField(
        null=True,
        blank=True,
        editable=False,
        help_text="listed gists that cannot be read, with the reasons; they are tried again",
    )
    full_read_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="when the profile and the whole list were last read"
    )
    push_attempted_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="last time that gists of this person were pushed, whatever came of it",
    )
    sync_requested_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        db_index=True,
        help_text="since when a sync as soon as possible is requested",
    )
    # After repeated failures. Indexed for the list of the people in backoff, who are few.
    next_attempt_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        db_index=True,
        help_text="not polled before, because of repeated failures",
    )
    next_push_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        db_index=True,
        help_text="not pushed before, because of repeated failures",
    )
    failures = models.PositiveIntegerField(default=0, db_index=True, editable=False, help_text="failed polls in a row")
    failing_since = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="the first of the failed polls"
    )
    last_error = models.CharField(
        max_length=500, blank=True, editable=False, help_text="why the last poll failed, or a remark about it"
    )
    push_failures = models.PositiveIntegerField(
        default=0, db_index=True, editable=False, help_text="failed pushes in a row"
    )
    push_failing_since = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="the first of the failed pushes"
    )
    push_error = models.CharField(
        max_length=500, blank=True, editable=False, help_text="why the last push of this person failed"
    )
    created_at = models.DateTimeField(auto_now_add=True, help_text="when the person was added")
    updated_at = models.DateTimeField(auto_now=True, help_text="when this row changed last")

    objects = PersonQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "people"
        ordering = ["-id"]
        indexes = [models.Index(fields=["state", "polled_at"], name="person_state_polled")]

    def __str__(self) -> str:
        return f"@{self.github_username}"

    @property
    def is_stale(self) -> bool:
        """As PersonQuerySet.stale."""
        is_polled = self.state in (Person.State.NEW, Person.State.ACTIVE)
        return is_polled and (self.polled_at or self.created_at) < timezone.now() - max_age()

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.username_key = login_key(self.github_username)
        super().save(*args, **kwargs)
