"""One run of the sync: claim -> poll -> store -> push -> record -> release.

Batches of people go through all of that together; network calls run in threads, the database stays in this one.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import F, Q

from people.models import Person
from sync import claims as due
from sync.budget import Budget
from sync.claims import Claims, Clock
from sync.clients.errors import CircuitOpenError, LeaseLostError, RunStoppedError, SyncError
from sync.clients.github import GitHubClient
from sync.clients.pipedrive import PipedriveClient
from sync.models import SyncRun
from sync.poll import Poll, is_full_pass_due, poll_person
from sync.push import Push
from sync.reconcile import Reconciler
from sync.runs import running
from sync.steps import Steps, drive
from sync.store import Store
from sync.summary import Report

log = logging.getLogger(__name__)
BATCH = 100  # people
MINUTE = 60.0  # seconds
STORE_AT = 2000  # polled gists kept in memory before they are written


@dataclass(frozen=True)
class Options:
    """What this run is to do. For the `most_...`, 0 means any number."""

    people: tuple[str, ...] = ()
    requested_only: bool = False
    full: bool = False
    most_people: int = 0
    most_activities: int = 0
    most_activities_a_day: int = 0
    most_minutes: int = 0
    concurrency: int = 8
    backfill: str = "all"
    activity_type: str = "task"
    activity_done: bool = True
    push_edits: bool = False
    reconcile_after_seconds: int = 120
    lease_seconds: int = 600


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
        settle = timedelta(seconds=options.reconcile_after_seconds)
        self.push = Push(
            pipedrive=pipedrive,
            claims=self.claims,
            clock=clock,
            reconciler=Reconciler(pipedrive, self.claims, clock, settle, self.report.counts),
            budget=Budget(clock, per_run=options.most_activities, per_day=options.most_activities_a_day),
            activity_type=options.activity_type,
            activity_done=options.activity_done,
            edits=options.push_edits,
            counts=self.report.counts,
            stop=self.stop_if_told,
            problem=self.report.problem,
        )
        self._type_checked = False
        self._beat_at = 0.0
        self._ends_at = time.monotonic() + options.most_minutes * MINUTE if options.most_minutes else float("inf")

    def __call__(self) -> Report:
        """Take people until none is due. Errors of people and gists are in the report and on their rows."""
        try:
            with ThreadPoolExecutor(self.options.concurrency, "sync") as pool:
                for people in self._to_poll():
                    self._poll(people, pool)
                    self._push(people, pool)
                    self._release(people)
                    self.progress(len(people))
                for people in self._to_push():
                    self._push(people, pool)
                    self._release(people)
        finally:
            self.claims.release()
        for api in (self.github.api, self.pipedrive.api):
            if api.ended:
                self.report.problem(str(api.ended))
        return self.report

    # --- who ---
    def _to_poll(self) -> Iterator[list[Person]]:
        left = self.options.most_people or float("inf")
        while left and self._goes_on(self.github.api.ended):
            people = self.claims.take(self._due_for_poll(), int(min(BATCH, left)))
            if not people:
                return
            left -= len(people)
            yield people
        self.report.cut_short |= not left

    def _to_push(self) -> Iterator[list[Person]]:
        """People with something to push whom the poll left out: it was ended, or their turn is tomorrow."""
        if self.options.requested_only or self.report.cut_short:
            return
        while self._goes_on(self.pipedrive.api.ended) and (people := self.claims.take(self._due_for_push(), BATCH)):
            yield people

    def _due_for_poll(self) -> Q:
        if self.options.people:
            return due.named(self.options.people, self.record.started_at)
        if self.options.requested_only:
            return due.requested()
        return due.due_for_poll(self.record.round_started_at, self.clock())

    def _due_for_push(self) -> Q:
        chosen = due.due_for_push(self.record.round_started_at, edits=self.options.push_edits)
        return chosen & due.with_names(self.options.people) if self.options.people else chosen

    def _goes_on(self, ended: CircuitOpenError | None) -> bool:
        return not ended and not self.stopping.is_set()

    def _release(self, people: list[Person]) -> None:
        self.claims.release(person.pk for person in people)
        self._beat()

    # --- poll and store ---
    def _poll(self, people: list[Person], pool: ThreadPoolExecutor) -> None:
        polls: list[Poll] = []
        stories = (self._poll_one(person, polls) for person in people)
        drive(stories, pool, self.options.concurrency, self._tick)
        self._store(polls)

    def _poll_one(self, person: Person, polls: list[Poll]) -> Steps[None]:
        began = self.clock()
        full = self.options.full or is_full_pass_due(person, began)
        try:
            poll = yield from poll_person(person, self.github, now=began, full=full, stop=self.stop_if_told)
        except (CircuitOpenError, RunStoppedError):
            return  # Not attempted: its turn stays.
        except Exception as error:  # Whatever it is, it is this person's trouble and nobody else's.
            self.store.failure(person, self._reason(person, error), began)
            return
        if poll.reason:
            self.report.problem(poll.reason, person=person)
        polls.append(poll)
        if sum(len(one.gists) for one in polls) >= STORE_AT:
            self._store(polls)

    def _store(self, polls: list[Poll]) -> None:
        if polls:
            for person, reason in self.store.polls(polls, self.clock(), self.report.counts):
                self.report.problem(reason, person=person)
            polls.clear()

    # --- push ---
    def _push(self, people: list[Person], pool: ThreadPoolExecutor) -> None:
        """Those of them who have something to push. Read anew, since storing may have changed them."""
        busy = due.to_be_pushed(edits=self.options.push_edits).filter(person__in=people).values("person")
        fresh = Person.objects.filter(pk__in=busy, lease_holder=self.record.token).in_bulk()
        chosen = [fresh[person.pk] for person in people if person.pk in fresh]
        if not chosen or not self._goes_on(self.pipedrive.api.ended):
            return
        if not self._type_checked:
            self._type_checked = True
            drive([self._check_activity_type()], pool, 1, self._tick)
        drive((self._push_one(person) for person in chosen), pool, self.options.concurrency, self._tick)
        Person.objects.filter(pk__in=[person.pk for person in chosen]).update(push_attempted_at=self.clock())

    def _check_activity_type(self) -> Steps[None]:
        try:
            yield from self.push.check_activity_type()
        except (CircuitOpenError, RunStoppedError):
            return

    def _push_one(self, person: Person) -> Steps[None]:
        if self.pipedrive.api.ended:
            return
        try:
            yield from self.push.person(person)
        except (CircuitOpenError, RunStoppedError, LeaseLostError):
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
            log.error("%s: unexpected", person, exc_info=error, extra={"person": person.github_username})
        self.report.counts["people_failed"] += 1
        self.report.problem(reason, person=person)
        return reason

    # --- time ---
    def stop_if_told(self) -> None:
        if self.stopping.is_set():
            raise RunStoppedError("the run was told to stop")

    def _tick(self) -> None:
        """Keep the leases, and show that this run lives, three times in a lease; end when the minutes are over."""
        if time.monotonic() >= self._beat_at:
            self.claims.renew()
            self._beat()
        if time.monotonic() >= self._ends_at and not self.stopping.is_set():
            self.report.cut_short = True
            self.stopping.set()

    def _beat(self) -> None:
        """Write what was done so far, for whoever looks, and for the row of a run that is killed."""
        self._beat_at = time.monotonic() + self.options.lease_seconds / 3
        SyncRun.objects.filter(pk=self.record.pk).update(heartbeat_at=self.clock(), counts=dict(self.report.counts))
        self.github.api.limits.runs = max(running(self.clock, self.options.lease_seconds), 1)
