"""Push the gists of one person: link, resolve unknown outcomes, create activities. Called in the push lane's threads.

    pending -> started -> pushed | pending again | (decided in sync.push.push_results) rejected

Pipedrive may have the activity of a started gist, so the activity is searched (sync.crm.reconcile) before another POST
is sent.
"""

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from gisttracker.common.database import retried
from people.models import Gist, Person
from sync.clients.errors import (
    ConfigurationError,
    RejectedError,
    RetryNextRunError,
)
from sync.clients.pipedrive_records import Activity
from sync.crm.evidence import ListingEvidence
from sync.crm.reconcile import Reconciler
from sync.crm.restore import RestoreCheck
from sync.push.edits import Editor
from sync.push.link import Linker, LinkError
from sync.push.push_gist import GistPusher
from sync.push.refusals import MAX_SAME_GISTS, Refusal, Refusals, Step
from sync.run.claims import Claims
from sync.run.context import RunContext

MAX_UNKNOWN = 3  # pushes of one person in a row without a clear response: then it is the next person's turn
BATCH_SIZE = 50  # gists read at once
State = Gist.PushState


class GivenUpError(Exception):
    """The person is left to another run, between two gists."""


class _ReplacedError(Exception):
    """The person has got another Pipedrive person: compare its activities, and begin again."""


@dataclass
class _Progress:
    """The push of one person."""

    refusals: list[Refusal]  # all of this push, for the caller
    tried: set[int] = field(default_factory=set)  # gists, in this run
    created: int = 0
    unknown_in_a_row: int = 0
    may_be_replaced: bool = True

    @property
    def refused_in_a_row(self) -> int:
        """The last refusals for the same reason."""
        last = self.refusals[-1].key
        return len(list(itertools.takewhile(lambda refusal: refusal.key == last, reversed(self.refusals))))


