"""Numbers about the sync, from the database alone: for sync_status, and for whoever watches the service."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.core.cache import cache
from django.db.models import Count, Min

from people.models import Gist, Person
from sync.claims import Clock
from sync.models import ROUND_TRIGGERS, SUCCESSFUL_OUTCOMES, SyncRun

MAX_REJECTED = 20


@dataclass(frozen=True)
class Counted:
    """What takes a look at every row, or at many."""

    people: dict[str, int]
    gists: dict[str, int]
    runs: dict[str, int]
    oldest_poll_at: datetime | None
    oldest_backlog_at: datetime | None


@dataclass(frozen=True)
class Status:
    """How the sync is doing at `now`. Backlog: gists whose activity is still to be made or looked for."""

    now: datetime
    last_run: SyncRun | None
    last_successful_run: SyncRun | None  # of those for everybody: one for a single person proves nothing
    counted: Counted
    rejected: list[Gist] = field(default_factory=list)  # the newest

    @property
    def age(self) -> timedelta | None:
        """Since the last good run ended."""
        ended = self.last_successful_run and self.last_successful_run.finished_at
        return self.now - ended if ended else None

    @property
    def backlog(self) -> int:
        return self.counted.gists[Gist.PushState.PENDING] + self.counted.gists[Gist.PushState.STARTED]

    def as_json(self) -> dict[str, Any]:
        age = self.age
        return {
            "last_run": self.last_run and run_as_json(self.last_run),
            "last_successful_run": self.last_successful_run and run_as_json(self.last_successful_run),
            "age_seconds": round(age.total_seconds()) if age is not None else None,
            "people": self.counted.people,
            "gists": self.counted.gists,
            "backlog": self.backlog,
            "oldest_backlog_at": _text(self.counted.oldest_backlog_at),
            "oldest_poll_at": _text(self.counted.oldest_poll_at),
            "rejected": [
                {"person": gist.person.github_username, "gist": gist.github_id, "reason": gist.push_error}
                for gist in self.rejected
            ],
            "limits": self.last_run.limits if self.last_run else {},
        }


def status(clock: Clock, *, counted_within: int = 0) -> Status:
    """The same few statements, however many people and gists there are.

    `counted_within`: counts may be as old as that, in seconds, so that any number of dashboards costs the same.
    """
    rejected = Gist.objects.filter(push_state=Gist.PushState.REJECTED).select_related("person").order_by("-id")
    good = SyncRun.objects.filter(outcome__in=SUCCESSFUL_OUTCOMES, trigger__in=ROUND_TRIGGERS)
    return Status(
        now=clock(),
        last_run=SyncRun.objects.order_by("-id").first(),
        last_successful_run=good.order_by("-finished_at").first(),
        counted=_recently_counted(counted_within) if counted_within else _count(),
        rejected=list(rejected[:MAX_REJECTED]),
    )


def _recently_counted(within: int) -> Counted:
    counted: Counted | None = cache.get("counted")
    if counted is None:
        counted = _count()
        cache.set("counted", counted, within)
    return counted


def _count() -> Counted:
    by_state = Person.objects.order_by().values("state").annotate(number=Count("pk"), oldest=Min("polled_at"))
    people = {row["state"]: row for row in by_state}
    active = people.get(Person.State.ACTIVE, {"oldest": None})
    return Counted(
        people={state: people.get(state, {"number": 0})["number"] for state in Person.State.values},
        gists=_numbers(Gist.PushState.values, Gist.objects, "push_state"),
        runs=_numbers(SyncRun.Outcome.values, SyncRun.objects, "outcome"),
        oldest_poll_at=active["oldest"],
        oldest_backlog_at=Gist.objects.unfinished().aggregate(oldest=Min("created_at"))["oldest"],
    )


def run_as_json(run: SyncRun) -> dict[str, Any]:
    return {
        "id": run.pk,
        "trigger": run.trigger,
        "started_at": _text(run.started_at),
        "finished_at": _text(run.finished_at),
        "outcome": run.outcome,
        "counts": run.counts,
        "limits": run.limits,
        "problems": run.errors.splitlines(),
        "host": run.host,
        "version": run.version,
    }


def _numbers(kinds: list[str], rows: Any, column: str) -> dict[str, int]:
    counted = dict(rows.order_by().values_list(column).annotate(Count("pk")))
    return {kind: counted.get(kind, 0) for kind in kinds}


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
