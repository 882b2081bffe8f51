"""The fields of runs and of the status. `sync_status --json` prints the same."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from people.models import ApiKey, Gist, Person
from sync.health.discovery import Gap, Latency, StreamStatus
from sync.health.problems import Code, Health, HealthProblem, HealthState
from sync.health.status import ApiLimit, RunLimits, Status
from sync.models import Alarm, Problem, PushAttempt, SyncRun
from sync.reasons import Group


def _count_field(help_text: str) -> serializers.IntegerField:
    """A counter of a run. A row without it (the run is still going on) counts 0."""
    return serializers.IntegerField(read_only=True, default=0, help_text=help_text)


class RunCountsSerializer(serializers.Serializer[dict[str, int]]):
    """The counters of a run."""

    people_hinted = _count_field("people with a hint from GitHub's stream of public gists")
    people_polled = _count_field("people whose gists were read, or were unchanged")
    people_unchanged = _count_field("polled people without changes (GitHub responded 304)")
    people_gone = _count_field("people whose GitHub account does not exist any more")
    people_conflict = _count_field("people whose login or account belongs to another tracked person")
    people_failed = _count_field("people whose poll or push failed")
    gists_new = _count_field("gists stored for the first time")
    gists_edited = _count_field("stored gists that were edited on GitHub")
    gists_removed = _count_field("stored gists that GitHub does not list any more")
    gists_skipped = _count_field("new gists that the person's backfill choice does not include")
    gists_pushed = _count_field("activities created")
    activities_edited = _count_field("activities updated after an edit of the gist")
    gists_found = _count_field("pushes with an unknown outcome whose activity was found in Pipedrive")
    gists_retried = _count_field("pushes with an unknown outcome that created no activity, and are pushed again")
    gists_unknown = _count_field("pushes whose outcome is unknown")
    gists_rejected = _count_field("gists that Pipedrive rejected")


class DailyTokensSerializer(serializers.Serializer[Any]):
    """The API tokens of a Pipedrive company for a day, which all of its users and integrations share."""

    day = serializers.DateField(help_text="in UTC")
    remaining = serializers.IntegerField()
    limit = serializers.IntegerField(allow_null=True)


class ApiLimitSerializer(serializers.Serializer[ApiLimit]):
    """One API's rate limit at the end of a run."""

    remaining = serializers.IntegerField(
        allow_null=True, help_text="GitHub: remaining requests of the hour, as it reported last; Pipedrive: null"
    )
    reset = serializers.IntegerField(allow_null=True, help_text="GitHub: when it ends, in Unix time; Pipedrive: null")
    daily_tokens = DailyTokensSerializer(
        allow_null=True, help_text="Pipedrive: as it reported last; in the status null unless they are of today"
    )
    requests = serializers.IntegerField(help_text="requests that the run sent")
    stopped = serializers.CharField(allow_blank=True, help_text="why the run stopped calling this API, if it did")
    resets_at = serializers.DateTimeField(allow_null=True, help_text="when requests are possible again, if known")


class RunLimitsSerializer(serializers.Serializer[RunLimits]):
    github = ApiLimitSerializer()
    pipedrive = ApiLimitSerializer()


class GroupSerializer(serializers.Serializer[Group]):
    """What is wrong for the same reason. The reason names no person."""

    code = serializers.ChoiceField(
        choices=Problem.Code.choices,
        help_text="what failed; person: a remark about a person, run: the run or an API as a whole",
    )
    reason = serializers.CharField()
    count = serializers.IntegerField(help_text="how often it was met")
    people_count = serializers.IntegerField(source="people")
    people = serializers.SerializerMethodField(help_text="up to twenty of them")
    gists = serializers.IntegerField(help_text="how many of their gists it is about")
    first = serializers.DateTimeField(allow_null=True, help_text="since when; null for the problems of a run")
    last = serializers.DateTimeField(allow_null=True, help_text="when it was tried last")

    def get_people(self, group: Group) -> list[str]:
        return list(group.names.values())


