"""What a run would do, found out by reading only: nothing is claimed, written or sent to Pipedrive.

And what its pushes would cost there: activities, API tokens and days. An estimate, known before the first push.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any

from django.db.models import Count, Q
from django.utils import timezone

from gisttracker.common.backfill import includes
from people.models import Gist, Person, Suppressed
from sync.clients.errors import CircuitOpenError, RunStoppedError, SyncError
from sync.clients.github import GitHubClient
from sync.clients.pipedrive import PAGE_SIZE, TOKENS
from sync.poll.poll import Poll, Target, is_full_read_due, poll_person
from sync.poll.polling import find_further_step
from sync.push.directory import max_persons, pays
from sync.run.workers import Workers
from sync.steps import Outcome, Step

# Of a whole run: the activity types, the fields of persons, the newest persons (two pages) and activities.
RUN_TOKENS = TOKENS["get_activity_types"] + 4 * TOKENS["list"]
# To compare the activities of a given Pipedrive person with its gists.
MATCH_TOKENS = TOKENS["list"] + 2 * TOKENS["get"]


@dataclass(frozen=True)
class Forecast:
    """What a run would do for one person, or, without a person, the problem that prevents it."""

    line: str
    person: Person | None = None
    new_activities: int = 0  # of gists that are not stored yet


def forecast_run(due: Q, github: GitHubClient, *, backfill: str, concurrency: int, full: bool) -> Iterator[Forecast]:
    """Poll all people who are due; yields one forecast for each person, and one for an API that cannot be called."""
    outcomes: SimpleQueue[Outcome] = SimpleQueue()
    waiting = Person.objects.filter(due).order_by("attempted_at", "pk").iterator(chunk_size=100)
    running: dict[int, tuple[Person, Target]] = {}
    suppressed = Suppressed.objects.accounts()
    with Workers("dry-run", concurrency, outcomes) as workers:
        while True:
            while workers.free and not github.api.circuit.error and (person := next(waiting, None)):
                etag = person.etag if person.etag_scope == github.etag_scope else ""
                read_all = full or is_full_read_due(person, timezone.now())
                target = Target(person.github_username, person.github_id, etag, read_all, suppressed)
                running[person.pk] = person, target
                workers.begin(Step(partial(poll_person, target, github), person.pk))
            if not running:
                break
            outcome = outcomes.get()
            workers.free += 1
            person, target = running[outcome.step.person or 0]
            further = find_further_step(target, outcome.result, github) if outcome.result else None
            if further:
                workers.begin(Step(further, person.pk))
                continue
            del running[person.pk]
            if not isinstance(outcome.error, CircuitOpenError | RunStoppedError):
                yield _forecast(person, outcome, backfill)
    if github.api.circuit.error:
        yield Forecast(str(github.api.circuit.error))


def _forecast(person: Person, outcome: Outcome, backfill: str) -> Forecast:
    if outcome.error:
        if not isinstance(outcome.error, SyncError):
            raise outcome.error
        return Forecast(f"{person}: {outcome.error}")
    poll: Poll = outcome.result
    if poll.is_suppressed:
        return Forecast(f"{person}: asked not to be tracked, so it would be removed", person=person)
    if poll.gone_because:
        return Forecast(f"{person}: {poll.gone_because}", person=person)
    known = set(Gist.objects.filter(person=person).values_list("github_id", flat=True))
    new = [gist for gist in poll.gists if gist.id not in known]
    choice = person.backfill or backfill
    pending = sum(includes(choice, gist.created_at, person.created_at) for gist in new)
    activities = pending + Gist.objects.unfinished().filter(person=person).count()
    line = (
        f"{person}: would store {len(new)} new {'gist' if len(new) == 1 else 'gists'} "
        f"and create {activities} {'activity' if activities == 1 else 'activities'}"
    )
    return Forecast(line, person=person, new_activities=pending)


# --- the cost ---
@dataclass(frozen=True)
class Linking:
    """How `people` get their Pipedrive persons. `persons`: how many the CRM has at least, as far as is known."""

    people: int = 0
    persons: int = 0

    @property
    def max_persons(self) -> int:
        """Up to how many all persons are read once. More cost more than the searches."""
        return max_persons(self.people)

    @property
    def reads_all(self) -> bool:
        return pays(self.people, self.persons)

    @property
    def api_tokens(self) -> int:
        created = self.people * TOKENS["create"]
        if self.reads_all:
            return created + -(-max(self.persons, 1) // PAGE_SIZE) * TOKENS["list"]
        return created + self.people * 3 * TOKENS["search"]  # by GitHub id, e-mail and name

    def __str__(self) -> str:
        """Which way they are linked; empty if no person needs a link."""
        if not self.people:
            return ""
        people = "1 person needs" if self.people == 1 else f"{self.people} people need"
        searched = f"up to {3 * TOKENS['search']} tokens each"
        if not self.reads_all:
            return f"{people} a Pipedrive person: each is searched for, {searched}."
        return (
            f"{people} a Pipedrive person: all persons are read once, {TOKENS['list']} tokens for each {PAGE_SIZE}. "
            f"With more than {self.max_persons} persons in Pipedrive each is searched for, {searched}."
        )


@dataclass(frozen=True)
class Cost:
    """`days` at most PIPEDRIVE_DAILY_ACTIVITIES a day; 1 if that is unlimited, 0 if there is nothing to create."""

    activities: int
    api_tokens: int
    days: int
    linking: Linking = field(default_factory=Linking)

    def as_dict(self) -> dict[str, Any]:
        """`linking`: how many people need a Pipedrive person, and whether all persons are read for them."""
        linking = {"people": self.linking.people, "reads_all_persons": self.linking.reads_all}
        return {"activities": self.activities, "api_tokens": self.api_tokens, "days": self.days, "linking": linking}

    def __str__(self) -> str:
        activities = "1 activity" if self.activities == 1 else f"{self.activities} activities"
        days = f", {self.days} days" if self.days > 1 else ""
        return f"{activities}, about {self.api_tokens} tokens of Pipedrive's daily API budget{days}"


def estimate_costs(new: Mapping[int, int], people: Q, daily_limit: int) -> dict[str, Cost]:
    """What a run will cost: for new gists (their number by person), for the backlog of these people, and together."""
    backlog = count_backlog(people)
    parts = {"new gists": new, "backlog": backlog, "total": Counter(new) + Counter(backlog)}
    return {name: estimate(activities, daily_limit) for name, activities in parts.items()}


def estimate(activities: Mapping[int, int], daily_limit: int) -> Cost:
    """The cost of pushing this many gists of these people, by their primary keys."""
    people = {pk: number for pk, number in activities.items() if number}
    total = sum(people.values())
    if not total:
        return Cost(0, 0, 0)
    rows = Person.objects.filter(pipedrive_id__isnull=False).values_list("pk", "pipedrive_id", "pipedrive_matched_at")
    linked, greatest = [], 0
    for pk, pipedrive_id, matched_at in rows.iterator():
        greatest = max(greatest, pipedrive_id or 0)
        linked += [matched_at] if pk in people else []
    linking = Linking(len(people) - len(linked), greatest)
    tokens = RUN_TOKENS + total * TOKENS["create"] + linking.api_tokens + linked.count(None) * MATCH_TOKENS
    return Cost(total, tokens, -(-total // daily_limit) if daily_limit else 1, linking)


def count_backlog(people: Q) -> dict[int, int]:
    """How many stored gists of these people wait for their activity, by person."""
    backlog: Any = Gist.objects.unfinished().filter(person__in=Person.objects.filter(people)).order_by()
    return dict(backlog.values_list("person").annotate(Count("pk")))
