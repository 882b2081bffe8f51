"""The runs of `sync_gists` with their problems, what they have found out about the APIs, and the alarms."""

from datetime import datetime

from django.db import models
from django.db.models import Q

from people.models import Gist, Person
from sync.reasons import Group


class SyncRun(models.Model):
    """One run: when it ran, what started it, its outcome and its counters."""

    class Outcome(models.TextChoices):
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        RATE_LIMITED = "rate_limited"  # a rate limit or an activity cap left work for the next run
        FAILED = "failed"  # an outage, or some people or gists failed
        MISCONFIGURED = "misconfigured"  # a token or another setting was refused
        STOPPED = "stopped"  # by a signal or one of its own limits
        CRASHED = "crashed"  # its process is gone, or was silent for two minutes; set by the run that took over

    started_at = models.DateTimeField(db_index=True)
    heartbeat_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=20, choices=Outcome.choices, default=Outcome.RUNNING)
    counts = models.JSONField(default=dict)
    limits = models.JSONField(default=dict, help_text="the last rate limits that the APIs reported")
    trigger = models.CharField(max_length=20, default="manual", help_text="what started the run")
    host = models.CharField(max_length=255)
    pid = models.PositiveBigIntegerField(null=True, help_text="process id on that host")
    version = models.CharField(max_length=40, blank=True, help_text="gisttracker version")

    groups: list[Group]  # its problems; set by sync.health.groups.load_groups
    continues_from: datetime  # the beginning of the run whose pushes it continues, or its own; set by sync.run.records

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"run {self.pk}: {self.outcome}"


class RunLease(models.Model):
    """Which process may write, and until when. One row; see sync.run.lease."""

    token = models.CharField(max_length=36, blank=True, help_text="of the process that has it; empty if none has")
    run_id = models.PositiveBigIntegerField(null=True, help_text="its run; none while undo_run has it")
    expires_at = models.DateTimeField()
    host = models.CharField(max_length=255, blank=True)
    pid = models.PositiveBigIntegerField(null=True, help_text="process id on that host")

    def __str__(self) -> str:
        return f"Run {self.run_id}" if self.run_id else "undo_run"


class Suspicion(models.Model):
    """What a run has seen of a person or a gist, and what is believed only when a later run sees it again.

    See sync.crm.evidence.
    """

    class Kind(models.TextChoices):
        GONE = "gone"  # GitHub does not know the account any more
        CONFLICT = "conflict"  # the account is tracked as another person, too
        LOST = "lost"  # Pipedrive shows the person as deleted
        REFUSED = "refused"  # Pipedrive refuses to create the activity of the gist

    kind = models.CharField(max_length=10, choices=Kind.choices)
    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="suspicions")
    gist = models.ForeignKey(Gist, on_delete=models.CASCADE, null=True, related_name="suspicions")
    since = models.DateTimeField(help_text="when a run saw it first")
    reason = models.CharField(max_length=500, help_text="equal for the same cause")
    runs = models.PositiveIntegerField(default=1, help_text="how many runs have seen it")
    run_id = models.PositiveBigIntegerField(help_text="the last run that saw it")

    class Meta:
        indexes = [models.Index(fields=["kind", "reason"], name="suspicion_kind_reason")]

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}"


class Problem(models.Model):
    """Something that went wrong in a run, for a person or a gist, or for the run or an API as a whole."""

    class Code(models.TextChoices):
        POLL = "poll"  # the poll of the person failed
        PUSH = "push"  # the push of the person failed
        GIST = "gist"  # the gist was not pushed, or not as it should be
        PERSON = "person"  # a remark about a person whose poll and push did not fail
        RUN = "run"  # the run, or an API

    run = models.ForeignKey(SyncRun, on_delete=models.CASCADE, related_name="problems")
    person = models.ForeignKey(Person, on_delete=models.CASCADE, null=True, related_name="problems")
    gist = models.ForeignKey(Gist, on_delete=models.CASCADE, null=True, related_name="+")
    code = models.CharField(max_length=10, choices=Code.choices)
    reason = models.CharField(max_length=500, help_text="it names no person and no gist, so that it can be grouped")
    count = models.PositiveIntegerField(default=1, help_text="how often it was met since the row before")

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}"


ROUND_TRIGGERS = ["schedule", "manual"]  # of runs that cover all people
# A run that could not begin because of a setting has no limits.
COULD_NOT_BEGIN = Q(outcome=SyncRun.Outcome.MISCONFIGURED) & ~Q(limits__has_key="github")


class PushAttempt(models.Model):
    """One request that should create, update or delete the activity of a gist, and what came of it."""

    class Kind(models.TextChoices):
        CREATE = "create"
        UPDATE = "update"
        DELETE = "delete"  # by undo_run

    class Outcome(models.TextChoices):
        SUCCEEDED = "succeeded"
        REFUSED = "refused"  # by Pipedrive, with a reason
        UNKNOWN = "unknown"  # no clear response: the request may have been processed
        NOT_SENT = "not_sent"  # no connection, a rate limit, or the run was stopping
        FOUND = "found"  # an attempt with unknown outcome had created it: it was found later

    gist = models.ForeignKey(Gist, on_delete=models.CASCADE, related_name="attempts", db_index=False)
    run_id = models.PositiveBigIntegerField(null=True)
    attempted_at = models.DateTimeField(db_index=True)
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.CREATE)
    outcome = models.CharField(max_length=10, choices=Outcome.choices)
    status = models.PositiveSmallIntegerField(null=True, help_text="HTTP status of the response, if one arrived")
    message = models.CharField(max_length=500, blank=True)
    duration = models.FloatField(default=0.0, help_text="seconds")
    activity_id = models.PositiveBigIntegerField(null=True)
    # Pipedrive's `update_time` in the response: if it is later now, someone has changed the activity since.
    activity_updated_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["gist", "id"], name="push_attempt_gist"),
            models.Index(fields=["run_id", "id"], name="push_attempt_run"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.gist_id}: {self.outcome}"


