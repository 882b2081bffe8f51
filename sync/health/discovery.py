"""How new gists are found: what GitHub's stream has shown and missed, and how long a gist takes; of seven days.

Each gist that a poll finds tells whether the stream can be relied on; see sync.stream.set_discovery.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from statistics import median
from typing import Any

from django.conf import settings
from django.db.models import Count, Q
from django.utils.translation import ngettext

from people.models import Gist
from sync.models import StreamGap, StreamState
from sync.reasons import format_duration

PERIOD = timedelta(days=7)
MAX_SAMPLE = 2000  # gists: the newest of the period


@dataclass(frozen=True)
class Latency:
    """Seconds from the publication of a gist on GitHub; None without gists."""

    median: float | None = None
    p95: float | None = None

    @classmethod
    def of(cls, durations: list[timedelta]) -> "Latency":
        seconds = sorted(duration.total_seconds() for duration in durations)
        if not seconds:
            return cls()
        return cls(median(seconds), seconds[ceil(len(seconds) * 0.95) - 1])


@dataclass(frozen=True)
class Gap:
    """Entries of the stream that were missed; without an end while it lasts."""

    since: datetime
    until: datetime | None
    reason: str


@dataclass(frozen=True)
class StreamStatus:
    """`hinted` and `missed`: gists that the stream has shown, and those that it should have shown."""

    is_on: bool
    read_at: datetime | None = None  # the last reading without a problem
    newest_at: datetime | None = None  # the newest time in it
    problem: str = ""
    problem_since: datetime | None = None
    hinted: int = 0
    missed: int = 0
    gaps: list[Gap] = field(default_factory=list)  # the newest first
    stored: Latency = Latency()  # until a gist was stored
    pushed: Latency = Latency()  # until its activity was created

    @property
    def coverage(self) -> float | None:
        """The part of the gists that the stream has shown; None if there were none that it should have shown."""
        return self.hinted / (self.hinted + self.missed) if self.hinted + self.missed else None


def load_stream_status(now: datetime, *, with_details: bool = True) -> StreamStatus:
    """`with_details`: also the gaps and the latencies, and the counts if the stream is off."""
    if not settings.GITHUB_STREAM and not with_details:
        return StreamStatus(is_on=False)
    state = StreamState.objects.first() if settings.GITHUB_STREAM else None
    found = Gist.objects.filter(created_at__gte=now - PERIOD).exclude(discovery="").order_by()
    counts = found.aggregate(
        hinted=Count("pk", filter=Q(discovery=Gist.Discovery.STREAM)),
        missed=Count("pk", filter=Q(discovery=Gist.Discovery.MISSED)),
    )
    details = _load_details(now, state) if with_details else {}
    columns = ("read_at", "newest_at", "problem", "problem_since")
    known = {name: getattr(state, name) for name in columns} if state else {}
    return StreamStatus(settings.GITHUB_STREAM, **known, **counts, **details)


def _load_details(now: datetime, state: StreamState | None) -> dict[str, Any]:
    rows = StreamGap.objects.filter(until__gte=now - PERIOD).order_by("-until")[:20]
    gaps = [Gap(row.since, row.until, row.reason) for row in rows]
    if state and state.problem:
        gaps.insert(0, Gap(state.newest_at, None, state.problem))
    newest = Gist.objects.filter(created_at__gte=now - PERIOD).exclude(discovery="").order_by("-created_at")
    times = list(newest.values_list("github_created_at", "created_at", "pushed_at")[:MAX_SAMPLE])
    stored = Latency.of([stored_at - published_at for published_at, stored_at, _ in times])
    pushed = Latency.of([pushed_at - published_at for published_at, _, pushed_at in times if pushed_at])
    return {"gaps": gaps, "stored": stored, "pushed": pushed}


def describe_discovery(stream: StreamStatus) -> str:
    """ "211 of 212 new gists of tracked people were in it (99.5%); in Pipedrive after 44 s (95%: 1 min)".

    Of seven days.
    """
    parts = []
    if stream.coverage is not None:
        total = stream.hinted + stream.missed
        gists = ngettext("gist of a tracked person was", "gists of tracked people were", total)
        parts.append(f"{stream.hinted:,} of {total:,} new {gists} in it ({stream.coverage:.1%})")
    if stream.pushed.median is not None and stream.pushed.p95 is not None:
        usual, most = format_seconds(stream.pushed.median), format_seconds(stream.pushed.p95)
        parts.append(f"in Pipedrive after {usual} (95%: {most})")
    return "; ".join(parts) or "no tracked person has published in seven days"


def format_seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else format_duration(timedelta(seconds=seconds))
