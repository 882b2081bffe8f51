"""/metrics: the status in Prometheus' text format, read from the database, so that all replicas report the same."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from rest_framework.request import Request

from people.api.base import ApiView
from people.api.permissions import HasMetricsAccess
from sync.clock import database_clock
from sync.health.problems import Code, HealthState
from sync.health.status import Status, get_status
from sync.models import SyncRun


class MetricsView(ApiView):
    required_permissions = {"get": "sync.view_syncrun"}
    permission_classes = [HasMetricsAccess]

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        registry = CollectorRegistry()
        registry.register(StatusCollector(get_status(database_clock(), use_cache=True)))
        return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class StatusCollector(Collector):
    def __init__(self, status: Status) -> None:
        self.status = status

    def collect(self) -> Iterator[GaugeMetricFamily]:
        counts, last, successful = self.status.counts, self.status.last_run, self.status.last_successful_run
        yield gauge(
            "last_run_timestamp_seconds", "when the last run started", to_timestamp(last.started_at if last else None)
        )
        yield gauge(
            "last_success_timestamp_seconds",
            "when the last successful run finished",
            to_timestamp(successful.finished_at if successful else None),
        )
        yield gauge("last_run_duration_seconds", "how long the last run took", duration_seconds(last))
        is_healthy = self.status.health.state != HealthState.UNHEALTHY
        yield gauge("healthy", "0 if someone must act now: see gisttracker_problem", float(is_healthy))
        problems = {problem.code for problem in self.status.health.problems}
        yield gauge_by("problem", "code", "1 for each problem", {code: float(code in problems) for code in Code})
        yield gauge_by("runs", "outcome", "runs of the last 90 days", counts.runs)
        yield gauge_by("people", "state", "tracked people", counts.people)
        yield gauge_by("gists", "push_state", "stored gists", counts.gists)
        yield gauge(
            "oldest_poll_age_seconds", "since the least recently polled person's poll", self._age(counts.oldest_poll_at)
        )
        yield gauge(
            "oldest_pending_age_seconds",
            "how long the longest waiting gist has waited",
            self._age(counts.oldest_backlog_at),
        )
        yield from self._stream()
        yield self._key_expiry()
        yield gauge(
            "github_token_expiry_timestamp_seconds",
            "when GITHUB_TOKEN ends; without a value if it does not",
            to_timestamp(self.status.github_token_expires_at),
        )
        remaining = {
            api: limit.remaining for api, limit in self.status.limits.by_api().items() if limit.remaining is not None
        }
        yield gauge_by("api_requests_remaining", "api", "requests that were left at the end of the last run", remaining)
        tokens = self.status.limits.pipedrive.daily_tokens
        limit, left = (tokens.limit, tokens.remaining) if tokens else (None, None)
        yield gauge("pipedrive_daily_tokens_limit", "API tokens of the Pipedrive company for today (UTC)", limit)
        yield gauge("pipedrive_daily_tokens_remaining", "those of them that are left", left)

    def _stream(self) -> Iterator[GaugeMetricFamily]:
        stream = self.status.counts.stream
        yield gauge("stream_coverage", "part of new gists that GitHub's stream showed, 7 days", stream.coverage)
        yield gauge("stream_read_timestamp_seconds", "the last good reading of it", to_timestamp(stream.read_at))
        name, description = "gisttracker_gist_latency_seconds", "from publication until stored or pushed, 7 days"
        family = GaugeMetricFamily(name, description, labels=["until", "quantile"])
        for until, latency in (("stored", stream.stored), ("pushed", stream.pushed)):
            for quantile, seconds in (("0.5", latency.median), ("0.95", latency.p95)):
                if seconds is not None:
                    family.add_metric([until, quantile], seconds)
        yield family

    def _key_expiry(self) -> GaugeMetricFamily:
        description = "when a valid API key ends; keys without an end are left out"
        name = "gisttracker_api_key_expiry_timestamp_seconds"
        family = GaugeMetricFamily(name, description, labels=["consumer", "prefix"])
        for key in self.status.keys_with_end:
            if key.expiry_date:
                family.add_metric([key.consumer.name, key.prefix], key.expiry_date.timestamp())
        return family

    def _age(self, moment: datetime | None) -> float:
        return (self.status.now - moment).total_seconds() if moment else 0.0


def gauge(name: str, description: str, value: float | None) -> GaugeMetricFamily:
    """Return a gauge with one value, or without values if it is None."""
    family = GaugeMetricFamily(f"gisttracker_{name}", description)
    if value is not None:
        family.add_metric([], value)
    return family


def gauge_by(name: str, label: str, description: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    """Return a gauge with one value for each value of the label."""
    family = GaugeMetricFamily(f"gisttracker_{name}", description, labels=[label])
    for label_value, value in values.items():
        family.add_metric([label_value], value)
    return family


def to_timestamp(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None


def duration_seconds(run: SyncRun | None) -> float | None:
    return (run.finished_at - run.started_at).total_seconds() if run and run.finished_at else None
