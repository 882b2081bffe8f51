"""A public gist, which is also the outbox entry of its Pipedrive activity."""

from datetime import datetime
from typing import Any

from django.db import models
from django.utils import timezone

from gisttracker.common.backfill import exported_since
from people.models.batches import BatchQuerySet
from people.models.person import Person


class GistQuerySet(BatchQuerySet["Gist"]):
    def unfinished(self) -> "GistQuerySet":
        """Gists whose activity is still to be created, or whose push has an unknown outcome."""
        return self.filter(push_state__in=[Gist.PushState.PENDING, Gist.PushState.STARTED])

    def activity_ids(self) -> "models.QuerySet[Gist, Any]":
        """The ids of the activities of these gists, the newest first."""
        known = self.filter(pipedrive_activity_id__isnull=False).order_by("-pipedrive_activity_id")
        return known.values_list("pipedrive_activity_id", flat=True)

    def push_again(self) -> int:
        """Make rejected and skipped gists pending again. Returns how many there were."""
        now = timezone.now()
        columns = {"push_state": Gist.PushState.PENDING, "push_error": "", "pending_since": now, "updated_at": now}
        states = [Gist.PushState.REJECTED, Gist.PushState.SKIPPED]
        return sum(batch.filter(push_state__in=states).update(**columns) for batch in self.in_batches())

    def skip(self, reason: str) -> int:
        """Keep pending and rejected gists from being pushed. Returns how many there were.

        The activity of a started or pushed gist may exist, so these stay as they are. A run that begins to push a gist
        at the same time updates it only while it is pending, so one of the two statements finds it changed.
        """
        columns = {"push_state": Gist.PushState.SKIPPED, "push_error": reason[:500], "updated_at": timezone.now()}
        states = [Gist.PushState.PENDING, Gist.PushState.REJECTED]
        return sum(batch.filter(push_state__in=states).update(**columns) for batch in self.in_batches())

    def widen_backfill(self, choice: str, added_at: datetime) -> int:
        """Make the skipped gists of one person, who was added then, pending that this choice includes.

        Returns how many. Gists that were skipped one by one, with a reason, are not a matter of the backfill choice.
        """
        skipped = self.filter(push_state=Gist.PushState.SKIPPED, push_error="")
        since = exported_since(choice, added_at)
        return (skipped.filter(github_created_at__gte=since) if since else skipped).push_again()


class Gist(models.Model):
    """A public gist, and the outbox entry of its Pipedrive activity.

    `id` is the time order, and the only cursor: of visits and of the feed of all people. One run at a time inserts
    gists, and the lock on its lease covers the commit, so a smaller id never becomes visible after a greater one.
    """

    class PushState(models.TextChoices):
        PENDING = "pending"  # to be pushed
        STARTED = "started"  # the POST may have been sent; check Pipedrive before sending another
        PUSHED = "pushed"  # has its activity
        REJECTED = "rejected"  # by Pipedrive; push_error has the reason
        SKIPPED = "skipped"  # not included in the person's backfill choice, or one by one: push_error has the reason

    class Discovery(models.TextChoices):
        STREAM = "stream"  # by a hint of GitHub's stream
        POLL = "poll"  # the stream could not have shown it yet, or was not read
        MISSED = "missed"  # by a poll, although the stream should have shown it

    github_id = models.CharField(max_length=64, unique=True)
    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="gists")
    description = models.TextField(blank=True)
    html_url = models.CharField(max_length=500)
    pull_url = models.CharField(max_length=500)
    truncated = models.BooleanField(default=False, help_text="GitHub lists only the first 300 files.")
    files = models.JSONField(default=list, help_text="A list of {name, raw_url, language, size in bytes}.")
    discovery = models.CharField(
        max_length=10, blank=True, choices=Discovery.choices, help_text="how it was found, if its person was tracked"
    )
    github_created_at = models.DateTimeField()
    github_updated_at = models.DateTimeField()
    removed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    # Since when its activity is to be created. An edit on GitHub does not change it.
    pending_since = models.DateTimeField(default=timezone.now, editable=False)
    push_state = models.CharField(max_length=10, choices=PushState.choices, default=PushState.PENDING)
    # The last moment at which the POST may have left; while it may still be sent, a moment to come.
    push_started_at = models.DateTimeField(null=True, blank=True)
    push_run_id = models.PositiveBigIntegerField(null=True, blank=True, help_text="the run that sent it last")
    push_attempts = models.PositiveIntegerField(default=0)
    push_error = models.CharField(max_length=500, blank=True)
    pushed_at = models.DateTimeField(null=True, blank=True)
    pipedrive_activity_id = models.PositiveBigIntegerField(null=True, blank=True, db_index=True)
    # The Pipedrive person of the last attempt: the activity is searched there, even if the person was relinked since.
    pipedrive_person_id = models.PositiveBigIntegerField(null=True, blank=True)
    # The gist was edited after its activity was created; with PUSH_EDITS the activity is updated.
    activity_outdated = models.BooleanField(default=False)
    next_edit_at = models.DateTimeField(null=True, blank=True)  # of the activity, after repeated failures

    objects = GistQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["person", "id"], name="gist_person_id"),
            models.Index(fields=["push_state", "person"], name="gist_push_state_person"),
            models.Index(fields=["push_state", "pending_since"], name="gist_push_state_pending"),
            models.Index(fields=["created_at"], name="gist_created"),
            models.Index(fields=["discovery", "created_at"], name="gist_discovery_created"),
        ]

    def __str__(self) -> str:
        return self.github_id

    @property
    def push_explanation(self) -> str:
        """One sentence: why the gist is, or is not, in Pipedrive."""
        return explain_push(
            self.push_state,
            self.push_error,
            pushed_at=self.pushed_at,
            push_started_at=self.push_started_at,
            activity_id=self.pipedrive_activity_id,
            activity_outdated=self.activity_outdated,
            backfill=self.person.backfill,
            person_error=self.person.push_error,
        )


def pushed_columns(activity_id: int, now: datetime) -> dict[str, Any]:
    """The columns of a gist that has its activity."""
    return {
        "push_state": Gist.PushState.PUSHED,
        "pipedrive_activity_id": activity_id,
        "pushed_at": now,
        "updated_at": now,
        "push_error": "",
    }


def explain_push(
    state: str,
    reason: str,
    *,
    pushed_at: datetime | None,
    push_started_at: datetime | None,
    activity_id: int | None,
    activity_outdated: bool,
    backfill: str,
    person_error: str,
) -> str:
    """See Gist.push_explanation. `reason` is the gist's push_error; `backfill` and `person_error` are the person's."""
    if state == Gist.PushState.PUSHED:
        since = f" since {pushed_at:%Y-%m-%d %H:%M} UTC" if pushed_at else ""
        if reason:
            return f"Its activity in Pipedrive is {activity_id}. {reason}"
        remark = " Its last edit may not be there yet." if activity_outdated else ""
        return f"It is in Pipedrive as activity {activity_id}{since}.{remark}"
    if state == Gist.PushState.STARTED:
        since = f" {push_started_at:%Y-%m-%d %H:%M} UTC" if push_started_at else ""
        return f"It was sent{since} without a clear response. A run looks it up in Pipedrive before sending again."
    if state == Gist.PushState.REJECTED:
        return f"Pipedrive rejected it. Push it again when the cause is gone. {reason}".strip()
    if state == Gist.PushState.SKIPPED:
        return reason or f"It is not exported: the backfill choice is {backfill or 'left to the setting BACKFILL'}."
    if reason or person_error:
        return f"It waits for the next run, because the last one failed. {reason or person_error}"
    return "It waits for the next run."