class Pusher:
    """Pushes people's gists under the leases of the push lane. Thread-safe."""

    def __init__(
        self,
        context: RunContext,
        claims: Claims,
        run_id: int | None = None,
        gives_up: Callable[[], bool] = lambda: False,
    ) -> None:
        """`gives_up` is called between two gists: should this person be left to another run?"""
        self._gives_up = gives_up
        self.refusals = Refusals(context)
        self.linker = Linker(context, claims, self.refusals)
        self._context, self._claims = context, claims
        self._summary, self._pipedrive = context.summary, context.pipedrive
        evidence = ListingEvidence(context)
        self._reconciler = Reconciler(context, claims, evidence)
        self._restore_check = RestoreCheck(context, evidence)
        self._gist_pusher = GistPusher(context, claims, run_id)
        self._editor = Editor(context, claims, self.refusals, run_id)
        self._type_lock = threading.Lock()
        self._is_type_checked = False

    def push_person(self, person: Person, refusals: list[Refusal], *, is_lost: bool = False) -> None:
        """Link the person, resolve pushes with unknown outcome, push pending gists; then the edits.

        Refusals of single gists are added to `refusals`: whether those gists are rejected is decided later.
        `is_lost`: its Pipedrive person was found to be deleted.
        """
        self._check_activity_type()
        self._check_restore(person)
        if is_lost:
            self.linker.replace_if_lost(person)
        self._link_and_match(person)
        self._resolve_unknown(person)
        progress = _Progress(refusals)
        try:
            self._push_gists(person, progress)
        except _ReplacedError:
            self._link_and_match(person)
            progress.tried.clear()
            self._push_gists(person, progress)
        if self._context.options.push_edits:
            self._editor.push_edits(person)

    def _check_activity_type(self) -> None:
        """Once a run: open the circuit when there is no such activity type, before every gist is rejected for it."""
        with self._type_lock:  # The other threads wait for the result.
            if self._is_type_checked:
                return
            activity_type = self._context.options.activity_type
            try:
                types = self._pipedrive.get_activity_types()
            except (RejectedError, RetryNextRunError) as error:
                self._summary.problem(f"The activity type could not be checked: {error}")
            else:
                if activity_type not in types:
                    self._pipedrive.api.open_circuit(
                        ConfigurationError(
                            f"PIPEDRIVE_ACTIVITY_TYPE is {activity_type!r}, which does not exist at Pipedrive. "
                            f"Available: {', '.join(sorted(types))}"
                        )
                    )
            self._is_type_checked = True

    def _check_restore(self, person: Person) -> None:
        """Once a run, see sync.crm.restore. People who were claimed before a restore was noticed are compared, too."""
        if not self._restore_check.is_done:
            with self.refusals.watch(Step.LIST, person):
                self._restore_check.check()
        if self._restore_check.has_compared:
            _read_matched_at(person)

    def _link_and_match(self, person: Person) -> None:
        """Link the person; the activities of a Pipedrive person that was not created just now are compared first."""
        pipedrive_id = self.linker.link(person)
        if person.pipedrive_matched_at is None:
            with self.refusals.watch(Step.LIST, person):
                self._reconciler.match_existing(person, pipedrive_id)

    def _resolve_unknown(self, person: Person) -> None:
        last = 0
        while started := _read_gists(person, last, push_state=State.STARTED):
            with self.refusals.watch(Step.LIST, person):
                self._reconciler.resolve_unknown(person, _pipedrive_id(person), started)
            last = started[-1].pk

    # --- the gists of a person ---
    def _push_gists(self, person: Person, progress: _Progress) -> None:
        """_ReplacedError when the person has got another Pipedrive person, once."""
        for gist in self._pending(person, progress.tried):
            if self._gives_up():
                raise GivenUpError
            progress.tried.add(gist.pk)
            pipedrive_id = _pipedrive_id(person)
            try:
                created = self._gist_pusher.push(person, gist, pipedrive_id)
            except RejectedError as error:
                self._record_refusal(person, gist, error, progress)
                continue
            if created is None:
                progress.unknown_in_a_row += 1
                if progress.unknown_in_a_row >= MAX_UNKNOWN:
                    raise RetryNextRunError(
                        f"{MAX_UNKNOWN} activities in a row got no clear response. They are looked up in the next run."
                    )
            else:
                self.refusals.record_success(Step.PUSH)
                progress.created += 1
                progress.unknown_in_a_row = 0
                if created.filed_under != pipedrive_id:
                    self._report_filed_elsewhere(person, gist, created, progress)

    def _pending(self, person: Person, tried: set[int]) -> Iterator[Gist]:
        """The person's pending gists, oldest first; those that have failed before come last."""
        for attempts in ({"push_attempts": 0}, {"push_attempts__gt": 0}):
            last = 0
            while batch := _read_gists(person, last, push_state=State.PENDING, **attempts):
                self._restore_check.match(person, batch, self._claims)
                yield from (gist for gist in batch if gist.push_state == State.PENDING and gist.pk not in tried)
                last = batch[-1].pk

    def _record_refusal(self, person: Person, gist: Gist, error: RejectedError, progress: _Progress) -> None:
        refusal = Refusal(Step.PUSH, person, error, gist)
        if progress.may_be_replaced:
            progress.may_be_replaced = False
            try:
                is_replaced = self.linker.replace_if_lost(person)
            except LinkError:
                # The person cannot be used. If that is so for several people in a row, it is about us.
                refusal.gist = None
                self.refusals.record(refusal)
                progress.refusals.append(refusal)
                raise
            if is_replaced:
                raise _ReplacedError
        self.refusals.record(refusal)
        progress.refusals.append(refusal)
        self._pipedrive.api.circuit.raise_if_open()
        if not progress.created and progress.refused_in_a_row >= MAX_SAME_GISTS:
            for other in progress.refusals:
                other.gist = None  # It stays pending.
            raise RetryNextRunError(f"Pipedrive refused {MAX_SAME_GISTS} gists in a row for the same reason: {error}")

    def _report_filed_elsewhere(self, person: Person, gist: Gist, created: Activity, progress: _Progress) -> None:
        """Pipedrive has filed the activity under another person, or under none. Follow a merge."""
        message = f"Pipedrive filed the activity under {'another' if created.filed_under else 'no'} person."
        _store_remark(gist, message)
        self._summary.problem(message, person=person, gist=gist)
        if progress.may_be_replaced and created.filed_under:
            progress.may_be_replaced = False
            if self.linker.replace_if_lost(person):
                raise _ReplacedError


@retried
def _read_gists(person: Person, after: int, **selected: object) -> list[Gist]:
    return list(Gist.objects.filter(person=person, pk__gt=after, **selected).order_by("pk")[:BATCH_SIZE])


@retried
def _read_matched_at(person: Person) -> None:
    person.pipedrive_matched_at = Person.objects.values_list("pipedrive_matched_at", flat=True).get(pk=person.pk)


@retried
def _store_remark(gist: Gist, message: str) -> None:
    Gist.objects.filter(pk=gist.pk).update(push_error=message[:500])


def _pipedrive_id(person: Person) -> int:
    if person.pipedrive_id is None:
        raise ValueError(f"{person} is not linked yet")
    return person.pipedrive_id
