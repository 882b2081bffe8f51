"""The runs of `sync_gists`, whether they ended well, badly, or not by themselves; what a day may still take."""

from django.db import models


class SyncRun(models.Model):
    """A run: when, by whom, how it ended, and what it did."""

    class Outcome(models.TextChoices):
        RUNNING = "running"
        DONE = "done"
        LIMITED = "limited"  # limits or an outage left work for the next run
        FAILED = "failed"  # some people or gists failed
        REFUSED = "refused"  # a token was refused
        STOPPED = "stopped"  # by a signal or a limit of its own, in good order
        KILLED = "killed"  # it went silent; the next run wrote this

    token = models.CharField(max_length=36, unique=True, help_text="the lease holder's name")
    started_at = models.DateTimeField(db_index=True)
    # Runs that overlap work on one round: a person attempted since its start is not due again.
    round_started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=10, choices=Outcome.choices, default=Outcome.RUNNING)
    counts = models.JSONField(default=dict)
    limits = models.JSONField(default=dict, help_text="the last remaining limits that the APIs told")
    errors = models.TextField(blank=True, help_text="what went wrong, one line each, shortened")
    trigger = models.CharField(max_length=20, default="manual")
    host = models.CharField(max_length=255)
    version = models.CharField(max_length=40, blank=True, help_text="gisttracker's")

    class Meta:
        ordering = ["-id"]

    @property
    def is_good(self) -> bool:
        """It ended in good order, perhaps with work left by limits."""
        return self.outcome in GOOD

    def __str__(self) -> str:
        return f"run {self.pk}: {self.outcome}"


GOOD = [SyncRun.Outcome.DONE, SyncRun.Outcome.LIMITED, SyncRun.Outcome.STOPPED]

ROUND = ["schedule", "manual"]  # triggers of runs that are for everybody


class ActivityDay(models.Model):
    """How many activities all runs of a UTC day together have made, or are about to make."""

    day = models.DateField(unique=True)
    made = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.day}: {self.made}"
