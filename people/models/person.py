"""A tracked GitHub user, and the search terms under which the person is found."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Count, Q
from django.db.models.functions import Now
from django.utils import timezone

from people import backfill
from people.github_names import login_key, parse_login
from people.models.batches import BatchQuerySet
from people.models.suppressed import Suppressed, suppressed_reason
from people.search import search_terms

# What else changes when a user sets another Pipedrive person.
UNLINKED = {
    "pipedrive_linked_at": None,
    "pipedrive_confirmed_at": None,
    "pipedrive_field_key": "",
    "pipedrive_matched_at": None,
    "pipedrive_create_started_at": None,
    "next_push_at": None,
}


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

    def request_sync(self) -> int:
        """Put these people first in the next run. Returns how many. Uses the database's clock, as the runs do."""
        columns = {"sync_requested_at": Now(), "next_attempt_at": None, "next_push_at": None}
        return sum(batch.update(**columns) for batch in self.in_batches())

    def in_trouble(self) -> "PersonQuerySet":
        """People whose last poll or push failed, and who are polled."""
        return self.filter(Q(failures__gt=0) | Q(push_failures__gt=0)).exclude(state=Person.State.PAUSED)

    def compare_again(self) -> int:
        """Compare these people's gists with the activities in Pipedrive before the next push. Returns how many."""
        return sum(batch.update(pipedrive_matched_at=None) for batch in self.in_batches())

    def pause(self) -> int:
        """Stop polling these people. Returns how many."""
        now = timezone.now()
        columns = {"state": Person.State.PAUSED, "state_changed_at": now, "updated_at": now}
        active = [batch.exclude(state=Person.State.PAUSED) for batch in self.in_batches()]
        return sum(batch.update(**columns) for batch in active)

    def resume(self) -> int:
        """Poll the paused ones of these people again. Returns how many."""
        count, now = 0, timezone.now()
        for batch in self.in_batches():
            paused = batch.filter(state=Person.State.PAUSED)
            columns = {"state_changed_at": now, "updated_at": now}
            count += paused.filter(github_id=None).update(state=Person.State.NEW, **columns)
            count += paused.update(state=Person.State.ACTIVE, **columns)
        return count


