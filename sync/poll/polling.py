"""The polling of a run: who is polled next, and what to do with the outcomes. Called in the main thread."""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet

from gisttracker.common.database import retried
from people.models import Gist, Person, Suppressed
from people.models.suppressed import SuppressedAccounts
from sync.clients.boot_clock import boot_clock
from sync.clients.errors import CircuitOpenError, ConfigurationError, OutageError, RunStoppedError
from sync.clients.github import ANONYMOUS_REQUESTS_PER_HOUR, GitHubClient
from sync.context import RunContext
from sync.models import ApiState, Suspicion
from sync.poll.poll import Poll, Target, is_full_read_due, poll_person, read_on
from sync.poll.store import Polled, PollStore
from sync.steps import Outcome, Step
from sync.stream import RESERVED_WITHOUT_TOKEN
from sync.suspicions import OF_ACCOUNT

MAX_CHOSEN = 100  # people read at once
GROUP_SIZE, GROUP_SECONDS = 100, 0.3  # polls written together, and how long one waits for others
REQUESTS_OF_POLL = 2  # to GitHub, for most people at most: the profile and the list
MAX_GROUP_GISTS = 2000  # polled gists kept in memory before they are written


class Polling:
    """Chooses people, and stores their polls in groups. `get_due`: who is due now."""

    def __init__(self, context: RunContext, get_due: Callable[[], Q]) -> None:
        self.count = 0  # people polled so far
        self.is_over = False
        self._context, self._get_due = context, get_due
        self._chosen: deque[Any] = deque()  # people, with what was annotated
        self._running: dict[int, Polled] = {}
        self._done: dict[int, Polled] = {}  # not stored yet
        self._group_began_at = 0.0
        self._may_find = True  # False after a choice that has found fewer people than it may
        self._people_left = context.options.max_people or float("inf")
        self._may_spare = settings.GITHUB_STREAM and not (context.github.has_token or context.options.people)
        self._suppressed = SuppressedAccounts()
        self._store = PollStore(context)
        self._remaining_before = _load_remaining(context) if self._may_spare else 0.0

    @property
    def is_open(self) -> bool:
        return not self._context.github.api.circuit.error and not self._context.stopping.is_set()

    def advance(self, outcomes: list[Outcome], free: int, *, is_tick: bool) -> list[Step]:
        """Take these outcomes, and return the next steps for this many free threads."""
        steps = [step for outcome in outcomes for step in self._take(outcome)]
        if not self.is_open:
            self._chosen.clear()
        steps += self._begin_next(free - len(steps), is_tick=is_tick)
        if self._people_left <= 0:
            self._chosen.clear()
        is_last = not self._running and not self._chosen
        if self._done and (is_last or self._is_group_full()):
            self._save()
        self.is_over = is_last and not self._done and not (self._may_find and self.is_open and self._people_left > 0)
        return steps

    # --- choose ---
    def _begin_next(self, free: int, *, is_tick: bool) -> list[Step]:
        """Begin with the next people. The database is asked when no person waits: at first, for more, and at a tick."""
        steps: list[Step] = []
        while len(steps) < free and self.is_open and self._people_left > 0:
            # Requested people come first.
            if self._chosen and not self._chosen[0].sync_requested_at and self._is_sparing:
                if self._running:
                    break  # Their responses show what remains.
                self._chosen.clear()
            if not self._chosen and (self._may_find or is_tick):
                is_tick = False
                self._choose()
            if not self._chosen:
                break
            steps.append(self._begin(self._chosen.popleft()))
            self._people_left -= 1
        return steps

    @retried
    def _choose(self) -> None:
        """Requested people first, then by the time of the last attempt. Drops logins that were forgotten meanwhile."""
        suspicions = Suspicion.objects.filter(person=OuterRef("pk"), kind__in=OF_ACCOUNT)
        due: QuerySet[Any] = Person.objects.filter(self._get_due()).exclude(
            pk__in=[*self._running, *self._done, *self._store.left]
        )
        due = due.annotate(is_suspected=Exists(suspicions), some_are_suppressed=Exists(Suppressed.objects.all()))
        first = due.filter(sync_requested_at__isnull=False).order_by("sync_requested_at", "pk")
        found = list(first[:MAX_CHOSEN])
        if len(found) < MAX_CHOSEN and not self._is_sparing:
            found += _longest_unpolled(due)[: MAX_CHOSEN - len(found)]
        self._may_find = len(found) == MAX_CHOSEN
        suppressed: set[str] = set()
        if found and found[0].some_are_suppressed:
            new = [person.github_username for person in found if person.github_id is None]
            suppressed, self._suppressed = Suppressed.objects.find_logins(new), Suppressed.objects.accounts()
        self._store.erase([person for person in found if person.username_key in suppressed])
        self._chosen = deque(person for person in found if person.username_key not in suppressed)

    def has_people_left(self) -> bool:
        """Has --max-people left out people who are due, or did too few requests remain for them?"""
        return (self._people_left <= 0 or self._is_sparing) and self.count_left() > 0

    @property
    def _is_sparing(self) -> bool:
        """Without a token, the last requests of an hour are for the stream, and for requested and hinted people."""
        if not self._may_spare:
            return False
        github = self._context.github
        remaining = github.remaining.get("remaining")
        if remaining is None and github.api.circuit.has_succeeded:
            return False  # This GitHub Enterprise Server has no limit.
        known = self._remaining_before if remaining is None else remaining
        return known - REQUESTS_OF_POLL * len(self._running) <= RESERVED_WITHOUT_TOKEN

    @retried
    def count_left(self) -> int:
        return Person.objects.filter(self._get_due()).order_by().count()

    def _begin(self, person: Any) -> Step:
        context, now = self._context, self._context.clock()
        read_all = context.options.full or is_full_read_due(person, now)
        etag = person.etag if person.etag_scope == context.github.etag_scope else ""
        target = Target(person.github_username, person.github_id, etag, read_all, self._suppressed)
        self._running[person.pk] = Polled(person, target, now, is_suspected=person.is_suspected)
        return Step(partial(poll_person, target, context.github), person.pk, "poll")

    # --- outcomes ---
    def _take(self, outcome: Outcome) -> list[Step]:
        """Keep the outcome of a person for the next group, or return a further step for the person."""
        polled = self._running.pop(outcome.step.person or 0)
        if isinstance(outcome.error, CircuitOpenError | RunStoppedError):
            if self.is_open:  # The process was suspended, so the lease was over for a moment.
                self._may_find = True
            return []  # The person stays due, in this run or the next.
        polled.poll, polled.error = outcome.result, outcome.error
        further = find_further_step(polled.target, outcome.result, self._context.github) if outcome.result else None
        if further:
            self._running[polled.person.pk] = polled
            return [Step(further, polled.person.pk, "poll")]
        self.count += 1
        self._done[polled.person.pk] = polled
        self._group_began_at = self._group_began_at or boot_clock()
        return []

    def _is_group_full(self) -> bool:
        gists = sum(len(polled.poll.gists) for polled in self._done.values() if polled.poll)
        is_late = boot_clock() - self._group_began_at >= GROUP_SECONDS
        return is_late or len(self._done) >= GROUP_SIZE or gists >= MAX_GROUP_GISTS

    def _save(self) -> None:
        done, self._done = list(self._done.values()), {}
        self._group_began_at = 0.0
        self._store.save(done)
        self._may_find |= self._store.has_new_requests
        self._store.has_new_requests = False

    @property
    def stores_at(self) -> float:
        """A time of boot_clock(): when a group of polls has waited long enough for others."""
        return self._group_began_at + GROUP_SECONDS if self._done else float("inf")

    def has_news(self) -> bool:
        """Have gists been stored since the last call?"""
        has_news, self._store.has_news = self._store.has_news, False
        return has_news

    def end(self) -> None:
        """After the last outcome: a service that is wrong, or refused all, judges no person."""
        self._store.end()
        if isinstance(self._context.github.api.circuit.error, ConfigurationError | OutageError):
            self._store.take_back_failures()


@retried
def _load_remaining(context: RunContext) -> float:
    """How many requests of this hour remain without a token, as the run before has left it."""
    limit = ApiState.objects.filter(api=context.github.api.name).values_list("limit", flat=True).first() or {}
    is_over = (limit.get("reset") or 0) <= context.clock().timestamp()
    return float(ANONYMOUS_REQUESTS_PER_HOUR if is_over else limit.get("remaining") or 0)


@retried
def find_further_step(target: Target, poll: Poll, github: GitHubClient) -> Callable[[], Poll] | None:
    """Read on if the last page of a list that goes on had something new."""
    if poll.last_page is None:
        return None
    ids = [gist.id for gist in poll.last_page.gists]
    if not poll.last_page.unreadable_gists and Gist.objects.filter(github_id__in=ids).count() == len(ids):
        return None
    return partial(read_on, target, poll, github)


def _longest_unpolled(due: QuerySet[Any]) -> QuerySet[Any]:
    return due.filter(sync_requested_at=None).order_by("attempted_at", "pk")