class ApiState(models.Model):
    """What the runs have found out about an API: one row for each, made when there is something to store."""

    class Problem(models.TextChoices):
        NONE = ""
        REFUSED = "refused"  # the token, or a setting
        OUTAGE = "outage"
        RATE_LIMITED = "rate_limited"
        CAPPED = "capped"  # a limit that a user has set: PIPEDRIVE_DAILY_ACTIVITIES, --max-activities

    api = models.CharField(max_length=20, unique=True)
    run_id = models.PositiveBigIntegerField(null=True, help_text="the last run that called it")
    problem = models.CharField(max_length=20, blank=True, choices=Problem.choices, help_text="why it stopped calling")
    message = models.CharField(max_length=500, blank=True)
    problem_since = models.DateTimeField(null=True, help_text="the first of the runs in a row with this problem")
    has_token = models.BooleanField(default=True)
    limit = models.JSONField(default=dict, help_text="the last rate limit that it reported, as in SyncRun.limits")
    notice = models.CharField(max_length=500, blank=True, help_text="what the API announces about its version")
    token_expires_at = models.DateTimeField(null=True, help_text="when the token ends, as GitHub has shown it")
    # A pause that it has ordered. See sync.run.api_state.
    paused_until = models.DateTimeField(null=True)
    pause_scope = models.CharField(max_length=64, blank=True, help_text="stands for the address and the token")
    pause_reason = models.CharField(max_length=200, blank=True)
    # How many activities all runs of one UTC day have created or booked. See sync.run.budget.
    activity_day = models.DateField(null=True)
    activity_count = models.PositiveIntegerField(default=0)


class StreamState(models.Model):
    """How far GitHub's stream of all public gists was read. One row; see sync.stream."""

    first_read_at = models.DateTimeField(help_text="when it was read for the first time")
    attempted_at = models.DateTimeField(help_text="the last reading, whatever came of it")
    read_at = models.DateTimeField(null=True, help_text="the last reading without a problem")
    newest_at = models.DateTimeField(help_text="the newest time in it")
    problem = models.CharField(max_length=500, blank=True, help_text="what is wrong with it")
    problem_since = models.DateTimeField(null=True)
    paused_until = models.DateTimeField(null=True, help_text="when it may be read again, as GitHub has ordered")


class StreamGap(models.Model):
    """Between these times, entries of the stream were missed: the polls find these gists."""

    since = models.DateTimeField()
    until = models.DateTimeField(db_index=True)
    reason = models.CharField(max_length=500)


class Hint(models.Model):
    """An entry of the stream about a tracked person: who published or updated a gist. It is used once."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="hints")
    github_id = models.CharField(max_length=64, help_text="of the gist")
    updated_at = models.DateTimeField(help_text="of the gist, as the stream shows it")
    hinted_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["github_id", "updated_at", "person"], name="hint_unique")]


class GitHubIdField(models.Model):
    """Pipedrive's custom field of persons that holds the GitHub id. One row at most; see sync.crm.github_field."""

    key = models.CharField(max_length=64, blank=True)
    problem = models.CharField(max_length=500, blank=True, help_text="why there is no field")
    checked_at = models.DateTimeField(null=True)
    create_started_at = models.DateTimeField(null=True, help_text="when a run began to create it")


class Alarm(models.Model):
    """A problem that sync.health.judge found, from when it began until it ended; see sync.health.alarms."""

    class Severity(models.TextChoices):
        PAGE = "page"  # people are not polled, or gists not pushed: call someone now
        TICKET = "ticket"  # the rest works: look at it in working hours

    code = models.CharField(max_length=60, help_text="what is wrong, for programs")
    # The code while the problem lasts, NULL afterwards: each problem has one open alarm.
    open_code = models.CharField(max_length=60, null=True, blank=True, unique=True)
    severity = models.CharField(max_length=10, choices=Severity.choices)
    message = models.TextField(help_text="what is wrong, for which reasons, and what to do; without names")
    people = models.ManyToManyField(Person, related_name="alarms", help_text="some of the people concerned")
    raised_at = models.DateTimeField(db_index=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    # When NOTIFY_URL has accepted the notification that it began, or ended; and when it may be tried again.
    raise_sent_at = models.DateTimeField(null=True, blank=True)
    resolve_sent_at = models.DateTimeField(null=True, blank=True)
    next_send_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    @property
    def named_message(self) -> str:
        """The message, and the names of the people who are still tracked."""
        names = ", ".join(map(str, self.people.all()))
        return f"{self.message}\nPeople: {names}" if names else self.message