class Person(models.Model):
    """A tracked GitHub user. `github_id` is the identity; a login can be renamed and reused by another account."""

    class State(models.TextChoices):
        NEW = "new"  # never polled
        ACTIVE = "active"
        GONE = "gone"  # the account does not exist on GitHub, or not any more
        CONFLICT = "conflict"  # the login, or the account, belongs to another tracked person
        PAUSED = "paused"  # kept, but not polled

    github_username = models.CharField(max_length=39)
    # Lower case, so that uniqueness does not depend on a collation.
    username_key = models.CharField(max_length=39, unique=True, editable=False)
    github_id = models.BigIntegerField(null=True, blank=True, unique=True, editable=False)
    name = models.CharField(max_length=255, blank=True)
    email = models.CharField(max_length=255, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.NEW)
    state_changed_at = models.DateTimeField(null=True, blank=True, editable=False)
    watched = models.BooleanField(
        default=False, db_default=False, help_text="polled by the frequent run of requested people, too"
    )
    # Empty: the setting BACKFILL decides at the first list that is read to its end and believed.
    backfill = models.CharField(max_length=10, blank=True)
    # That first list: gists that appear later are not a matter of `backfill`.
    backfill_decided_at = models.DateTimeField(null=True, blank=True, editable=False)

    pipedrive_id = models.PositiveBigIntegerField(null=True, blank=True)
    # When the service found or created that Pipedrive person. NULL: a user has given its id, which never changes here.
    pipedrive_linked_at = models.DateTimeField(null=True, blank=True, editable=False)
    # When Pipedrive last showed that this person exists.
    pipedrive_confirmed_at = models.DateTimeField(null=True, blank=True, editable=False)
    # The key of Pipedrive's custom field in which the GitHub id of this person is written; see sync.github_field.
    pipedrive_field_key = models.CharField(max_length=64, blank=True, default="", db_default="", editable=False)
    # Written before the POST that creates the Pipedrive person; stays when the outcome of that POST is unknown.
    pipedrive_create_started_at = models.DateTimeField(null=True, blank=True, editable=False)
    # The name sent in that POST: the person may be renamed on GitHub before the outcome is resolved.
    pipedrive_create_name = models.CharField(max_length=255, blank=True, editable=False)
    # When the existing activities of this Pipedrive person were last matched with our gists.
    pipedrive_matched_at = models.DateTimeField(null=True, blank=True, editable=False)

    # The ETag of the list's first page, byte for byte, and its scope (URL, token, API version; see the GitHub client).
    etag = models.CharField(max_length=255, blank=True, editable=False)
    etag_scope = models.CharField(max_length=64, blank=True, editable=False)
    # [[url, etag], ...] of the further pages. [] means that the list fits one page, NULL that its length is unknown.
    page_etags = models.JSONField(null=True, blank=True, editable=False)
    # The profile by its numeric id: its ETag, and when it was last checked that the account still has this login.
    profile_etag = models.CharField(max_length=255, blank=True, editable=False)
    profile_checked_at = models.DateTimeField(null=True, blank=True, editable=False)
    # An empty list names no owner, so it does not show whether the login still belongs to this account.
    list_is_empty = models.BooleanField(default=True, editable=False)
    attempted_at = models.DateTimeField(null=True, blank=True, editable=False, db_index=True)  # any outcome
    polled_at = models.DateTimeField(null=True, blank=True, editable=False)  # successfully
    # [{id, reason}, ...] of listed gists that cannot be read; they are tried again whenever the list is read.
    unreadable_gists = models.JSONField(null=True, blank=True, editable=False)
    full_pass_at = models.DateTimeField(null=True, blank=True, editable=False)  # every page was read or unchanged
    full_read_at = models.DateTimeField(null=True, blank=True, editable=False)  # every page was read, without ETags
    push_attempted_at = models.DateTimeField(null=True, blank=True, editable=False)
    sync_requested_at = models.DateTimeField(null=True, blank=True, editable=False, db_index=True)
    next_attempt_at = models.DateTimeField(null=True, blank=True, editable=False)  # after repeated failures
    next_push_at = models.DateTimeField(null=True, blank=True, editable=False)  # after repeated failures
    lease_holder = models.CharField(max_length=36, blank=True, editable=False)
    leased_until = models.DateTimeField(null=True, blank=True, editable=False)
    failures = models.PositiveIntegerField(default=0, editable=False)  # of polls, in a row
    failing_since = models.DateTimeField(null=True, blank=True, editable=False)  # the first of these failures
    last_error = models.CharField(max_length=500, blank=True, editable=False)  # of the last poll, or a remark about it
    push_failures = models.PositiveIntegerField(default=0, editable=False)  # in a row
    push_failing_since = models.DateTimeField(null=True, blank=True, editable=False)  # the first of these failures
    push_error = models.CharField(max_length=500, blank=True, editable=False)  # of the last push of this person
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = PersonQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "people"
        ordering = ["-id"]
        indexes = [models.Index(fields=["state", "polled_at"], name="person_state_polled")]

    def __str__(self) -> str:
        return f"@{self.github_username}"

    def clean(self) -> None:
        """The rules for a login and a backfill choice, for Django's forms. A suppressed login is refused."""
        for field, parse in (("github_username", parse_login), ("backfill", backfill.parse)):
            value = getattr(self, field)
            try:
                setattr(self, field, parse(value) if value else value)
            except ValueError as error:
                raise ValidationError({field: str(error)}) from None
        if self._state.adding and Suppressed.objects.has_login(self.github_username):
            raise ValidationError({"github_username": suppressed_reason(self.github_username)})

    def relink(self, pipedrive_id: int | None) -> None:
        """Set another Pipedrive person, or None to find or create one in the next run. Does not save."""
        self.pipedrive_id = pipedrive_id
        for name, value in UNLINKED.items():
            setattr(self, name, value)

    def apply(self, changes: dict[str, Any]) -> None:
        """Apply and save the changes of a PATCH (pipedrive_id, backfill, watched, state). The row must be locked."""
        self.watched = changes.get("watched", self.watched)
        if "pipedrive_id" in changes:
            self.relink(changes["pipedrive_id"])
        if "backfill" in changes:
            self.backfill = changes["backfill"]
            self.gists.widen_backfill(self.backfill)
        self.save()
        if "state" in changes:
            row = Person.objects.filter(pk=self.pk)
            row.pause() if changes["state"] == Person.State.PAUSED else row.resume()

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.username_key = login_key(self.github_username)
        super().save(*args, **kwargs)
        SearchTerm.index([self])


class SearchTerm(models.Model):
    """A word of a person's login, name or e-mail address. A prefix search uses its index."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="search_terms")
    term = models.CharField(max_length=64, db_index=True)

    def __str__(self) -> str:
        return self.term

    @staticmethod
    def index(people: list[Person]) -> None:
        """Replace the search terms of these stored people. Unchanged terms are not written."""
        current = {
            (person.pk, term)
            for person in people
            for term in search_terms(person.github_username, person.name, person.email)
        }
        stored = SearchTerm.objects.filter(person__in=[person.pk for person in people])
        ids = {(row.person_id, row.term): row.pk for row in stored}
        outdated = [pk for key, pk in ids.items() if key not in current]
        if outdated:
            SearchTerm.objects.filter(pk__in=outdated).delete()
        rows = [SearchTerm(person_id=person, term=term) for person, term in sorted(current - set(ids))]
        SearchTerm.objects.bulk_create(rows, batch_size=1000)
