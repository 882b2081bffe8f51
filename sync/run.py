"""One run of the sync: claim -> poll -> store -> push -> record -> release.

Batches of people go through all of that together; network calls run in threads, the database stays in this one.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta

from django.db.models import F, Q

from people.models import Gist, Person
from sync import claims as due
from sync.claims import Claims, Clock
from sync.errors import (
    ApiEndedError,
    LeaseLostError,
    RunStoppedError,
    SyncError,
)
from sync.github import GitHubClient
from sync.models import SyncRun
from sync.pipedrive import PipedriveClient
from sync.poll import Poll, is_full_pass_due, poll_person
from sync.push import Push
from sync.steps import Steps, drive
from sync.store import Store

log = logging.getLogger(__name__)
BATCH = 100  # people
STORE_AT = 2000  # polled gists kept in memory before they are written


@dataclass(frozen=True)
class Options:
    """What this run is to do."""

    people: tuple[str, ...] = ()
    concurrency: int = 8
    backfill: str = "all"
    activity_type: str = "task"
    activity_done: bool = True
    reconcile_after_seconds: int = 120
    lease_seconds: int = 600


@dataclass
class Report:
    """What the run did. `problems`: at most a hundred lines about what went wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def problem(self, line: str) -> None:
        log.warning("%s", line)
        if len(self.problems) < 100 and line not in self.problems:
            self.problems.append(line)


class Run:
    """One run with its leases. `progress` is called with the number of people done since the last call."""

    def __init__(
        self,
        record: SyncRun,
        options: Options,
        github: GitHubClient,
        pipedrive: PipedriveClient,
        *,
        clock: Clock,
        stopping: threading.Event,
        progress: Callable[[int], object] = lambda people: None,
    ) -> None:
        self.record, self.options = record, options
        self.github, self.pipedrive = github, pipedrive
        self.clock, self.stopping, self.progress = clock, stopping, progress
        self.report = Report()
        self.claims = Claims(record.token, options.lease_seconds, clock)
        self.store = Store(self.claims, github.etag_scope, options.backfill)
        self.push = Push(
            pipedrive,
            self.claims,
            clock,
            timedelta(seconds=options.reconcile_after_seconds),
            options.activity_type,
            options.activity_done,
            self.report.counts,
            self.stop_if_told,
        )
        self._beat_at = 0.0

    def __call__(self) -> Report:
        """Take people until none is due. Errors of people and gists are in the report and on their rows."""
        try:
            with ThreadPoolExecutor(self.options.concurrency, "sync") as pool:
                for people in self._batches(self._due_for_poll, lambda: not self.github.api.ended):
                    self._poll(people, pool)
                    self._push(people, pool)
                    self.claims.release(person.pk for person in people)
                    self.progress(len(people))
                for people in self._batches(self._due_for_push, lambda: not self.pipedrive.api.ended):
                    self._push(people, pool)
                    self.claims.release(person.pk for person in people)
        finally:
            self.claims.release()
        for api in (self.github.api, self.pipedrive.api):
            if api.ended:
                self.report.problem(str(api.ended))
        return self.report

    def _due_for_poll(self) -> Q:
        if self.options.people:
            return due.named(self.options.people, self.record.started_at)
        return due.due_for_poll(self.record.round_started_at, self.clock())

    def _due_for_push(self) -> Q:
        chosen = due.due_for_push(self.record.round_started_at)
        return chosen & due.with_names(self.options.people) if self.options.people else chosen

    def _batches(self, which: Callable[[], Q], going: Callable[[], bool]) -> Iterator[list[Person]]:
        while going() and not self.stopping.is_set() and (people := self.claims.take(which(), BATCH)):
            yield people

    # --- poll and store ---
    def _poll(self, people: list[Person], pool: ThreadPoolExecutor) -> None:
        polls: list[Poll] = []
        stories = (self._poll_one(person, polls) for person in people)
        drive(stories, pool, self.options.concurrency, self._tick)
        self._store(polls)

    def _poll_one(self, person: Person, polls: list[Poll]) -> Steps[None]:
        full = is_full_pass_due(person, self.clock())
        try:
            poll = yield from poll_person(person, self.github, full=full, stop=self.stop_if_told)
        except (ApiEndedError, RunStoppedError):
            return  # Not attempted: its turn stays.
        except Exception as error:  # Whatever it is, it is this person's trouble and nobody else's.
            self.store.failure(person, self._reason(person, error), self.clock())
            return
        polls.append(poll)
        if sum(len(one.gists) for one in polls) >= STORE_AT:
            self._store(polls)

    def _store(self, polls: list[Poll]) -> None:
        if polls:
            self.store.polls(polls, self.clock(), self.report.counts)
            polls.clear()

    # --- push ---
    def _push(self, people: list[Person], pool: ThreadPoolExecutor) -> None:
        """Those of them who have something to push. Read anew, since storing may have changed them."""
        states = [Gist.PushState.PENDING, Gist.PushState.STARTED]
        busy = Gist.objects.filter(person__in=people, push_state__in=states).order_by().values("person")
        chosen = list(Person.objects.filter(pk__in=busy, lease_holder=self.record.token))
        if self.pipedrive.api.ended or not chosen:
            return
        drive((self._push_one(person) for person in chosen), pool, self.options.concurrency, self._tick)
        Person.objects.filter(pk__in=[person.pk for person in chosen]).update(push_attempted_at=self.clock())

    def _push_one(self, person: Person) -> Steps[None]:
        try:
            yield from self.push.person(person)
        except (ApiEndedError, RunStoppedError, LeaseLostError):
            return
        except Exception as error:  # As above.
            reason = self._reason(person, error)[:500]
            Person.objects.filter(pk=person.pk).update(failures=F("failures") + 1, last_error=reason)

    def _reason(self, person: Person, error: Exception) -> str:
        """Count and report a person's failure; what to write on its row."""
        if isinstance(error, SyncError):
            reason = str(error)
        else:
            reason = f"An unexpected {type(error).__name__}; the log has its traceback."
            log.error("%s: unexpected", person, exc_info=error)
        self.report.counts["people_failed"] += 1
        self.report.problem(f"{person}: {reason}")
        return reason

    # --- time ---
    def stop_if_told(self) -> None:
        if self.stopping.is_set():
            raise RunStoppedError("the run was told to stop")

    def _tick(self) -> None:
        """Keep the leases, and show that this run lives, three times in a lease."""
        if time.monotonic() >= self._beat_at:
            self._beat_at = time.monotonic() + self.options.lease_seconds / 3
            self.claims.renew()
            SyncRun.objects.filter(pk=self.record.pk).update(heartbeat_at=self.clock())
