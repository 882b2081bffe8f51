"""The hint: GitHub lists all public gists of all accounts, so a tracked person's gist shows within a minute or two.

Each run reads this stream at its start and once a minute while it works. For an entry of a tracked owner that is not
stored like that, the person's sync is requested, once. Nothing else follows from it: polls, evidence and pushes stay as
they are, so a stream that lies, lags, repeats or stops costs latency only. The gists and owners of strangers are
dropped in memory: they are never stored, and never logged.

How much is read: what was updated since the newest time seen minus OVERLAP, because entries appear late, in any order,
up to a page that is not full and names no next one, or that shows only what was updated before (a server that ignores
`since`).

Whether the stream can be relied on shows in the gists that polls find: see `set_discovery`.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise

from django.conf import settings
from django.db import transaction

from gisttracker.common.database import lock_free, retried
from gisttracker.config.logs import redact
from people.models import Gist, Person, Suppressed
from people.models.freshness import MAX_CLOCK_ERROR
from sync.clients.boot_clock import boot_clock
from sync.clients.errors import (
    CircuitOpenError,
    LeaseLostError,
    NotFoundError,
    RejectedError,
    RetryNextRunError,
    RunStoppedError,
)
from sync.clients.github import ANONYMOUS_REQUESTS_PER_HOUR, PAGE_SIZE, GitHubClient, StreamEntry, stream_url
from sync.clock import Clock
from sync.models import Hint, StreamGap, StreamState
from sync.steps import Outcome, Step, ask

log = logging.getLogger(__name__)
ROW = 1
OVERLAP = timedelta(minutes=10)  # Entries that appear up to five minutes late were seen.
READ_EVERY = timedelta(seconds=55)  # a minute, less what a scheduler may be early
READ_EVERY_WITHOUT_TOKEN = timedelta(minutes=5)
MAX_PAGES = 30  # of 100 gists: GitHub lists no more
MAX_PAGES_WITHOUT_TOKEN = 3  # so that the stream takes 36 of the 60 requests of an hour at most
RESERVED_WITHOUT_TOKEN = 40  # requests of an hour, for the stream and for hinted people
MAX_SECONDS = 60.0  # of a reading, which a run waits for; a page may take up to a minute and a half more
MAX_HINTED = 400  # people of one reading: they are polled within a minute, and leave requests for others
MAX_PAUSE = timedelta(hours=1)  # that GitHub may order; its limits are those of an hour
MAX_SILENCE = timedelta(minutes=30)  # GitHub's users publish several gists a minute
MISSING = "GitHub does not offer its stream of public gists (404). If that is right, set GITHUB_STREAM=false."
IN_FUTURE = "GitHub's stream of public gists shows only times in the future: a clock is wrong."
REPEATED = "GitHub's stream of public gists repeats the same entries."
SILENT = "GitHub's stream of public gists shows nothing for more than half an hour."
UNREADABLE = "GitHub's stream of public gists could not be read (%s)."
UNREADABLE_ENTRIES = "GitHub's stream of public gists has entries that cannot be read."
SLOW = "GitHub's stream of public gists takes longer than a minute."
CROWDED = "GitHub's stream of public gists shows too many tracked people at once; the others follow."
FULL = "GitHub's stream of public gists has more entries than could be read."


@dataclass(frozen=True)
class Reading:
    """What the stream has shown. `problem`: why it was not read to its end; `is_full`: it may go on."""

    began_at: datetime
    entries: tuple[StreamEntry, ...] = ()
    problem: str = ""
    is_full: bool = False
    is_missing: bool = False
    paused_until: datetime | None = None  # GitHub's rate limit


def read_stream(github: GitHubClient, since: datetime, began_at: datetime, max_pages: int) -> Reading:
    """Read what was updated since then. A step: it uses no database. RunStoppedError if the run is stopping."""
    entries: dict[tuple[str, datetime], StreamEntry] = {}
    url, deadline = stream_url(since), boot_clock() + MAX_SECONDS
    try:
        for number in range(1, max_pages + 1):
            page = github.get_stream_page(url)
            found = {(entry.id, entry.updated_at): entry for entry in page.entries}
            is_new = not found.keys() <= entries.keys()
            entries |= found
            if page.size and not page.entries:
                return Reading(began_at, tuple(entries.values()), problem=UNREADABLE_ENTRIES)
            if not page.size or (page.size < PAGE_SIZE and not page.next_url):
                return Reading(began_at, tuple(entries.values()))
            if not is_new:
                return Reading(began_at, tuple(entries.values()), problem=REPEATED)
            if all(entry.updated_at < since for entry in page.entries):
                return Reading(began_at, tuple(entries.values()))
            if boot_clock() > deadline:
                return Reading(began_at, tuple(entries.values()), problem=SLOW)
            url = page.next_url or stream_url(since, number + 1)  # The link may be lost on the way.
    except NotFoundError:
        return Reading(began_at, tuple(entries.values()), problem=MISSING, is_missing=True)
    except (RejectedError, RetryNextRunError, CircuitOpenError) as error:
        paused_until = error.resets_at if isinstance(error, CircuitOpenError) else None
        return Reading(began_at, tuple(entries.values()), problem=redact(str(error))[:500], paused_until=paused_until)
    return Reading(began_at, tuple(entries.values()), is_full=True)


class Stream:
    """The readings of one run. Its methods are called in the main thread; `ask` of the steps is not."""

    def __init__(self, github: GitHubClient, clock: Clock, *, is_on: bool = True) -> None:
        self.people_hinted = 0
        self.writing: Callable[[], AbstractContextManager[None]] = transaction.atomic  # a run sets that of its lease
        self._github, self._clock = github, clock
        self._is_on = is_on and settings.GITHUB_STREAM
        self._is_running = False
        self._began_at: datetime | None = None  # the last reading of this run, whatever came of it
        self._state: StreamState | None = None
        self._kept: Reading | None = None  # that was asked for before the run began

    @property
    def is_running(self) -> bool:
        """Is a reading going on, or not stored yet?"""
        return self._is_running or self._kept is not None

    def look(self) -> bool:
        """Read it before a run is opened. True: it has hints, which that run stores."""
        step = self._begin()
        reading = self._take(ask(step)) if step else None
        if reading:
            self._process(self._keep, reading)
        return self._kept is not None

    def advance(self, outcomes: list[Outcome], *, is_tick: bool) -> list[Step]:
        """Store these readings, and return the next step if one is due."""
        readings = [self._kept, *[self._take(outcome) for outcome in outcomes]]
        self._kept = None
        for reading in readings:
            if reading:
                self._process(self._write, reading)
        step = self._begin() if is_tick and not self._is_running else None
        return [step] if step else []

    # --- read ---
    def _begin(self) -> Step | None:
        if not self._is_on or self._github.stream_api.circuit.error:
            return None
        now = self._clock()
        state = self._state = self._state or _load_state(now)
        every = READ_EVERY if self._github.has_token else READ_EVERY_WITHOUT_TOKEN
        attempts = [state.attempted_at, self._began_at or state.attempted_at]
        is_paused = state.paused_until is not None and now < state.paused_until <= now + MAX_PAUSE
        if is_paused or any(now - every < attempt <= now + MAX_CLOCK_ERROR for attempt in attempts):
            return None
        self._is_running, self._began_at = True, now
        pages = MAX_PAGES if self._github.has_token else MAX_PAGES_WITHOUT_TOKEN
        since = min(state.newest_at, now) - OVERLAP
        return Step(partial(read_stream, self._github, since, now, pages), None, "stream")

    def _take(self, outcome: Outcome) -> Reading | None:
        """None: the run is stopping."""
        self._is_running = False
        reading: Reading | None = outcome.result
        if outcome.error and not isinstance(outcome.error, RunStoppedError):
            # Its message may have what the stream shows of strangers.
            reading = Reading(self._began_at or self._clock(), problem=UNREADABLE % type(outcome.error).__name__)
        if reading and reading.is_missing:
            self._is_on = False  # It is not asked for again in this run.
        return reading

    # --- store ---
    @staticmethod
    def _process(write: Callable[[Reading], None], reading: Reading) -> None:
        """Whatever goes wrong with a hint, the run goes on without it."""
        try:
            retried(write)(reading)
        except LeaseLostError:
            raise
        except Exception:
            log.exception("The hints of GitHub's stream could not be stored; polls go on")

    def _keep(self, reading: Reading) -> None:
        """For a run, which stores it, if it has hints."""
        if self._find_hints(reading):
            self._kept = reading
        else:
            self._state = self._store_state(reading)

    def _write(self, reading: Reading) -> None:
        with self.writing():
            hints = self._find_hints(reading)
            people = sorted({hint.person_id for hint in hints})
            if len(people) > MAX_HINTED:
                reading = replace(reading, problem=CROWDED, is_full=False)  # So the next one begins where it began.
            count, state = self._hint(hints, people[:MAX_HINTED]), self._store_state(reading)
        self.people_hinted, self._state = self.people_hinted + count, state

    def _hint(self, hints: list[Hint], people: list[int]) -> int:
        if not people:
            return 0
        now, active = self._clock(), Person.objects.filter(pk__in=people, state=Person.State.ACTIVE)
        free = lock_free(active)  # The others are hinted by the next reading.
        # MySQL does not tell ids apart that differ in case only.
        Hint.objects.bulk_create([hint for hint in hints if hint.person_id in free], ignore_conflicts=True)
        return Person.objects.filter(pk__in=free).update(sync_requested_at=now)

    def _find_hints(self, reading: Reading) -> list[Hint]:
        """The entries of tracked people that are not stored like that, and were not used yet."""
        owners = {entry.owner.id for entry in reading.entries if entry.owner}
        active = Person.objects.filter(state=Person.State.ACTIVE, github_id__in=owners)
        people = {person.github_id or 0: person.pk for person in active.only("github_id")} if owners else {}
        if people:
            people = {key: people[key] for key in people.keys() - Suppressed.objects.find_github_ids(people)}
        found = {
            (people[entry.owner.id], entry.id, entry.updated_at)
            for entry in reading.entries
            if entry.owner and entry.owner.id in people
        }
        if not found:
            return []
        ids = {github_id for _, github_id, _ in found}
        stored = dict(Gist.objects.filter(github_id__in=ids).values_list("github_id", "github_updated_at"))
        hints = Hint.objects.filter(person__in={person for person, _, _ in found}, github_id__in=ids)
        used = {
            (person, key.lower(), time) for person, key, time in hints.values_list("person", "github_id", "updated_at")
        }
        return [
            Hint(person_id=person, github_id=github_id, updated_at=updated_at, hinted_at=reading.began_at)
            for person, github_id, updated_at in sorted(found)
            if (person, github_id.lower(), updated_at) not in used
            if github_id not in stored or stored[github_id] < updated_at
        ]

    # --- how far it was read ---
    def _store_state(self, reading: Reading) -> StreamState | None:
        """Returns the new one. None: another process has read it meanwhile, and knows better."""
        state = copy(self._state) or _load_state(reading.began_at)
        before, problem = state.attempted_at, state.problem
        gaps = move_on(state, reading, is_sparse=self._github.is_of_one_company)
        columns = {column.name: getattr(state, column.name) for column in StreamState._meta.concrete_fields}
        with transaction.atomic():
            if not StreamState.objects.filter(pk=ROW, attempted_at=before).update(**columns):
                return None
            StreamGap.objects.bulk_create(gaps)
        if state.problem not in ("", problem):
            log.warning("The stream of public gists: %s", state.problem)
        return state


@retried
def _load_state(now: datetime) -> StreamState:
    """A stream that was never read is read from now on."""
    state = StreamState.objects.filter(pk=ROW).first()
    if state is None:
        long_ago = now - timedelta(days=1)
        begun = {"first_read_at": now, "attempted_at": long_ago, "newest_at": now}
        state, _ = StreamState.objects.get_or_create(pk=ROW, defaults=begun)
    return state


def move_on(state: StreamState, reading: Reading, *, is_sparse: bool) -> list[StreamGap]:
    """Change the state, and return the gaps that are left behind. `is_sparse`: a stream that may be silent for long."""
    now, times = reading.began_at, {entry.updated_at for entry in reading.entries}
    past = sorted(time for time in times if time <= now + MAX_CLOCK_ERROR)
    newest_before = min(state.newest_at, now)
    newest = max([newest_before, *past])
    silences: list[tuple[datetime, datetime]] = []
    problem, since = reading.problem, now
    if reading.is_full:
        problem = FULL
    elif not problem and times and not past:
        problem = IN_FUTURE
    elif not problem and not is_sparse:
        moments = [newest_before, *[time for time in past if time > newest_before], now]
        silences = [(first, second) for first, second in pairwise(moments) if second - first > MAX_SILENCE]
        if silences and silences[-1][1] == now:
            problem, (since, _) = SILENT, silences.pop()
    if not problem or reading.is_full:
        state.read_at = now
    if not reading.problem:
        state.newest_at = newest
    state.problem_since = (state.problem_since if problem == state.problem else since) if problem else None
    state.problem, state.attempted_at = problem, now
    state.first_read_at = min(state.first_read_at, now)
    state.paused_until = min(reading.paused_until, now + MAX_PAUSE) if reading.paused_until else None
    full = [(newest_before, newest)] if reading.is_full else []
    return [StreamGap(since=since, until=until, reason=FULL if full else SILENT) for since, until in full + silences]


def requests_for_polls_without_token() -> int:
    """An hour; the others are reserved for the stream and for hinted people."""
    return ANONYMOUS_REQUESTS_PER_HOUR - (RESERVED_WITHOUT_TOKEN if settings.GITHUB_STREAM else 0)


def set_discovery(gists: Iterable[Gist]) -> None:
    """How these new gists of tracked people were found, which shows whether the stream can be relied on.

    One that a poll has found although the stream should have shown it, long enough ago, was missed.
    """
    found = [gist for gist in gists if _was_tracked(gist.person, gist.github_created_at)]
    for gist in found:
        gist.discovery = Gist.Discovery.POLL
    state = StreamState.objects.filter(pk=ROW).first() if found else None
    if state is None:
        return
    hints = Hint.objects.filter(
        person__in={gist.person_id for gist in found}, github_id__in=[gist.github_id for gist in found]
    )
    hinted = set(hints.values_list("github_id", flat=True))
    gaps = list(StreamGap.objects.filter(until__gte=min(gist.github_created_at for gist in found)))
    for gist in found:
        published = gist.github_created_at
        is_covered = state.read_at is not None and state.first_read_at <= published <= state.read_at - OVERLAP
        if gist.github_id in hinted:
            gist.discovery = Gist.Discovery.STREAM
        elif is_covered and not any(gap.since <= published <= gap.until for gap in gaps):
            gist.discovery = Gist.Discovery.MISSED


def _was_tracked(person: Person, moment: datetime) -> bool:
    """Could the stream have hinted at the person then? It knows no one who was never polled, or was paused."""
    since = max(person.created_at, person.state_changed_at or person.created_at)
    return person.polled_at is not None and person.state == Person.State.ACTIVE and since < moment
