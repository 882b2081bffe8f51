"""Who is tracked, what they wrote, and what each consumer has been shown."""

import re
import time
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from rest_framework_api_key.models import AbstractAPIKey

from people.backfill import parse, wanted
from people.github_names import login_key, parse_login


def validate_login(value: str) -> None:
    try:
        parse_login(value)
    except ValueError as error:
        raise ValidationError(str(error)) from None


def validate_backfill(value: str) -> None:
    try:
        parse(value)
    except ValueError as error:
        raise ValidationError(str(error)) from None


class PersonQuerySet(models.QuerySet["Person"]):
    def named(self, login: str) -> "PersonQuerySet":
        """The person with this login, whatever its case; nobody when it cannot be a login."""
        try:
            return self.filter(username_key=login_key(parse_login(login)))
        except ValueError:
            return self.none()

    def request_sync(self) -> int:
        """Let the next run take them first; how many they are. By the database's clock, as the runs count time."""
        return self.update(sync_requested_at=Now())

    def pause(self) -> int:
        return self.update(state=Person.State.PAUSED, updated_at=timezone.now())

    def resume(self) -> int:
        """Poll the paused ones again; how many they are."""
        paused = self.filter(state=Person.State.PAUSED)
        never_polled = paused.filter(github_id=None).update(state=Person.State.NEW, updated_at=timezone.now())
        return never_polled + paused.update(state=Person.State.ACTIVE, updated_at=timezone.now())


