"""One run of the sync: two lanes side by side, with the database as the queue between them.

    poll lane:  claim -> poll -> store and release
    push lane:  claim -> link -> reconcile -> push -> release

Each lane has threads that call a plain function for one person at a time (`_poll`, `_push`). The main thread claims
people, finishes results in groups, renews the leases, writes the heartbeat and stops the run. While polling goes on,
the push lane takes the people that were polled in this run; afterwards everyone who is due.
"""

import logging
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from django.db.models import Q
from django.utils.translation import ngettext

from gisttracker.config.logs import redact
from people.models import Person
from sync.clients.boot_clock import boot_clock
from sync.clients.errors import CircuitOpenError, LeaseLostError, RunStoppedError, SyncError
from sync.clients.pipedrive import WINDOW_MARGIN, WINDOW_SECONDS
from sync.clients.rate_limit import Pause
from sync.clients.transport import Api
from sync.models import SyncRun
from sync.poll.poll import AccountSuppressedError, Poll, poll_person
from sync.poll.store import NotAttempted, PersonSuppressed, PollFailure, PollResult, Store
from sync.poll.verdicts import Verdicts
from sync.push.link import LostPersonError
from sync.push.push import GivenUpError, Pusher
from sync.push.push_results import PushResult, PushResults
from sync.push.refusals import StepRefusedError
from sync.run.api_state import keep_pause
from sync.run.claims import due_by_login, due_for_poll, due_for_push, due_for_push_since, has_login, requested, watched
from sync.run.context import RunContext
from sync.run.lane import Lane
from sync.run.records import count_held_by_others, count_running, write_heartbeat
from sync.run.workers import Failed

log = logging.getLogger(__name__)
GROUP_SIZE = 64  # results written together
GROUP_SECONDS = 0.2  # how long a result waits for others
MAX_GROUP_GISTS = 2000  # polled gists kept in memory before they are written
TICK_SECONDS = 0.5
HEARTBEAT_SECONDS = 10.0
GIVE_UP_SECONDS = 15.0  # for which a run waits at its beginning for people that the others leave to it
JOIN_SECONDS = TICK_SECONDS + WINDOW_SECONDS + WINDOW_MARGIN  # until the requests of the other runs have expired


