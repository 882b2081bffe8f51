"""/metrics: the status in Prometheus' text format, from the database, so that every replica tells the same."""

from collections.abc import Iterator
from datetime import datetime

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from rest_framework.request import Request

from people.api.base import ApiView
from people.api.permissions import HasMetricsAccess
from sync.api.status import COUNTED_WITHIN
from sync.claims import database_clock
from sync.models import SyncRun
from sync.status import Status, status


class Metrics(ApiView):
    """What Prometheus scrapes."""

    permission_classes = [HasMetricsAccess]

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        registry = CollectorRegistry()
        registry.register(StatusCollector(status(database_clock(), counted_within=COUNTED_WITHIN)))
        return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class StatusCollector(Collector):
    def __init__(self, now: Status) -> None:
        self.now = now

    def collect(self) -> Iterator[GaugeMetricFamily]:
        now, last, good = self.now, self.now.last_run, self.now.last_successful_run
        ended = seconds(good.finished_at if good else None)
        yield single(
            "last_run_timestamp_seconds", "when the last run began", seconds(last.started_at if last else None)
        )
        yield single("last_success_timestamp_seconds", "when the last good run ended", ended)
        yield single("last_run_duration_seconds", "how long the last run took", duration(last))
        yield single("last_run_refused", "1 if the last run was refused for a token or setting", refused(last))
        yield by("runs", "outcome", "runs of the last 90 days", now.counted.runs)
        yield by("people", "state", "people who are tracked", now.counted.people)
        yield by("gists", "push_state", "gists that are stored", now.counted.gists)
        yield single("oldest_poll_age_seconds", "of the longest unpolled", self._age(now.counted.oldest_poll_at))
        yield single("oldest_pending_age_seconds", "of the oldest backlog", self._age(now.counted.oldest_backlog_at))
        limits = last.limits if last else {}
        told = {api: row["remaining"] for api, row in limits.items() if row.get("remaining") is not None}
        yield by("api_requests_remaining", "api", "what the APIs told the last run", told)

    def _age(self, moment: datetime | None) -> float:
        return (self.now.now - moment).total_seconds() if moment else 0.0


def single(name: str, says: str, value: float | None) -> GaugeMetricFamily:
    """One number; none when there is nothing to tell yet."""
    family = GaugeMetricFamily(f"gisttracker_{name}", says)
    if value is not None:
        family.add_metric([], value)
    return family


def by(name: str, label: str, says: str, values: dict[str, float] | dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"gisttracker_{name}", says, labels=[label])
    for word, value in values.items():
        family.add_metric([word], value)
    return family


def seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None


def duration(run: SyncRun | None) -> float | None:
    return (run.finished_at - run.started_at).total_seconds() if run and run.finished_at else None


def refused(run: SyncRun | None) -> float:
    return float(bool(run and run.outcome == SyncRun.Outcome.MISCONFIGURED))
