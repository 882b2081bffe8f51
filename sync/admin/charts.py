"""Small bar charts as SVG: positions and sizes for the template, and the numbers as a table for screen readers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count
from django.db.models.functions import TruncDate

from people.models import Gist
from sync.models import ROUND_TRIGGERS, SyncRun
from sync.reasons import format_time

MAX_RUNS, MAX_DAYS = 30, 30
WIDTH, HEIGHT = 600, 120  # of the drawing area, in units of the SVG
FAILED = {SyncRun.Outcome.FAILED, SyncRun.Outcome.CRASHED, SyncRun.Outcome.MISCONFIGURED}
FAILURES = ("people_failed", "gists_rejected", "gists_unknown")  # counters of a run
GAP = 0.2  # of the width of a column


@dataclass(frozen=True)
class Bar:
    """A bar in a column; `title` is shown by the browser when the pointer is on it."""

    x: float
    y: float
    width: float
    height: float
    kind: str  # pushed, failed or new: the class in the style sheet
    title: str


@dataclass(frozen=True)
class Chart:
    """`line`: points of a line across the columns, with a scale of its own; "" if there is none."""

    title: str
    summary: str  # what the chart shows, in a sentence
    bars: list[Bar]
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    first: str  # labels below the first and the last column
    last: str
    line: str = ""
    width: int = WIDTH
    height: int = HEIGHT


def chart_runs() -> Chart:
    """The last runs for all people: created activities, failures, and how long each run took."""
    runs = list(SyncRun.objects.filter(trigger__in=ROUND_TRIGGERS).order_by("-id")[:MAX_RUNS])[::-1]
    pushed = [run.counts.get("gists_pushed") or 0 for run in runs]
    failed = [
        # A run that died has no count of what it did not do, and is shown as one failure.
        max(sum(run.counts.get(name) or 0 for name in FAILURES), int(run.outcome in FAILED))
        for run in runs
    ]
    minutes = [((run.finished_at or run.heartbeat_at) - run.started_at).total_seconds() / 60 for run in runs]
    middles = [(number + 0.5) * WIDTH / MAX_RUNS for number in range(len(runs))]
    heights = [HEIGHT - HEIGHT * duration / max([*minutes, 1e-9]) for duration in minutes]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(middles, heights, strict=True)) if len(runs) > 1 else ""
    highest = max([*pushed, *failed, 1])
    rows = [
        (format_time(run.started_at), run.get_outcome_display().lower(), str(new), str(bad), f"{duration:.1f}")
        for run, new, bad, duration in zip(runs, pushed, failed, minutes, strict=True)
    ]
    titles = ["{}: {}, {} pushed, {} failed, {} min".format(*row) for row in rows]
    return Chart(
        "The last 30 runs for all people",
        f"In one run at most: {max(pushed, default=0)} pushed, {max(failed, default=0)} failed, "
        f"{max(minutes, default=0):.1f} min.",
        [
            *_draw_bars(pushed, highest, "pushed", titles, part=0, parts=2),
            *_draw_bars(failed, highest, "failed", titles, part=1, parts=2),
        ],
        ("Started", "Outcome", "Pushed", "Failed", "Minutes"),
        rows,
        rows[0][0] if rows else "",
        rows[-1][0] if rows else "",
        line,
    )


def chart_gists(now: datetime) -> Chart:
    """The gists stored on each of the last days (UTC)."""
    first = (now - timedelta(days=MAX_DAYS - 1)).replace(hour=0, minute=0, second=0, microsecond=0)
    rows = Gist.objects.filter(created_at__gte=first).order_by().annotate(day=TruncDate("created_at"))
    counts = dict(rows.values_list("day").annotate(Count("pk")))
    days = [(first + timedelta(days=number)).date() for number in range(MAX_DAYS)]
    numbers = [counts.get(day, 0) for day in days]
    titles = [f"{day:%Y-%m-%d}: {number} new" for day, number in zip(days, numbers, strict=True)]
    return Chart(
        "New gists in the last 30 days",
        f"In total: {sum(numbers)}; on one day at most: {max(numbers)}.",
        _draw_bars(numbers, max([*numbers, 1]), "new", titles),
        ("Day (UTC)", "New gists"),
        [(f"{day:%Y-%m-%d}", str(number)) for day, number in zip(days, numbers, strict=True)],
        f"{days[0]:%Y-%m-%d}",
        f"{days[-1]:%Y-%m-%d}",
    )


def _draw_bars(
    values: Sequence[int], highest: int, kind: str, titles: Sequence[str], *, part: int = 0, parts: int = 1
) -> list[Bar]:
    """One bar for each value that is not zero; `part` of `parts` bars that share a column."""
    column = WIDTH / MAX_RUNS
    width = column * (1 - GAP) / parts
    bars = []
    for number, (value, title) in enumerate(zip(values, titles, strict=True)):
        if value:
            height = max(HEIGHT * value / highest, 2.0)  # A small value is still visible.
            x = number * column + column * GAP / 2 + part * width
            bars.append(Bar(round(x, 1), round(HEIGHT - height, 1), round(width, 1), round(height, 1), kind, title))
    return bars