class Run:
    """One run with its leases. `progress` is called twice a second with the number of people polled so far."""

    def __init__(
        self, record: SyncRun, context: RunContext, progress: Callable[[int], object] = lambda people: None
    ) -> None:
        self.record, self.context, self.progress = record, context, progress
        self._results: SimpleQueue[Any] = SimpleQueue()
        # Pushes take longer than polls, so fewer people wait for them.
        self.poll_lane = self._new_lane("poll", context.github.api, self._poll, "attempted_at", waiting_per_thread=4)
        self.push_lane = self._new_lane(
            "push", context.pipedrive.api, self._push, "push_attempted_at", waiting_per_thread=1
        )
        self._store = Store(context, self.poll_lane.claims)
        self._pusher = Pusher(context, self.push_lane.claims, record.pk, self.push_lane.gives_up)
        self._verdicts = Verdicts(context)
        self._polled: list[PollResult] = []
        self._polled_count = 0
        self._pushed = PushResults(context, self.push_lane, self._pusher)
        self._group_started_at = 0.0
        self._is_polling = True
        self.is_time_over = False  # max_seconds have passed
        self._people_left = context.options.max_people or float("inf")
        self._runs = self._peers = 1  # runs that are alive; those of them that share the people with this one
        self._expects_people_until = 0.0
        self._next_tick = self._next_heartbeat = self._next_renewal = 0.0
        self._deadline = boot_clock() + (context.options.max_seconds or float("inf"))

    def _new_lane(
        self, name: str, api: Api, function: Callable[[Person], Any], order_by: str, *, waiting_per_thread: int
    ) -> Lane:
        max_waiting = waiting_per_thread * self.context.options.concurrency
        return Lane(
            name,
            self.record.token,
            self.context,
            api,
            function,
            self._results,
            max_waiting=max_waiting,
            order_by=order_by,
        )

    def __call__(self) -> None:
        """Work until no people are due. Errors of people and gists are in the summary and on their rows."""
        keep_pause(self.context.pipedrive, self.context.clock)
        try:
            with self.poll_lane.workers, self.push_lane.workers:
                try:
                    self._join_running_runs()
                    self._claim()
                    while self._is_polling or self.poll_lane.held or self.push_lane.held or self._expects_people():
                        self._collect()
                        self._finish_groups()
                        self._tick()
                        self._claim()
                except BaseException:
                    self.context.stopping.set()  # The threads end after their current request.
                    raise
        finally:
            for lane in (self.poll_lane, self.push_lane):
                lane.release_all()
        deprecation = self.context.github.deprecation
        for problem in [*map(str, self.context.circuit_errors), *([deprecation] if deprecation else [])]:
            self.context.summary.problem(problem)

    # --- claim ---
    def _claim(self) -> None:
        if self._is_polling:
            claim, limit = self.poll_lane.claim, self._people_left
            self._people_left -= claim(self._due_for_poll, self._runs, limit, peers=self._peers)
            if not self.poll_lane.held and not self._expects_people():
                self._end_polling()
        self.push_lane.claim(self._due_for_push, self._runs, peers=self._peers)

    def _end_polling(self) -> None:
        self._is_polling = False
        self.push_lane.may_find_people = True
        if not self.context.summary.has_attempted("poll"):
            self._report_people_of_other_runs()
        if not self._people_left and self.poll_lane.claims.count_free(self._due_for_poll(), 1):
            self.context.summary.limit_reached = True

    def _report_people_of_other_runs(self) -> None:
        """A run that found work and could do none of it has not succeeded."""
        held, is_silent = count_held_by_others(self.record, self._due_for_poll(), self.context.clock())
        if not held:
            return
        people = ngettext("%d due person is", "%d due people are", held) % held
        self.context.summary.problem(f"{people} claimed by other runs. A run that died frees them within two minutes.")
        self.context.summary.limit_reached = True
        if is_silent:
            self.context.summary.record("poll", failed=1)

    def _due_for_poll(self) -> Q:
        options = self.context.options
        if options.people:
            return due_by_login(options.people, self.record.started_at, self.context.clock())
        if options.requested_only:
            now = self.context.clock()
            return requested(now) | watched(self.record.started_at, now)
        return due_for_poll(self.record.round_started_at, self.context.clock())

    def _due_for_push(self) -> Q:
        options = self.context.options
        if options.requested_only or self._is_polling or self.context.summary.limit_reached:
            people = due_for_push_since(self.record.round_started_at, self.context.clock(), edits=options.push_edits)
        else:
            people = due_for_push(self.record.round_started_at, self.context.clock(), edits=options.push_edits)
        return people & has_login(options.people) if options.people else people

    def describe_work_left(self) -> str:
        """ "3 people to poll, 2 people with gists to push": who is due and free when the run has ended."""
        self._is_polling = False
        polls = self.poll_lane.claims.count_free(self._due_for_poll()) if self._people_left else 0
        pushes = self.push_lane.claims.count_free(self._due_for_push())
        parts = [ngettext("%d person to poll", "%d people to poll", polls) % polls] if polls else []
        with_gists = ngettext("%d person with gists to push", "%d people with gists to push", pushes) % pushes
        return ", ".join([*parts, *([with_gists] if pushes else [])])

    # --- poll and push: called in the threads of the lanes ---
    def _poll(self, person: Person) -> PollResult:
        context = self.context
        started = context.clock()
        try:
            options = context.options
            poll = poll_person(person, context.github, now=started, full=options.full)
        except (CircuitOpenError, RunStoppedError):
            return NotAttempted(person)
        except AccountSuppressedError:
            return PersonSuppressed(person, self.record.pk)
        except Exception as error:  # Whatever it is, it affects this person only.
            return PollFailure(person, started, _describe(person, error), error)
        if poll.reason and poll.state == Person.State.ACTIVE:
            context.summary.problem(poll.reason, person=person)
        return poll

    def _push(self, person: Person) -> PushResult:
        result = PushResult(person)
        try:
            self._pusher.push_person(person, result.refusals, is_lost=person.pk in self._pushed.lost)
        except (CircuitOpenError, RunStoppedError, LeaseLostError, GivenUpError):
            result.is_attempted = False
        except LostPersonError as error:
            result.reason, result.is_lost = str(error), True
        except StepRefusedError as error:
            result.reason = str(error)
            result.refusals.append(error.refusal)
        except Exception as error:  # Whatever it is, it affects this person only.
            result.reason = _describe(person, error)
        return result

    # --- finish results in groups ---
    def _collect(self) -> None:
        """Wait for a result, or until a group or the next tick is due; then take all results that are there."""
        now = boot_clock()
        until = min(
            self._next_tick, self._group_started_at + GROUP_SECONDS if self._group_started_at else now + TICK_SECONDS
        )
        try:
            self._add(self._results.get(timeout=max(until - now, 0.001)))
            while True:
                self._add(self._results.get_nowait())
        except Empty:
            return

    def _add(self, result: PollResult | PushResult | Failed) -> None:
        if isinstance(result, Failed):
            raise result.error
        if isinstance(result, PushResult):
            self._pushed.add(result)
        else:
            self._polled_count += not isinstance(result, NotAttempted)
            if not self._verdicts.keep_back(result):  # Otherwise it waits until `decide` (see sync.poll.verdicts).
                self._polled.append(result)
        self._group_started_at = self._group_started_at or boot_clock()

    def _finish_groups(self) -> None:
        is_late = self._group_started_at and boot_clock() - self._group_started_at >= GROUP_SECONDS
        gists = sum(len(result.gists) for result in self._polled if isinstance(result, Poll))
        has_polled_all = len(self._polled) + len(self._verdicts.pending) == len(self.poll_lane.held)
        if has_polled_all and self._verdicts.pending and self._has_polled_everyone():
            self._polled += self._verdicts.decide()
        if self._polled and (is_late or has_polled_all or len(self._polled) >= GROUP_SIZE or gists >= MAX_GROUP_GISTS):
            self._finish_polled()
        self._finish_pushed(is_late=bool(is_late))
        if not self._polled and not self._pushed.ready:
            self._group_started_at = 0.0

    def _finish_polled(self) -> None:
        results, self._polled = self._polled, []
        for result in results:
            if isinstance(result, PollFailure):
                self.context.summary.fail("poll", result.person, result.reason)
            elif isinstance(result, Poll) and (result.incomplete_because or result.state != Person.State.ACTIVE):
                self._report_unfinished(result)
        if self._store.save(results):
            self.push_lane.may_find_people = True
        self.poll_lane.forget([result.person for result in results])

    def _report_unfinished(self, poll: Poll) -> None:
        """A person whose list is incomplete has failed; one whose account is gone or in conflict has not."""
        if poll.incomplete_because:
            self.context.summary.fail("poll", poll.person, poll.incomplete_because)
        else:
            self.context.summary.problem(poll.reason, person=poll.person)

    def _has_polled_everyone(self) -> bool:
        """Are no people left to be claimed, apart from those whose results are kept back?"""
        lane = self.poll_lane
        if not lane.is_open or not self._people_left:
            return True
        return not lane.claims.count_free(self._due_for_poll(), 1)

    def _finish_pushed(self, *, is_late: bool) -> None:
        pushed = self._pushed
        pushed.take_decided()
        if pushed.has_undecided and pushed.has_all and self._has_pushed_everyone():
            pushed.decide()
        if pushed.ready and (is_late or pushed.has_all or len(pushed.ready) >= GROUP_SIZE):
            pushed.finish()

    def _has_pushed_everyone(self) -> bool:
        """Are no people left to be claimed, apart from those whose results are kept back?"""
        if self._is_polling:
            return False
        lane = self.push_lane
        if not lane.is_open:
            return True
        free = lane.claims.count_free(self._due_for_push(), 1)
        lane.may_find_people |= bool(free)  # Otherwise a person who became due meanwhile would never be claimed.
        return not free

    # --- time ---
    def _join_running_runs(self) -> None:
        """Wait until the other runs have noticed this one, and leave it its share of Pipedrive's rate limit."""
        self._count_runs()
        if self._peers > 1:
            self._expects_people_until = boot_clock() + GIVE_UP_SECONDS
        if self._runs > 1:
            pause = Pause(JOIN_SECONDS, False, "other runs make room for this one")
            self.context.pipedrive.api.limiter.pause(pause)

    def _tick(self) -> None:
        """Twice a second: show the progress, end when the time is over; keep leases and heartbeat."""
        now, lease_seconds = boot_clock(), self.context.options.lease_seconds
        if now < self._next_tick:
            return
        self._next_tick = now + TICK_SECONDS
        self.progress(self._polled_count)
        if now >= self._deadline:
            self.context.summary.limit_reached = self.is_time_over = True
            self.context.stopping.set()
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + min(HEARTBEAT_SECONDS, lease_seconds / 3)
            write_heartbeat(self.record, self.context)
        if now >= self._next_renewal:
            self._next_renewal = now + lease_seconds / 3
            for lane in (self.poll_lane, self.push_lane):
                lane.claims.renew(lane.held)
        self._count_runs()
        if self._is_polling or self._expects_people():
            self.poll_lane.may_find_people = self.push_lane.may_find_people = True

    def _expects_people(self) -> bool:
        """May other runs, which have people claimed, still leave some of them to this one?"""
        if self.context.stopping.is_set() or self._peers == 1 or boot_clock() > self._expects_people_until:
            return False
        due = self._due_for_push() | (self._due_for_poll() if self._is_polling else Q(pk__in=[]))
        return count_held_by_others(self.record, due, self.context.clock())[0] > 0

    def _count_runs(self) -> None:
        before = self._peers
        lease_seconds = self.context.options.lease_seconds
        self._runs, self._peers = count_running(self.record, self.context.clock(), lease_seconds)
        if self._peers != before:
            self._people_left += self.poll_lane.share(self._due_for_poll, self._peers)
            self.push_lane.share(self._due_for_push, self._peers)
            self.poll_lane.may_find_people = self.push_lane.may_find_people = True
        for client in (self.context.github, self.context.pipedrive):
            client.api.limiter.runs = self._runs


def _describe(person: Person, error: Exception) -> str:
    """What to write on the row of a person whose poll or push failed."""
    if isinstance(error, SyncError):
        return redact(str(error))
    log.error("%s: unexpected error", person, exc_info=error, extra={"person": person.github_username})
    return f"Unexpected {type(error).__name__}; the log has the traceback."
