"""How each step of a push begins: what it has to know is read, and what must be known of it before is written.

Called in the main thread, in the transaction of a turn (see sync.push.pushing).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db.models import Case, F, OuterRef, Q, Subquery, Value, When

from people.models import Gist, KnownActivity, Person
from sync.backoff import is_over
from sync.clients.boot_clock import boot_clock
from sync.clients.errors import CapReachedError
from sync.context import RunContext
from sync.crm.activity import new_activity, note, person_name, subject
from sync.crm.evidence import MAX_CLOCK_DIFFERENCE, known_of_person, settled_before, unlisted_ids
from sync.crm.lists import get_activities, list_activities, list_recent_activities
from sync.push.activities import Post, create_activity
from sync.push.budget import Budget
from sync.push.edits import Edit, update_activities
from sync.push.owner import ActivityOwner
from sync.push.persons import (
    NO_PERSONS,
    SentPerson,
    Sought,
    check_person,
    create_person,
    find_created_person,
    find_person,
    write_github_id,
)
from sync.push.preparation import Preparation
from sync.push.push import Gists, LookUp, Next, Progress
from sync.push.store import Notes, PushStore, update
from sync.steps import Step

MAX_KEYS = 500  # pending gists of a person read at once
BATCH_SIZE = 50  # started or outdated gists of a person read at once
MAX_KNOWN_ACTIVITIES = 3  # that are read to find where a merge has moved them
NOT_CREATED_YET = "Whether the Pipedrive person was created is checked in the next run."
State = Gist.PushState
Link = tuple[int | None, datetime | None]


@dataclass(frozen=True)
class InHand:
    """A person that the run works on. `link`: the Pipedrive person as the step in `next` has it."""

    progress: Progress = field(default_factory=Progress)
    next: Next | None = None  # the step in a thread
    link: Link = (None, None)


@dataclass
class Turn(Notes):
    """One transaction: what it has decided. Applied after its commit."""

    in_hand: dict[int, InHand | None] = field(default_factory=dict)  # None: the run has ended with this person
    steps: list[Step] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)  # for a preparation, or a thread
    creates: list[tuple[Person, Progress]] = field(default_factory=list)  # whose next gist is written as started
    capped: CapReachedError | None = None


def link_of(person: Person) -> Link:
    """Changes when a user, or the run, gives the person another Pipedrive person."""
    return person.pipedrive_id, person.pipedrive_linked_at


class Beginning:
    """The beginnings of one run. `budget`: of activities."""

    def __init__(self, context: RunContext, preparation: Preparation) -> None:
        options = context.options
        self.budget = Budget(per_run=options.max_activities, per_day=options.max_activities_per_day)
        self._context, self._pipedrive, self._preparation = context, context.pipedrive, preparation
        self._owner = ActivityOwner(options.activity_owner, context.pipedrive)

    def read_gists(self, person: Person, progress: Progress) -> tuple[Gists, Progress]:
        """What the next step may be about; read only when it may come to that."""
        if progress.failure or progress.look_up or person.pipedrive_id is None or person.pipedrive_matched_at is None:
            return Gists(), progress
        gists = Gist.objects.filter(person=person)
        if progress.pending is None:
            settled = Q(push_started_at=None) | Q(push_started_at__lte=settled_before(self._context.clock()))
            started = tuple(gists.filter(settled, push_state=State.STARTED).order_by("pk")[:BATCH_SIZE])
            if started:
                return Gists(started=started), progress
        if progress.pending is None or (not progress.pending and progress.has_more):
            # Those that have failed before come last, and those that this run has tried not again.
            order = Case(When(push_attempts=0, then=Value(0)), default=Value(1))
            is_untried = Q(push_run_id=None) | ~Q(push_run_id=self._context.run_id)
            pending = gists.filter(is_untried, push_state=State.PENDING).order_by(order, "pk")
            keys = tuple(pending.values_list("pk", flat=True)[:MAX_KEYS])
            progress = replace(progress, pending=keys, has_more=len(keys) == MAX_KEYS)
        if progress.pending or not self._context.options.push_edits:
            return Gists(pending=progress.pending or ()), progress
        is_due = is_over("next_edit_at", self._context.clock())
        outdated = gists.filter(is_due, push_state=State.PUSHED, activity_outdated=True, pk__gt=progress.edited_up_to)
        return Gists(outdated=tuple(outdated.order_by("pk")[:BATCH_SIZE])), progress

    def begin(
        self, person: Person, step: Next, progress: Progress, gists: Gists, turn: Turn, store: PushStore
    ) -> tuple[Progress, Callable[[], Any]] | Progress | None:
        """What to ask. Or the progress, if the main thread has done the step; None: nothing more in this run."""
        pipedrive = self._pipedrive
        if step in (Next.FIND, Next.FIND_CREATED, Next.CREATE_PERSON):
            return self._begin_person(person, step, progress, store)
        pipedrive_id = person.pipedrive_id or 0
        if step == Next.CONFIRM:
            return progress, partial(check_person, pipedrive, pipedrive_id)
        if step == Next.WRITE_ID:
            progress = replace(progress, has_written_id=True)
            key = self._preparation.key
            if not key or person.pipedrive_field_key == key:
                return progress
            return progress, partial(write_github_id, pipedrive, pipedrive_id, key, person.github_id or 0)
        if step == Next.COMPARE:
            return progress, partial(list_activities, pipedrive, pipedrive_id, known_of_person(person))
        if step in (Next.LOOK_UP, Next.SCAN, Next.LOOK_UP_IDS):
            return self._begin_look_up(person, progress, gists, turn, store)
        edits = tuple(
            Edit(gist.pk, gist.pipedrive_activity_id or 0, subject(gist), note(gist, person), gist.github_updated_at)
            for gist in gists.outdated
        )
        return progress, partial(update_activities, pipedrive, edits)

    def _begin_person(
        self, person: Person, step: Next, progress: Progress, store: PushStore
    ) -> tuple[Progress, Callable[[], Any]] | Progress:
        not_after = boot_clock() + settings.SEND_SECONDS  # Before the time that is written, so not later than that.
        pipedrive, now = self._pipedrive, self._context.clock()
        sought = Sought(person.github_username, person.github_id, person.email, self._preparation.key)
        if step == Next.FIND:
            persons = self._preparation.persons
            if persons.directory:  # Answered without a request.
                return store.find(person, persons.directory.find(sought), progress)
            return progress, partial(find_person, pipedrive, sought, persons.newest)
        if step == Next.CREATE_PERSON:
            name = person_name(person)
            until = now + timedelta(seconds=settings.SEND_SECONDS)
            update(person, pipedrive_create_started_at=until, pipedrive_create_name=name)
            return replace(progress, none_found=False), partial(create_person, pipedrive, sought, name, not_after)
        started_at = person.pipedrive_create_started_at or now
        if started_at > settled_before(now):
            return replace(progress, failure=NOT_CREATED_YET)
        must_list = Person.objects.filter(pipedrive_confirmed_at__isnull=False).exists()
        was_empty = person.push_error == NO_PERSONS
        sent = SentPerson(sought, person.pipedrive_create_name, started_at, must_list, was_empty)
        return progress, partial(find_created_person, pipedrive, sent)

    def _begin_look_up(
        self, person: Person, progress: Progress, gists: Gists, turn: Turn, store: PushStore
    ) -> tuple[Progress, Callable[[], Any]] | Progress:
        """The list of the person, then that of all, then the ids in between, as far as something is missing."""
        pipedrive, look_up = self._pipedrive, progress.look_up
        if look_up is None:
            filed_under = gists.started[0].pipedrive_person_id or person.pipedrive_id or 0
            same = tuple(gist for gist in gists.started if gist.pipedrive_person_id in (None, filed_under))
            look_up = LookUp(filed_under, same)
            since = min(gist.push_started_at or self._context.clock() for gist in same) - MAX_CLOCK_DIFFERENCE
            known = known_of_person(person, since, filed_under)
            progress = replace(progress, look_up=look_up)
            return progress, partial(list_recent_activities, pipedrive, filed_under, known, since)
        if look_up.next == Next.SCAN:  # The list was read by a preparation.
            if look_up.missing:
                look_up = store.match(look_up, self._preparation.scanned, by_ids_only=True)
            look_up = replace(look_up, next=Next.LOOK_UP_IDS)
        ids = unlisted_ids(look_up.missing, set(look_up.listed)) if look_up.missing else set()
        if ids:
            return replace(progress, look_up=look_up), partial(get_activities, pipedrive, ids)
        return store.resolve(person, look_up, progress, turn)

    def begin_creates(self, turn: Turn) -> list[int]:
        """Write the next gists of these people as started, with the moment until which their POSTs may be sent.

        Returns the people whose gist needs no POST any more.
        """
        creates, turn.creates = turn.creates, []
        if not creates:
            return []
        not_after = boot_clock() + settings.SEND_SECONDS  # Before the time that is written, so not later than that.
        now, options = self._context.clock(), self._context.options
        keys = [progress.next_gist for _, progress in creates]
        rows = Gist.objects.select_for_update().filter(push_state=State.PENDING).order_by("pk").in_bulk(keys)
        if self._preparation.has_known:
            self._adopt(rows, turn)
        ready = [(person, progress) for person, progress in creates if progress.next_gist in rows]
        other = [(person, progress) for person, progress in creates if progress.next_gist not in rows]
        for person, progress in other:  # It was skipped or deleted meanwhile, or has its activity.
            turn.in_hand[person.pk] = InHand(progress.without_next_gist())
        ready = self._book(ready, turn, now)
        until = now + timedelta(seconds=settings.SEND_SECONDS)
        pipedrive_id = Person.objects.filter(pk=OuterRef("person")).values("pipedrive_id")
        Gist.objects.filter(pk__in=[progress.next_gist for _, progress in ready]).update(
            push_state=State.STARTED,
            push_started_at=until,
            push_attempts=F("push_attempts") + 1,
            activity_outdated=False,  # An edit from now on sets it (see sync.poll.store).
            push_error="",
            pipedrive_person_id=Subquery(pipedrive_id),
            push_run_id=self._context.run_id,
        )
        for person, progress in ready:
            gist = rows[progress.next_gist]
            activity = new_activity(gist, person, type=options.activity_type, done=options.activity_done)
            known = self._find_known(person, progress) if progress.known is None else progress.known
            progress = replace(progress, known=known)
            is_first = not progress.refused
            post = Post(gist.pk, gist.github_id, until, person.pipedrive_id or 0, activity, known, is_first)
            ask = partial(create_activity, self._pipedrive, self._owner, post, not_after)
            turn.steps.append(Step(ask, person.pk))
            turn.in_hand[person.pk] = InHand(progress, Next.CREATE, link_of(person))
        return [person.pk for person, _ in other]

    def _book(self, ready: list[tuple[Person, Progress]], turn: Turn, now: datetime) -> list[tuple[Person, Progress]]:
        """Those who get one of the activities that are left; the run ends with the others."""
        if not ready:
            return ready
        try:
            number = self.budget.book(len(ready), self.budget.booked + turn.booked, now)
        except CapReachedError as error:
            turn.capped, number = error, 0
        turn.booked += number
        for person, _ in ready[number:]:
            turn.in_hand[person.pk] = None
        return ready[:number]

    @staticmethod
    def _find_known(person: Person, progress: Progress) -> tuple[int, ...]:
        """Some activities under the person's Pipedrive person: they show where a merge has moved them."""
        if not person.pipedrive_matched_at or person.push_attempted_at is None:
            return ()
        of_person = Gist.objects.filter(person=person, pipedrive_person_id=person.pipedrive_id)
        return tuple(of_person.activity_ids()[:MAX_KNOWN_ACTIVITIES])

    def _adopt(self, rows: dict[int, Gist], turn: Turn) -> None:
        """Those of these pending gists that have an activity become pushed."""
        known = KnownActivity.objects.find(gist.github_id for gist in rows.values())
        adopted = [gist for gist in rows.values() if gist.github_id in known and known[gist.github_id].activity_id]
        for gist in adopted:
            columns = known[gist.github_id].gist_columns(gist, self._context.clock())
            Gist.objects.filter(pk=gist.pk).update(**columns)
            del rows[gist.pk]
        KnownActivity.objects.drop(known[gist.github_id] for gist in adopted)
        turn.counts["gists_found"] += len(adopted)
