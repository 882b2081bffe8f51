"""The runs of `sync_gists` and the daily counter of created activities."""

from django.db import models


class SyncRun(models.Model):
    """One run: when it ran, what started it, its outcome and its counters."""

    class Outcome(models.TextChoices):
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        RATE_LIMITED = "rate_limited"  # a rate limit or an activity cap left work for the next run
        FAILED = "failed"  # an outage, or some people or gists failed
        MISCONFIGURED = "misconfigured"  # a token or another setting was refused
        STOPPED = "stopped"  # by a signal or one of its own limits
        CRASHED = "crashed"  # no heartbeat for a full lease; set by the next run

    token = models.CharField(max_length=36, unique=True, help_text="prefix of its lease holders")
    started_at = models.DateTimeField(db_index=True)
    # Overlapping runs share one round: a person attempted since its start is not due again.
    round_started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=20, choices=Outcome.choices, default=Outcome.RUNNING)
    counts = models.JSONField(default=dict)
    limits = models.JSONField(default=dict, help_text="the last rate limits that the APIs reported")
    errors = models.TextField(blank=True, help_text="problems, one shortened line each")
    trigger = models.CharField(max_length=20, default="manual")
    host = models.CharField(max_length=255)
    pid = models.PositiveBigIntegerField(null=True, help_text="process id on that host")
    version = models.CharField(max_length=40, blank=True, help_text="gisttracker version")

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"run {self.pk}: {self.outcome}"


# Ended in good order, perhaps with work left for the next run.
SUCCESSFUL_OUTCOMES = [SyncRun.Outcome.SUCCEEDED, SyncRun.Outcome.RATE_LIMITED, SyncRun.Outcome.STOPPED]
ROUND_TRIGGERS = ["schedule", "manual"]  # of runs that cover all people


class FoundActivity(models.Model):
    """An activity of a gist that is not stored, or not pushed: the database is older than it (see sync.restore)."""

    gist_id = models.CharField(max_length=64, unique=True)
    activity_id = models.PositiveBigIntegerField(db_index=True)

    def __str__(self) -> str:
        return f"{self.gist_id}: activity {self.activity_id}"


class ActivityDay(models.Model):
    """How many activities all runs of one UTC day have created or booked."""

    day = models.DateField(unique=True)
    count = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.day}: {self.count}"