class SyncRunSerializer(serializers.ModelSerializer[SyncRun]):
    """One run of sync_gists."""

    counts = RunCountsSerializer(read_only=True)
    limits = serializers.SerializerMethodField(help_text="the rate limits of both APIs at the end of the run")
    problems = GroupSerializer(source="groups", many=True, help_text="what went wrong, by reason; at most a hundred")

    class Meta:
        model = SyncRun
        fields = [
            "id",
            "trigger",
            "started_at",
            "finished_at",
            "outcome",
            "counts",
            "limits",
            "problems",
            "host",
            "version",
        ]
        read_only_fields = fields

    @extend_schema_field(RunLimitsSerializer)
    def get_limits(self, run: SyncRun) -> dict[str, Any]:
        return dict(RunLimitsSerializer(RunLimits.from_json(run.limits)).data)


class PushAttemptSerializer(serializers.ModelSerializer[PushAttempt]):
    """One request that should create, update or delete the activity of a gist."""

    run = serializers.IntegerField(source="run_id", allow_null=True, read_only=True, help_text="the run that sent it")

    class Meta:
        model = PushAttempt
        fields = [
            "id",
            "run",
            "attempted_at",
            "kind",
            "outcome",
            "status",
            "message",
            "duration",
            "activity_id",
        ]
        read_only_fields = fields


class PeopleCountsSerializer(serializers.Serializer[dict[str, int]]):
    """The number of people in each state."""

    new = serializers.IntegerField()
    active = serializers.IntegerField()
    gone = serializers.IntegerField()
    conflict = serializers.IntegerField()
    paused = serializers.IntegerField()


class GistCountsSerializer(serializers.Serializer[dict[str, int]]):
    """The number of gists in each push state."""

    pending = serializers.IntegerField()
    started = serializers.IntegerField()
    pushed = serializers.IntegerField()
    rejected = serializers.IntegerField()
    skipped = serializers.IntegerField()


class RejectedGistSerializer(serializers.Serializer[Gist]):
    person = serializers.CharField(source="person.github_username")
    gist = serializers.CharField(source="github_id")
    reason = serializers.CharField(source="push_error", allow_blank=True)


class PersonInTroubleSerializer(serializers.Serializer[Person]):
    """A person whose last poll or push failed."""

    person = serializers.CharField(source="github_username")
    failures = serializers.IntegerField(help_text="failed polls in a row")
    push_failures = serializers.IntegerField(help_text="failed pushes in a row")
    last_error = serializers.CharField(allow_blank=True, help_text="why the last poll failed")
    push_error = serializers.CharField(allow_blank=True, help_text="why the last push failed")
    polled_at = serializers.DateTimeField(allow_null=True, help_text="the last successful poll")


class HealthProblemSerializer(serializers.Serializer[HealthProblem]):
    """Something that is wrong with the service, and its one cause."""

    code = serializers.ChoiceField(choices=[(code.value, code.name) for code in Code])
    severity = serializers.ChoiceField(choices=Alarm.Severity.choices, help_text="page: call someone now")
    summary = serializers.CharField(help_text="what is wrong, and why")
    action = serializers.CharField(allow_blank=True, help_text="what to do")
    since = serializers.DateTimeField(allow_null=True)
    reasons = GroupSerializer(source="groups", many=True, help_text="the people and gists that it is about")


class HealthSerializer(serializers.Serializer[Health]):
    """healthy; degraded: single people in trouble, or something that will matter later; unhealthy: act now."""

    state = serializers.ChoiceField(choices=[(state.value, state.name) for state in HealthState])
    problems = HealthProblemSerializer(many=True, help_text="the most severe first")


class LatencySerializer(serializers.Serializer[Latency]):
    """Seconds from the publication of a gist on GitHub; null if there were none."""

    median = serializers.FloatField(allow_null=True)
    p95 = serializers.FloatField(allow_null=True, help_text="the 95th percentile")


