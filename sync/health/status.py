"""The state of the sync, read from the database: for sync_status, the API and the metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db.models import Count, Min

from people.models import ApiKey, Gist, Person
from people.models.freshness import set_up_at
from sync.clients.pipedrive_limits import DailyTokens
from sync.clock import Clock
from sync.health.discovery import StreamStatus, load_stream_status
from sync.health.groups import group_pushes, group_trouble, load_groups
from sync.health.judge import judge
from sync.health.problems import Health
from sync.models import ROUND_TRIGGERS, ApiState, GitHubIdField, SyncRun
from sync.reasons import Group

MAX_REJECTED = 20
MAX_IN_TROUBLE = 20
BY_FAILURES = ("-failures", "-push_failures", "pk")
MAX_KEYS = 100
CACHE_SECONDS = 30  # Each process counts at most this often, however many dashboards ask it.
CACHE_KEY = "sync.health.status"


@dataclass(frozen=True)
class ApiLimit:
    """One API's rate limit at the end of a run. Empty for a run that has not ended."""

    remaining: float | None = None  # of GitHub: requests, as it reported last
    reset: float | None = None  # of GitHub: when they reset, in Unix time
    daily_tokens: DailyTokens | None = None  # of Pipedrive, as it reported last
    requests: int = 0  # sent in the run
    stopped: str = ""  # why the run stopped calling this API; "" if it did not
    resets_at: datetime | None = None  # when requests are possible again; None if unknown or if the run did not stop

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "ApiLimit":
        resets_at, tokens = row.get("resets_at"), row.get("daily_tokens")
        return cls(
            remaining=row.get("remaining"),
            reset=row.get("reset"),
            daily_tokens=DailyTokens(**tokens) if tokens else None,
            requests=row.get("requests") or 0,
            stopped=row.get("stopped") or "",
            resets_at=datetime.fromisoformat(resets_at).astimezone(UTC) if resets_at else None,
        )


@dataclass(frozen=True)
class RunLimits:
    github: ApiLimit
    pipedrive: ApiLimit

    @classmethod
    def from_json(cls, limits: Mapping[str, Any]) -> "RunLimits":
        """Parse the column `limits` of a run, which is empty while it goes on."""
        return cls(
            github=ApiLimit.from_json(limits.get("github") or {}),
            pipedrive=ApiLimit.from_json(limits.get("pipedrive") or {}),
        )

    def by_api(self) -> dict[str, ApiLimit]:
        return {"github": self.github, "pipedrive": self.pipedrive}


@dataclass(frozen=True)
class Counts:
    """Numbers that take a pass over many rows, and so may come from the cache. States without rows count 0."""

    people: dict[str, int]  # by Person.State
    gists: dict[str, int]  # by Gist.PushState
    runs: dict[str, int]  # by SyncRun.Outcome
    in_trouble: int  # people whose last poll or push failed
    people_in_trouble: list[Person]  # up to MAX_IN_TROUBLE of them, those with the most failures first
    trouble: list[Group]  # all of them by reason
    rejections: list[Group]  # the rejected gists by reason
    oldest_poll_at: datetime | None  # of the active people
    oldest_backlog_at: datetime | None  # since when the longest waiting gist waits for its activity
    stream: StreamStatus


@dataclass(frozen=True)
class Status:
    """The state of the sync at `now`."""

    now: datetime
    health: Health
    last_run: SyncRun | None
    last_successful_run: SyncRun | None  # of all people, and that did all of its work
    next_run_at: datetime  # when the next run for all people is expected
    counts: Counts
    limits: RunLimits  # of each API, as the last run that called it has left them; tokens of today only
    rejected: list[Gist] = field(default_factory=list)  # the newest MAX_REJECTED
    keys_with_end: list[ApiKey] = field(default_factory=list)  # valid API keys, the next one to end first
    expiring_keys: list[ApiKey] = field(default_factory=list)  # those of them that no other key replaces
    github_token_expires_at: datetime | None = None  # None if it does not end, or if no run has seen it
    github_field_problem: str = ""  # why there is no custom field for the GitHub id in Pipedrive

    @property
    def time_since_success(self) -> timedelta | None:
        """The time since the last successful run finished."""
        finished_at = self.last_successful_run and self.last_successful_run.finished_at
        return self.now - finished_at if finished_at else None

    @property
    def age_seconds(self) -> int | None:
        return round(self.time_since_success.total_seconds()) if self.time_since_success is not None else None

    @property
    def backlog(self) -> int:
        """The number of gists whose activity is not created yet, or whose push has an unknown outcome."""
        return self.counts.gists[Gist.PushState.PENDING] + self.counts.gists[Gist.PushState.STARTED]


