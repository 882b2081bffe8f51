"""The problems of runs, and the trouble on the rows of people and gists, by reason.

All are grouped by SQL first, then sorted by the number of people and gists, and then cut. The reasons name no person
and no gist (see sync.clients.transport), so that the same reason is the same text.
"""

from collections import defaultdict
from typing import Any

from django.db.models import (
    Case,
    Count,
    DateTimeField,
    F,
    IntegerField,
    Max,
    Min,
    Q,
    QuerySet,
    Sum,
    Value,
    When,
    Window,
)
from django.db.models.functions import Coalesce, DenseRank, RowNumber

from people.models import Gist, Person
from sync.models import Problem, SyncRun
from sync.reasons import Group

MAX_GROUPS = 100
MAX_NAMES = 20  # people of a group
NOT_POLLED, NOT_PUSHED = Value("no run has polled them"), Value("no run has pushed them")
NEVER = Value(None, DateTimeField())
HAS_POLL_FAILED = Q(failures__gt=0)
OF_PERSON = {"who": F("pk"), "login": F("github_username"), "what": Value(None, IntegerField())}
OF_GIST = {"who": F("person"), "login": F("person__github_username"), "what": F("pk")}
Code = Problem.Code


def load_groups(*runs: SyncRun) -> None:
    """Set `groups` of these runs to their problems."""
    columns = {**OF_GIST, "what": F("gist"), "times": F("count"), "first_at": NEVER, "last_at": NEVER}
    groups = _group(Problem.objects.filter(run__in=runs).annotate(**columns))
    for run in runs:
        run.groups = groups[run.pk]


def group_trouble(people: QuerySet[Person]) -> list[Group]:
    """Why the last poll of these people failed, or else the last push."""
    columns = {
        "code": _poll_or(Value(Code.POLL), Value(Code.PUSH)),
        "reason": _poll_or("last_error", F("push_error")),
        "first_at": _poll_or("failing_since", F("push_failing_since")),
        "last_at": _poll_or("attempted_at", F("push_attempted_at")),
    }
    return _group_rows(people, **OF_PERSON, **columns)


def group_polls(people: QuerySet[Person]) -> list[Group]:
    """Why these people were not polled."""
    columns = {"reason": _poll_or("last_error", NOT_POLLED), "last_at": _poll_or("attempted_at", NEVER)}
    first_at = Coalesce("failing_since", "polled_at", "created_at")
    return _group_rows(people, **OF_PERSON, **columns, code=Value(Code.POLL), first_at=first_at)


def group_gone(people: QuerySet[Person]) -> list[Group]:
    columns = {
        "code": Value(Code.PERSON),
        "reason": F("last_error"),
        "first_at": F("state_changed_at"),
        "last_at": NEVER,
    }
    return _group_rows(people, **OF_PERSON, **columns)


def group_pushes(gists: QuerySet[Gist]) -> list[Group]:
    """Why these gists were not pushed: for a reason of their own, or of their person."""
    is_own, is_of_person = ~Q(push_error=""), ~Q(person__push_error="")
    columns = {
        "code": Case(When(is_own, Value(Code.GIST)), default=Value(Code.PUSH)),
        "reason": Case(When(is_own, "push_error"), When(is_of_person, "person__push_error"), default=NOT_PUSHED),
        "first_at": Coalesce("person__push_failing_since", "pending_since"),
        "last_at": Case(When(is_own | is_of_person, "person__push_attempted_at")),
    }
    return _group_rows(gists, **OF_GIST, **columns)


def _poll_or(of_poll: Any, default: Any) -> Case:
    return Case(When(HAS_POLL_FAILED, of_poll), default=default)


def _group_rows(rows: QuerySet[Any], **columns: Any) -> list[Group]:
    return _group(rows.annotate(run=Value(0), times=Value(1), **columns))[0]


def _group(rows: QuerySet[Any]) -> dict[int, list[Group]]:
    """The groups by run. Two statements; one if there are none."""
    keys = ("run", "code", "reason")
    numbers = {"people": Count("who", distinct=True), "gists": Count("what", distinct=True), "count": Sum("times")}
    times = {"first": Min("first_at"), "last": Max("last_at")}
    totals = rows.order_by().values(*keys).annotate(**numbers, **times, met_first=Min("pk"))
    groups: defaultdict[int, list[Group]] = defaultdict(list)
    names: dict[tuple[int, str, str], dict[int, str]] = {}
    for row in totals.order_by("-people", "-gists", "met_first"):
        run, _ = row.pop("run"), row.pop("met_first")
        if len(groups[run]) < MAX_GROUPS:
            # A database may ignore the case when it groups.
            of_group = names.setdefault((run, row["code"], row["reason"].casefold()), {})
            groups[run].append(Group(**row, names=of_group))
    if names:
        group = [F(key) for key in keys]
        person = Window(DenseRank(), partition_by=group, order_by="who")
        row_of_person = Window(RowNumber(), partition_by=[*group, F("who")])  # DISTINCT takes MariaDB far longer.
        ranked = rows.order_by().annotate(person_rank=person, row_rank=row_of_person).filter(who__isnull=False)
        first = ranked.filter(person_rank__lte=MAX_NAMES, row_rank=1).order_by("who")
        for run, code, reason, who, login in first.values_list(*keys, "who", "login"):
            names.get((run, code, reason.casefold()), {})[who] = login
    return groups