class StreamGapSerializer(serializers.Serializer[Gap]):
    """Entries of the stream were missed; polls find these gists."""

    since = serializers.DateTimeField()
    until = serializers.DateTimeField(allow_null=True, help_text="null while it lasts")
    reason = serializers.CharField()


class StreamSerializer(serializers.Serializer[StreamStatus]):
    """GitHub's stream of all public gists, which hints at new ones. Of the last seven days."""

    enabled = serializers.BooleanField(source="is_on")
    read_at = serializers.DateTimeField(allow_null=True, help_text="the last reading without a problem")
    newest_at = serializers.DateTimeField(allow_null=True, help_text="the newest time in it")
    problem = serializers.CharField(allow_blank=True, help_text="why it cannot be relied on at the moment")
    problem_since = serializers.DateTimeField(allow_null=True)
    hinted = serializers.IntegerField(help_text="new gists that it has shown")
    missed = serializers.IntegerField(help_text="new gists that it should have shown, and that polls have found")
    coverage = serializers.FloatField(allow_null=True, help_text="hinted / (hinted + missed); null without any")
    gaps = StreamGapSerializer(many=True, help_text="the newest first")
    stored = LatencySerializer(help_text="until a gist was stored; of the newest 2,000")
    pushed = LatencySerializer(help_text="until its activity was created; of the newest 2,000")


class ExpiringKeySerializer(serializers.Serializer[ApiKey]):
    """A valid API key that ends."""

    consumer = serializers.CharField(source="consumer.name")
    prefix = serializers.CharField()
    expires_at = serializers.DateTimeField(source="expiry_date")


class StatusSerializer(serializers.Serializer[Status]):
    """The state of the sync. The counts of people and gists may be up to 30 seconds old."""

    health = HealthSerializer()
    last_run = SyncRunSerializer(allow_null=True)
    last_successful_run = SyncRunSerializer(
        allow_null=True, help_text="among the runs for all people, the last one that did all of its work"
    )
    next_run_at = serializers.DateTimeField(
        help_text="when the next run for all people is expected; the first one: within an interval of the set-up"
    )
    age_seconds = serializers.IntegerField(allow_null=True, help_text="since the last successful run finished")
    people = PeopleCountsSerializer(source="counts.people")
    gists = GistCountsSerializer(source="counts.gists")
    backlog = serializers.IntegerField(help_text="gists that are pending or started")
    oldest_backlog_at = serializers.DateTimeField(source="counts.oldest_backlog_at", allow_null=True)
    oldest_poll_at = serializers.DateTimeField(source="counts.oldest_poll_at", allow_null=True)
    stream = StreamSerializer(source="counts.stream")
    expiring_keys = ExpiringKeySerializer(
        many=True, help_text="valid API keys that end and that no other key replaces, the next one first"
    )
    github_token_expires_at = serializers.DateTimeField(
        allow_null=True, help_text="when GITHUB_TOKEN ends; null if it does not, or if no run has used it yet"
    )
    github_field_problem = serializers.CharField(
        allow_blank=True, help_text="why there is no field for the GitHub id in Pipedrive; empty if there is one"
    )
    in_trouble = serializers.IntegerField(source="counts.in_trouble", help_text="people whose last poll or push failed")
    people_in_trouble = PersonInTroubleSerializer(
        source="counts.people_in_trouble", many=True, help_text="twenty of them, those with the most failures first"
    )
    trouble = GroupSerializer(source="counts.trouble", many=True, help_text="people in trouble by reason")
    rejections = GroupSerializer(source="counts.rejections", many=True, help_text="rejected gists by reason")
    rejected = RejectedGistSerializer(many=True, help_text="the newest twenty rejected gists")
    limits = RunLimitsSerializer(help_text="the rate limits of each API, as the last run that called it left them")
