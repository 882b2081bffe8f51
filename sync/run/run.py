"""One run: choose who is due, hand out steps, store outcomes, repeat.

    stream:   once a minute, read it (a step, in a thread) -> request the sync of who is hinted at
    polling:  choose -> poll (a step, in a thread) -> store the gists
    pushing:  choose -> next step -> a step in a thread -> store, next step ... -> end

Threads ask the APIs, and write nothing; this main thread writes, under the lease. It waits only for outcomes. While
polling goes on, those people are pushed that were polled in this run; afterwards all who are due. Who is requested
meanwhile is polled, too, since no other run can begin; not in a run for some people.

If the process dies at any line, the next run continues from the rows: what was not stored is polled again, and a gist
that was written as started is looked up in Pipedrive before it is sent again.
"""

from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import get_args

from django.conf import settings
from django.db.models import Q
from django.utils.translation import ngettext

from sync.clients.boot_clock import boot_clock
from sync.context import RunContext
from sync.models import SyncRun
from sync.poll.polling import Polling
from sync.push.pushing import Pushing
from sync.run.due import due_by_login, due_for_poll, due_for_push, due_for_push_since, has_login, requested
from sync.run.records import write_heartbeat
from sync.run.workers import Workers
from sync.steps import Outcome, Work
from sync.stream import Stream

TICK_SECONDS = 0.5  # between two looks at the clock, and for people who became due
GATHER_SECONDS = 0.03  # for which an outcome waits for others, to be stored with them
HEARTBEATS = 12  # in the time of a lease


class Run:
    """One run, under a lease that is held. `progress` is called with the number of people polled so far."""

    def __init__(
        self,
        record: SyncRun,
        context: RunContext,
        progress: Callable[[int], object] = lambda people: None,
        stream: Stream | None = None,
    ) -> None:
        """`record.continues_from`: the beginning of the run whose pushes this one continues, usually its own.

        `stream`: it may have been read before the run was opened. Without it, the run reads none.
        """
        self.record, self.context, self.progress = record, context, progress
        self.is_time_over = False  # max_seconds have passed
        self._outcomes: SimpleQueue[Outcome] = SimpleQueue()
        count = context.options.concurrency
        self._polling, self._pushing = Polling(context, self._due_for_poll), Pushing(context, self._due_for_push)
        self._polls = Workers("poll", count, self._outcomes, ahead=count)
        self._stream = stream or Stream(context.github, context.clock, is_on=False)
        self._stream.writing = context.writing
        self._readers = Workers("stream", 1, self._outcomes)
        self._pushes = Workers("push", count, self._outcomes)  # A POST that is handed out is sent at once.
        self._pushing.may_find = record.continues_from < record.started_at
        self._next_tick = self._next_heartbeat = 0.0
        self._deadline = boot_clock() + (context.options.max_seconds or float("inf"))

    def __call__(self) -> None:
        """Work until no person is due. Errors of people and gists are in the summary and on their rows."""
        outcomes: list[Outcome] = []
        with self._readers, self._polls, self._pushes:
            try:
                while self._is_working or self._stream.is_running:
                    is_tick = self._tick()
                    by_work = {work: [one for one in outcomes if one.step.work == work] for work in get_args(Work)}
                    has_hints = self._advance_stream(by_work["stream"], is_tick=is_tick)
                    self._advance_polling(by_work["poll"], is_tick=is_tick or has_hints)
                    self._advance_pushing(by_work["push"], is_tick=is_tick)
                    outcomes = self._wait()
            except BaseException:
                self.context.stopping.set()  # The threads end after their current request.
                raise
        self._end()

    @property
    def _is_working(self) -> bool:
        return not (self._polling.is_over and self._pushing.is_over)

    def _advance_stream(self, outcomes: list[Outcome], *, is_tick: bool) -> bool:
        """Is anyone hinted at? Then they are polled next. A run without other work does not begin another reading."""
        hinted_before = self._stream.people_hinted
        self._readers.free += len(outcomes)
        for step in self._stream.advance(outcomes, is_tick=is_tick and self._is_working):
            self._readers.begin(step)
        hinted = self._stream.people_hinted - hinted_before
        self.context.summary.add({"people_hinted": hinted})
        return hinted > 0

    def _advance_polling(self, outcomes: list[Outcome], *, is_tick: bool) -> None:
        was_over = self._polling.is_over
        if was_over and not is_tick:
            return  # But while the run pushes, people may be requested.
        self._polls.free += len(outcomes)
        for step in self._polling.advance(outcomes, self._polls.free, is_tick=is_tick):
            self._polls.begin(step)
        self._pushing.may_find |= self._polling.has_news() or (self._polling.is_over and not was_over)

    def _advance_pushing(self, outcomes: list[Outcome], *, is_tick: bool) -> None:
        self._pushes.free += len(outcomes)
        self._pushing.may_find |= is_tick and self._polling.count > 0 and not self._polling.is_over
        for step in self._pushing.advance(outcomes, self._pushes.free):
            self._pushes.begin(step)

    def _wait(self) -> list[Outcome]:
        """The outcomes that have arrived: at least one, unless something else has to be done."""
        outcomes: list[Outcome] = []
        until = min(self._next_tick, self._polling.stores_at)
        while self._readers.busy + self._polls.busy + self._pushes.busy > len(outcomes):
            try:
                outcomes.append(self._outcomes.get(timeout=max(until - boot_clock(), 0.001)))
            except Empty:
                break
            until = min(until, boot_clock() + GATHER_SECONDS) if len(outcomes) == 1 else until
        return outcomes

    def _tick(self) -> bool:
        """Twice a second: show the progress, end when the time is over, and keep the lease."""
        now = boot_clock()
        if now < self._next_tick:
            return False
        self._next_tick = now + TICK_SECONDS
        self.progress(self._polling.count)
        if now >= self._deadline:
            self.context.summary.limit_reached = self.is_time_over = True
            self.context.stopping.set()
        if now >= self._next_heartbeat and self._next_heartbeat:
            write_heartbeat(self.record, self.context)
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + settings.LEASE_SECONDS / HEARTBEATS
        return True

    def _end(self) -> None:
        self._polling.end()
        self._pushing.end()
        context, deprecation = self.context, self.context.github.deprecation
        if self._polling.has_people_left():
            context.summary.limit_reached = True
        for problem in [*map(str, context.circuit_errors), *([deprecation] if deprecation else [])]:
            context.summary.problem(problem)

    # --- who is due ---
    def _due_for_poll(self) -> Q:
        options, now = self.context.options, self.context.clock()
        if options.people:
            return due_by_login(options.people, self.record.started_at, now)
        if options.requested_only:
            return requested(now)
        return due_for_poll(self.record.started_at, now)

    def _due_for_push(self) -> Q:
        options, now, since = self.context.options, self.context.clock(), self.record.continues_from
        if options.requested_only or not self._polling.is_over or self._polling.has_people_left():
            people = due_for_push_since(since, now, edits=options.push_edits)
        else:
            people = due_for_push(since, now, edits=options.push_edits)
        return people & has_login(options.people) if options.people else people

    def describe_work_left(self) -> str:
        """ "3 people to poll, 2 people with gists to push": who is due when the run has ended."""
        polls = 0 if self._polling.has_people_left() else self._polling.count_left()
        pushes = self._pushing.count_left()
        parts = [ngettext("%d person to poll", "%d people to poll", polls) % polls] if polls else []
        with_gists = ngettext("%d person with gists to push", "%d people with gists to push", pushes) % pushes
        return ", ".join([*parts, *([with_gists] if pushes else [])])