def get_status(clock: Clock, *, use_cache: bool = False, age: timedelta | None = None) -> Status:
    """Read the status, with a number of statements that does not depend on the number of people and gists.

    `use_cache`: the health and the counts may be up to CACHE_SECONDS old. `age`: see sync.health.judge.judge.
    """
    now = clock()
    rejected = Gist.objects.filter(push_state=Gist.PushState.REJECTED).select_related("person").order_by("-id")
    rounds = SyncRun.objects.filter(trigger__in=ROUND_TRIGGERS).order_by("-id")
    last_round = rounds.first()
    health, counts = _get_cached(now) if use_cache else (judge(now, age), _count(now))
    last_run = SyncRun.objects.order_by("-id").first()
    last_successful_run = rounds.filter(outcome=SyncRun.Outcome.SUCCEEDED).first()
    load_groups(*[run for run in (last_run, last_successful_run) if run])
    states = {state.api.lower(): state for state in ApiState.objects.all()}
    limits = RunLimits.from_json({api: state.limit for api, state in states.items()})
    if (tokens := limits.pipedrive.daily_tokens) and not tokens.is_of(now):
        limits = replace(limits, pipedrive=replace(limits.pipedrive, daily_tokens=None))
    return Status(
        now=now,
        health=health,
        last_run=last_run,
        last_successful_run=last_successful_run,
        next_run_at=(last_round.started_at if last_round else set_up_at()) + settings.SYNC_INTERVAL,
        counts=counts,
        limits=limits,
        rejected=list(rejected[:MAX_REJECTED]),
        keys_with_end=list(ApiKey.objects.expiring()[:MAX_KEYS]),
        expiring_keys=list(ApiKey.objects.expiring().without_successor()[:MAX_KEYS]),
        github_token_expires_at=states["github"].token_expires_at if "github" in states else None,
        github_field_problem=GitHubIdField.objects.values_list("problem", flat=True).first() or "",
    )


def _get_cached(now: datetime) -> tuple[Health, Counts]:
    cached: tuple[Health, Counts] | None = cache.get(CACHE_KEY)
    if cached is None:
        cached = judge(now), _count(now)
        cache.set(CACHE_KEY, cached, CACHE_SECONDS)
    return cached


def _count(now: datetime) -> Counts:
    rows = Person.objects.order_by().values("state").annotate(number=Count("pk"), oldest_poll_at=Min("polled_at"))
    by_state = {row["state"]: row for row in rows}
    in_trouble = Person.objects.in_trouble()
    trouble = group_trouble(in_trouble)
    return Counts(
        people={state: by_state[state]["number"] if state in by_state else 0 for state in Person.State.values},
        gists=_count_by(Gist.objects, "push_state", Gist.PushState.values),
        runs=_count_by(SyncRun.objects, "outcome", SyncRun.Outcome.values),
        in_trouble=in_trouble.count() if trouble else 0,
        people_in_trouble=list(in_trouble.order_by(*BY_FAILURES)[:MAX_IN_TROUBLE]) if trouble else [],
        trouble=trouble,
        rejections=group_pushes(Gist.objects.filter(push_state=Gist.PushState.REJECTED)),
        oldest_poll_at=by_state[Person.State.ACTIVE]["oldest_poll_at"] if Person.State.ACTIVE in by_state else None,
        oldest_backlog_at=Gist.objects.unfinished().aggregate(oldest=Min("pending_since"))["oldest"],
        stream=load_stream_status(now),
    )


def _count_by(rows: Any, column: str, values: list[str]) -> dict[str, int]:
    counts = dict(rows.order_by().values_list(column).annotate(Count("pk")))
    return {value: counts.get(value, 0) for value in values}