class Person(models.Model):
    """A tracked GitHub user. `github_id` is the identity; a login is only a name, and can change hands."""

    class State(models.TextChoices):
        NEW = "new"  # never polled
        ACTIVE = "active"
        GONE = "gone"  # GitHub knows no such account (any more)
        CONFLICT = "conflict"  # the login, or the account, belongs to somebody else
        PAUSED = "paused"  # kept, but not polled

    github_username = models.CharField(max_length=39, validators=[validate_login])
    # Lower case, so that no collation decides who is the same person.
    username_key = models.CharField(max_length=39, unique=True, editable=False)
    github_id = models.BigIntegerField(null=True, blank=True, unique=True, editable=False)
    name = models.CharField(max_length=255, blank=True)
    email = models.CharField(max_length=255, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.NEW, db_index=True)
    backfill = models.CharField(max_length=10, blank=True, validators=[validate_backfill])

    pipedrive_id = models.PositiveBigIntegerField(null=True, blank=True)
    # Written before Pipedrive is asked to make a person; a cut-off request leaves it behind to be reconciled.
    pipedrive_started_at = models.DateTimeField(null=True, blank=True, editable=False)
    # The name that it was to get: the person may be renamed before anybody looks.
    pipedrive_started_name = models.CharField(max_length=255, blank=True, editable=False)
    # When the activities that this Pipedrive person already had were compared with our gists.
    pipedrive_compared_at = models.DateTimeField(null=True, blank=True, editable=False)

    # GitHub's ETag, byte for byte, and what it is valid for (URL, token and API version; see sync.clients.github).
    etag = models.CharField(max_length=255, blank=True, editable=False)
    etag_scope = models.CharField(max_length=64, blank=True, editable=False)
    attempted_at = models.DateTimeField(null=True, blank=True, editable=False, db_index=True)  # any outcome
    polled_at = models.DateTimeField(null=True, blank=True, editable=False)  # with success
    full_pass_at = models.DateTimeField(null=True, blank=True, editable=False)
    push_attempted_at = models.DateTimeField(null=True, blank=True, editable=False)
    sync_requested_at = models.DateTimeField(null=True, blank=True, editable=False, db_index=True)
    lease_holder = models.CharField(max_length=36, blank=True, editable=False)
    leased_until = models.DateTimeField(null=True, blank=True, editable=False)
    failures = models.PositiveIntegerField(default=0, editable=False)  # in a row
    last_error = models.CharField(max_length=500, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = PersonQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "people"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"@{self.github_username}"

    def relink(self, pipedrive_id: int | None) -> None:
        """File under another Pipedrive person from now on, or let one be found; not saved yet."""
        self.pipedrive_id, self.pipedrive_compared_at, self.pipedrive_started_at = pipedrive_id, None, None

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.username_key = login_key(self.github_username)
        super().save(*args, **kwargs)
        PersonWord.index([self])


class PersonWord(models.Model):
    """The words by which a person is found: an index can look up their beginnings, however many people there are."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="words")
    word = models.CharField(max_length=64, db_index=True)

    def __str__(self) -> str:
        return self.word

    @staticmethod
    def index(people: list[Person]) -> None:
        """Take down anew by which words these stored people are found."""
        PersonWord.objects.filter(person__in=[person.pk for person in people]).delete()
        rows = [PersonWord(person_id=person.pk, word=word) for person in people for word in sorted(words_of(person))]
        PersonWord.objects.bulk_create(rows, batch_size=1000)


def words_of(person: Person) -> set[str]:
    """The login, the name and the e-mail address, each whole and in its parts."""
    texts = [person.github_username, person.email, *person.email.split("@"), *person.name.split()]
    parts = [part for text in texts for part in re.split(r"[^\w]+|_", text)]
    return {word.lower()[:64] for word in [*texts, *parts] if word}


class GistQuerySet(models.QuerySet["Gist"]):
    def unfinished(self) -> "GistQuerySet":
        """Those whose activity is still to be made, or looked for."""
        return self.filter(push_state__in=[Gist.PushState.PENDING, Gist.PushState.STARTED])

    def push_again(self) -> int:
        """Put the rejected and the skipped ones back among the pending; how many there were."""
        put_back = self.filter(push_state__in=[Gist.PushState.REJECTED, Gist.PushState.SKIPPED])
        return put_back.update(push_state=Gist.PushState.PENDING, push_error="", updated_at=timezone.now())

    def widen_backfill(self, choice: str) -> int:
        """Put back those skipped gists of one person that this choice wants; how many."""
        rows = list(self.values_list("pk", "github_created_at", "push_state"))
        chosen = wanted(choice, [created for _, created, _ in rows])
        skipped = [
            pk for (pk, _, state), yes in zip(rows, chosen, strict=True) if yes and state == Gist.PushState.SKIPPED
        ]
        return self.filter(pk__in=skipped).push_again()


class Gist(models.Model):
    """A public gist, and the outbox entry of its Pipedrive activity.

    `id` is the cursor of visits: a person's gists are inserted in one transaction that locks the person's row, as
    visits do, so a smaller id never appears after a larger one was shown.
    """

    class PushState(models.TextChoices):
        PENDING = "pending"  # to be pushed
        STARTED = "started"  # the POST may have been sent; ask Pipedrive before sending another
        PUSHED = "pushed"  # has its activity
        REJECTED = "rejected"  # Pipedrive said no; push_error says why
        SKIPPED = "skipped"  # older than the person's backfill choice

    github_id = models.CharField(max_length=64, unique=True)
    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="gists")
    description = models.TextField(blank=True)
    html_url = models.CharField(max_length=500)
    pull_url = models.CharField(max_length=500)
    truncated = models.BooleanField(default=False, help_text="GitHub lists only the first 300 files.")
    files = models.JSONField(default=list, help_text="A list of {name, raw_url, language, size in bytes}.")
    github_created_at = models.DateTimeField()
    github_updated_at = models.DateTimeField()
    removed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    push_state = models.CharField(max_length=10, choices=PushState.choices, default=PushState.PENDING)
    push_started_at = models.DateTimeField(null=True, blank=True)
    push_attempts = models.PositiveIntegerField(default=0)
    push_error = models.CharField(max_length=500, blank=True)
    pushed_at = models.DateTimeField(null=True, blank=True)
    pipedrive_activity_id = models.PositiveBigIntegerField(null=True, blank=True)
    # Whom the last attempt was filed under: there it is looked for, even if the person has another link by now.
    pipedrive_person_id = models.PositiveBigIntegerField(null=True, blank=True)
    # The gist was edited after its activity was made; with PUSH_EDITS the activity is brought up to date.
    activity_outdated = models.BooleanField(default=False)

    objects = GistQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["person", "id"], name="gist_person_id"),
            models.Index(fields=["push_state", "person"], name="gist_push_state_person"),
        ]

    def __str__(self) -> str:
        return self.github_id


class ApiKey(AbstractAPIKey):
    """A consumer's key; only its hash is kept."""

    read_only = models.BooleanField(default=False, help_text="It may look (and so move its visit markers), no more.")

    class Meta(AbstractAPIKey.Meta):
        verbose_name = "API key"
        verbose_name_plural = "API keys"


class Visit(models.Model):
    """How far into a person's gists one consumer has been shown."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="visits")
    consumer = models.CharField(max_length=64)
    cursor = models.PositiveBigIntegerField(default=0)
    visited_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["person", "consumer"], name="one_visit_marker_each")]

    def __str__(self) -> str:
        return f"{self.consumer} at {self.cursor}"


class RequestCount(models.Model):
    """How many requests somebody made to the API in one minute."""

    who = models.CharField(max_length=100)
    minute = models.BigIntegerField(db_index=True, help_text="minutes since 1970")
    number = models.PositiveIntegerField(default=1)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["who", "minute"], name="one_count_a_minute")]

    def __str__(self) -> str:
        return f"{self.who}: {self.number}"

    @classmethod
    def add(cls, who: str) -> int:
        """Count a request; how many there were in this minute. Nothing is lost between processes."""
        minute = int(time.time() // 60)
        mine = cls.objects.filter(who=who[:100], minute=minute)
        if not mine.update(number=F("number") + 1):
            cls.objects.filter(minute__lt=minute - 1).delete()
            try:
                with transaction.atomic():
                    cls.objects.create(who=who[:100], minute=minute)
            except IntegrityError:
                mine.update(number=F("number") + 1)
        return mine.get().number
