"""The pushing of a run: who is pushed next, and what to do with the outcomes. Called in the main thread.

A person is in the hand of the run from its choice to its end, with one step at a time. In one transaction the outcomes
of a group are stored, and the next steps are prepared: gists whose activity will be created are written as started,
with the moment until which that may be sent.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.db import InterfaceError, OperationalError
from django.db.models import Q

from gisttracker.common.database import is_lock_timeout, lock_free, retried
from people.models import Person
from sync.clients.errors import (
    CircuitOpenError,
    ConfigurationError,
    InvalidResponseError,
    LeaseLostError,
    OutageError,
    RejectedError,
    RunStoppedError,
)
from sync.clients.pipedrive_records import Activity
from sync.context import RunContext
from sync.models import Problem
from sync.push.activities import Posted
from sync.push.begin import Beginning, InHand, Turn, link_of
from sync.push.edits import EditedAll
from sync.push.pauses import keep_pause
from sync.push.preparation import Preparation
from sync.push.push import Next, Progress, next_step
from sync.push.store import PushStore, update
from sync.push.streaks import Part, Streaks
from sync.steps import Outcome, Step
from sync.summary import describe_error

log = logging.getLogger(__name__)
MAX_CHOSEN = 32  # people read at once
PARTS = {
    Next.CONFIRM: Part.CONFIRM,
    Next.FIND: Part.LOOK_UP,
    Next.FIND_CREATED: Part.LOOK_UP,
    Next.CREATE_PERSON: Part.CREATE_PERSON,
    Next.COMPARE: Part.LIST,
    Next.LOOK_UP: Part.LIST,
    Next.SCAN: Part.LIST,
    Next.CREATE: Part.CREATE,
    Next.UPDATE: Part.UPDATE,
}


class Pushing:
    """Chooses people, and takes them from step to step. `get_due`: who is due now."""

    def __init__(self, context: RunContext, get_due: Callable[[], Q]) -> None:
        self.is_over = False
        self.may_find = False  # True when people may have become due: at the beginning only those of an earlier run
        self.streaks = Streaks()
        self._context, self._get_due, self._pipedrive = context, get_due, context.pipedrive
        self._store: PushStore | None = None
        self._preparation = Preparation(context)
        self._beginning = Beginning(context, self._preparation)
        self._in_hand: dict[int, InHand] = {}
        self._queue: deque[int] = deque()  # of them, those without a step
        self._left: set[int] = set()  # whose outcomes could not be stored
        self._cannot_write_id = self._has_checked_pause = False

    @property
    def is_open(self) -> bool:
        return not self._pipedrive.api.circuit.error and not self._context.stopping.is_set()

    def advance(self, outcomes: list[Outcome], free: int) -> list[Step]:
        """Store these outcomes, and return the next steps for this many free threads."""
        self._note_answers(outcomes)
        if self.is_open and self.may_find and free > 0 and len(self._queue) < free:
            self._choose()
        if not self.is_open:
            self._drop_waiting()
        turn = Turn()
        if self._queue and free > 0 and self._preparation.needs_check:  # Without a transaction.
            steps = retried(self._preparation.step_before)(Next.FIND, None, turn)
            turn.steps += steps if isinstance(steps, list) else []
            self._apply(turn)
        elif outcomes or (self._queue and free > 0):
            turn = self._take_turn(outcomes, free)
            self._apply(turn)
        is_idle = not self._in_hand and not self._preparation.is_running
        self.is_over = is_idle and not (self.may_find and self.is_open)
        return turn.steps

    # --- choose ---
    @retried
    def _choose(self) -> None:
        due = Person.objects.filter(self._get_due()).exclude(pk__in=[*self._in_hand, *self._left])
        keys = list(due.order_by("push_attempted_at", "pk").values_list("pk", flat=True)[:MAX_CHOSEN])
        self.may_find = len(keys) == MAX_CHOSEN
        if keys and not self._has_checked_pause:
            self._has_checked_pause = True
            keep_pause(self._pipedrive, self._context.clock)
        self._queue.extend(keys)
        self._in_hand.update((key, InHand()) for key in keys)

    @retried
    def count_left(self) -> int:
        return Person.objects.filter(self._get_due()).order_by().count()

    def _drop_waiting(self) -> None:
        """Who is not pushed any more in this run stays due."""
        for key in self._queue:
            self._in_hand.pop(key, None)
        self._queue.clear()

    # --- what outcomes say about Pipedrive, before they are stored ---
    def _note_answers(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.step.person is None and outcome.error:
                self._preparation.note_failure(outcome.error)
            hand = self._in_hand.get(outcome.step.person or 0)
            if hand is None or hand.next is None:
                continue
            part = PARTS.get(hand.next)
            if part and isinstance(outcome.error, RejectedError | InvalidResponseError):
                self._refused(part, outcome, outcome.error)
            elif part and outcome.error is None:
                self._note_result(part, outcome)

    def _note_result(self, part: Part, outcome: Outcome) -> None:
        result = outcome.result
        answers: list[object]
        if isinstance(result, Posted):
            is_lost = result.trouble is not None and result.trouble.is_deleted
            answers = [] if is_lost else [result.outcome]
        elif isinstance(result, EditedAll):
            answers = [edited.outcome for edited in result.edited if not edited.is_deleted]
        elif part == Part.CONFIRM and result is not None:
            self._refused(part, outcome, result.reason)
            return
        else:
            self.streaks.succeed(part)
            return
        for answer in answers:
            if isinstance(answer, Activity):
                self.streaks.succeed(part)
            elif isinstance(answer, RejectedError) and not (part == Part.UPDATE and answer.status == 404):
                self._refused(part, outcome, answer)

    def _refused(self, part: Part, outcome: Outcome, error: Exception | str) -> None:
        person = retried(Person.objects.filter(pk=outcome.step.person or 0).first)()
        if person:
            self.streaks.refuse(part, person, error)
        self._stop_blocked()

    def _stop_blocked(self) -> None:
        """Linked people need no new person, so they go on when none can be created."""
        for part, error in self.streaks.blocked.items():
            if part is not Part.CREATE_PERSON:
                self._pipedrive.api.circuit.open(error)
            elif error not in self._context.errors:
                self._context.errors.append(error)

    # --- one transaction ---
    def _take_turn(self, outcomes: list[Outcome], free: int) -> Turn:
        """If the group cannot be stored, each person is stored alone, so that an odd one affects no other."""
        try:
            return self._try_turn(outcomes, free)
        except (LeaseLostError, OperationalError, InterfaceError) as error:
            if not is_lock_timeout(error):
                raise
            self._leave_locked(outcomes, free)
        except Exception:
            if not outcomes:
                raise
            log.exception("A group of pushes could not be stored")
        for outcome in outcomes:
            if outcome.step.person is None or outcome.step.person in self._in_hand:
                self._store_alone(outcome)
        return Turn()

    @retried
    def _leave_locked(self, outcomes: list[Outcome], free: int) -> None:
        """Leave those whose rows another connection has locked; if there are none, those who would begin."""
        begin = list(self._queue)[: max(free, 0)]
        people = {*begin, *(outcome.step.person for outcome in outcomes if outcome.step.person)}
        with self._context.writing():
            locked = people - lock_free(Person.objects.filter(pk__in=people))
        for person in locked or begin:
            log.warning("The row of person %s is locked by another connection, so the next run pushes it", person)
            self._leave(person)

    def _leave(self, person: int) -> None:
        """To the next run; what was sent is looked up then."""
        self._in_hand.pop(person, None)
        self._left.add(person)
        self._queue = deque(key for key in self._queue if key != person)

    def _store_alone(self, outcome: Outcome) -> None:
        try:
            self._apply(self._try_turn([outcome], 0))
        except LeaseLostError:
            raise
        except Exception as error:
            is_away = isinstance(error, OperationalError | InterfaceError) and not is_lock_timeout(error)
            if outcome.step.person is None or is_away:
                raise
            log.exception("The push of person %s could not be stored", outcome.step.person)
            self._leave(outcome.step.person)
            self._context.summary.note("push", failed=1)
            reason = f"The push could not be stored ({type(error).__name__}); the log has the traceback."
            self._context.summary.problem(reason, person=Person.objects.filter(pk=outcome.step.person).first())

    @retried
    def _try_turn(self, outcomes: list[Outcome], free: int) -> Turn:
        turn = Turn()
        with self._context.writing():
            store = self._store = self._store or PushStore(self._context, self._beginning.budget)
            for outcome in outcomes:
                if outcome.step.person is None:
                    self._preparation.store(outcome, turn)
            of_people = {outcome.step.person: outcome for outcome in outcomes if outcome.step.person}
            begins = list(self._queue)[: max(free, 0)] if self.is_open else []
            people = Person.objects.select_for_update().order_by("pk").in_bulk([*of_people, *begins])
            self._take_posted(outcomes, people, turn, store)
            for key, outcome in of_people.items():
                if not isinstance(outcome.result, Posted):
                    self._take(key or 0, people.get(key or 0), outcome, turn, store)
            following = [key or 0 for key in [*of_people, *begins]]
            while following:
                for key in following:
                    if key not in people:
                        turn.in_hand[key] = None  # It was deleted.
                    elif turn.in_hand.get(key, self._in_hand.get(key)) is not None:
                        self._continue(people[key], turn, store, free)
                following = self._beginning.begin_creates(turn)
        return turn

    def _apply(self, turn: Turn) -> None:
        summary = self._context.summary
        summary.add(turn.counts)
        for (work, has_succeeded), number in turn.work.items():
            summary.note(work, **{"succeeded" if has_succeeded else "failed": number})  # type: ignore[arg-type]
        for reason, person, gist, code in turn.problems:
            summary.problem(reason, person=person, gist=gist, code=code)
        self._beginning.budget.booked += turn.booked
        self._preparation.commit(turn)
        done = set(turn.in_hand) - set(turn.waiting)
        self._queue = deque(key for key in [*turn.waiting, *self._queue] if key not in done)
        self._queue = deque(dict.fromkeys(self._queue))
        for key, hand in turn.in_hand.items():
            if hand is None:
                self._in_hand.pop(key, None)
            else:
                self._in_hand[key] = hand
        if turn.capped:
            self._pipedrive.api.circuit.open(turn.capped)

    # --- outcomes ---
    def _take_posted(self, outcomes: list[Outcome], people: dict[int, Person], turn: Turn, store: PushStore) -> None:
        """Store the outcomes of POSTs. What Pipedrive has done for a deleted person is stored, too."""
        group = []
        for outcome in outcomes:
            if isinstance(outcome.result, Posted):
                key = outcome.step.person or 0
                group.append((people.get(key) or Person(pk=key), outcome.result, self._in_hand[key].progress))
        if group:
            progresses = store.create(group, turn, is_about_us=self._is_about_us())
            for (person, posted, _), progress in zip(group, progresses, strict=True):
                was_stopped = isinstance(posted.outcome, CircuitOpenError | RunStoppedError)
                turn.in_hand[person.pk] = None if was_stopped else InHand(progress)  # Who is stopped stays due.

    def _take(self, key: int, person: Person | None, outcome: Outcome, turn: Turn, store: PushStore) -> None:
        """Store what a step of this person has found out."""
        hand = self._in_hand[key]
        if person is None:
            return  # It was deleted.
        progress = self._store_outcome(person, hand, outcome, turn, store)
        turn.in_hand[key] = None if progress is None else InHand(progress)

    def _store_outcome(
        self, person: Person, hand: InHand, outcome: Outcome, turn: Turn, store: PushStore
    ) -> Progress | None:
        """The person's progress. None: this run does no more for the person, who stays due."""
        step, progress, error = hand.next, hand.progress, outcome.error
        if step == Next.CREATE_PERSON and error:
            store.person_not_created(person, error)
        if isinstance(error, CircuitOpenError | RunStoppedError):
            self.may_find |= self.is_open  # The process was suspended, so the lease was over for a moment.
            return None
        if step == Next.UPDATE and error is None:
            return store.edit(person, outcome.result, progress, turn)
        if step != Next.CREATE and hand.link != link_of(person):
            return Progress()  # A user has relinked it meanwhile: begin again.
        if error:
            return self._fail(person, step, progress, error, turn)
        return self._store_result(person, step, progress, outcome.result, turn, store)

    def _store_result(
        self, person: Person, step: Next | None, progress: Progress, result: Any, turn: Turn, store: PushStore
    ) -> Progress:
        if step == Next.CONFIRM:
            return store.confirm(person, result, progress)
        if step in (Next.FIND, Next.FIND_CREATED):
            return store.find(person, result, progress)
        if step == Next.CREATE_PERSON:
            key = self._preparation.key if person.github_id else ""
            self._preparation.add_person(person, result)
            store.link(person, result, pipedrive_matched_at=self._context.clock(), pipedrive_field_key=key)
            return progress
        if step == Next.WRITE_ID:
            update(person, pipedrive_field_key=self._preparation.key)
            if result:
                turn.problem(result, person)
            return progress
        if step == Next.COMPARE:
            return store.compare(person, result, progress, turn)
        if progress.look_up is None:
            raise ValueError(f"{step} without a look-up")
        if step == Next.LOOK_UP:
            return replace(progress, look_up=replace(store.match(progress.look_up, result), next=Next.SCAN))
        return store.resolve(person, store.match_unlisted(progress.look_up, result), progress, turn)

    def _fail(self, person: Person, step: Next | None, progress: Progress, error: Exception, turn: Turn) -> Progress:
        if step == Next.WRITE_ID:  # A failure is reported, and tried again later.
            self._cannot_write_id |= isinstance(error, RejectedError)
            turn.problem(f"The GitHub id could not be written to Pipedrive: {describe_error(person, error)}", person)
            return progress
        reason = describe_error(person, error)
        part = PARTS.get(step) if step else None
        if part and isinstance(error, RejectedError | InvalidResponseError):
            reason = f"Pipedrive refused to {part}: {reason}"
        return replace(progress, failure=reason)

    # --- what is next ---
    def _continue(self, person: Person, turn: Turn, store: PushStore, free: int) -> None:
        """Hand out the person's next step, let it wait, or end its push."""
        progress: Progress | None = (turn.in_hand.get(person.pk) or self._in_hand[person.pk]).progress
        while progress is not None:
            gists, progress = self._beginning.read_gists(person, progress)
            step = next_step(person, gists, progress, is_id_written=self._is_id_written(person))
            is_blocked = PARTS.get(step) in self.streaks.blocked
            if step == Next.DONE or is_blocked:
                is_about_us = is_blocked or (bool(progress.failure) and self._is_about_us())
                store.finish(person, progress, turn, is_about_us=is_about_us)
                break
            if not self.is_open:
                break  # It stays due.
            preparation: list[Step] | str | None = []
            if len(turn.steps) + len(turn.creates) < free:
                preparation = self._preparation.step_before(step, progress.look_up, turn)
            if isinstance(preparation, str):
                self.streaks.refuse(PARTS.get(step, Part.LOOK_UP), person, preparation)
                progress = replace(progress, failure=preparation)
            elif preparation is not None:
                turn.steps += preparation
                turn.in_hand[person.pk] = InHand(progress)
                turn.waiting.append(person.pk)
                return
            elif step == Next.CREATE:
                turn.creates.append((person, progress))
                return
            else:
                begun = self._beginning.begin(person, step, progress, gists, turn, store)
                if isinstance(begun, tuple):
                    turn.steps.append(Step(begun[1], person.pk))
                    turn.in_hand[person.pk] = InHand(begun[0], step, link_of(person))
                    return
                progress = begun
        turn.in_hand[person.pk] = None

    def _is_about_us(self) -> bool:
        return isinstance(self._pipedrive.api.circuit.error, ConfigurationError | OutageError)

    def _is_id_written(self, person: Person) -> bool:
        return self._cannot_write_id or not person.github_id or self._preparation.is_id_written(person)

    # --- the end ---
    def end(self) -> None:
        """After the last outcome: what was refused for more than a few people does not count against them."""
        self.streaks.end()
        self._stop_blocked()
        columns = self.streaks.take_back(all_parts=self._is_about_us())
        outage, lost = retried(self._store.find_outage)() if self._store else (None, {})
        if outage:
            self._context.errors.append(outage)
        if columns or lost:
            self._take_back({**columns, **lost})

    @retried
    def _take_back(self, columns: dict[int, dict[str, Any]]) -> None:
        with self._context.writing():
            self._context.withdraw_problems(list(columns), Problem.Code.PUSH, Problem.Code.GIST)
            for key, before in columns.items():
                now = self._context.clock()  # Not to be attempted again in this run.
                Person.objects.filter(pk=key).update(**{**before, "push_attempted_at": now})
