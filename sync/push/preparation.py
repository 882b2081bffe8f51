"""What a run asks Pipedrive once, before the people who need it: is it the right Pipedrive, with which persons?

Each is a step about the API as a whole. One that failed fails the person who needed it; it is tried again for the next.
"""

from collections import Counter
from datetime import datetime, timedelta
from enum import Enum, auto
from functools import partial
from typing import Any

from django.db.models import Q

from people.models import Gist, Person
from sync.clients.errors import (
    CircuitOpenError,
    ConfigurationError,
    OutageError,
    RejectedError,
    RetryNextRunError,
    RunStoppedError,
)
from sync.clients.pipedrive import PipedriveClient
from sync.clients.pipedrive_records import PipedrivePerson
from sync.context import RunContext
from sync.crm import github_field
from sync.crm.activity import person_name
from sync.crm.evidence import (
    MAX_CLOCK_DIFFERENCE,
    NewestActivities,
    known_activities,
    read_newest_activities,
    settled_before,
)
from sync.crm.lists import MAX_KNOWN, scan_activities
from sync.crm.recognition import Fingerprint
from sync.crm.restore import NewerActivities, describe_newer, read_newer, store_newer
from sync.models import GitHubIdField
from sync.push.directory import Persons, prepare_persons
from sync.push.persons import KnownPerson
from sync.push.push import LookUp, Next
from sync.push.store import Notes
from sync.steps import Outcome, Step
from sync.summary import describe_error

MAX_FAILURES = 3  # of one of these
NEEDS_KEY = (Next.FIND, Next.FIND_CREATED, Next.CREATE_PERSON, Next.WRITE_ID)


class Part(Enum):
    CHECK = auto()  # the activity type, and whether the database was restored
    FIELD = auto()  # the key of the custom field for the GitHub id
    CREATE_FIELD = auto()
    PERSONS = auto()  # the newest persons, or all
    SCAN = auto()  # the activities of all persons


class Preparation:
    """The answers of one run. Called in the main thread."""

    def __init__(self, context: RunContext) -> None:
        self.key = ""  # of the custom field; empty if there is none
        self.persons = Persons()
        self.scanned: list[Fingerprint] = []
        self.has_known = False  # Are there activities of gists that are not stored, or not pushed?
        self._context, self._pipedrive = context, context.pipedrive
        self._done: set[Part] = set()
        self._failed: dict[Part | None, str] = {}
        self._failures: Counter[Part | None] = Counter()
        self._running: Part | None = None
        self._known = NewestActivities(0, 0, ())
        self._scan_asked: datetime | None = None  # POSTs that had settled when the list was asked for
        self._scan_covers: datetime | None = None  # the same of the list in `scanned`
        self._row: GitHubIdField | None = None
        self._must_create_field = False

    @property
    def is_running(self) -> bool:
        return self._running is not None

    @property
    def needs_check(self) -> bool:
        """Nothing else is asked before. False while an answer is to be stored, or has to fail a person."""
        return Part.CHECK not in self._done and Part.CHECK not in self._failed and not self._running

    def is_id_written(self, person: Person) -> bool:
        self._row = self._row or github_field.get_row()
        return github_field.is_written(person.pipedrive_field_key, self._row, self._context.options.github_field)

    def step_before(self, step: Next, look_up: LookUp | None, notes: Notes) -> list[Step] | str | None:
        """What must be asked before this step: steps, none while one is running; or why it cannot be done.

        None: nothing. Which one begins is in `notes`, until their transaction is committed; see `commit`.
        """
        part = self._needed(step, look_up)
        if part is None:
            return None
        reason = self._failed.get(part)
        if reason:
            if self._failures[part] < MAX_FAILURES:  # It fails one person, and is tried again for the next.
                del self._failed[part]
            return reason
        if self._running or notes.preparing:
            return []
        ask = self._begin(part)
        if ask is None:
            return self.step_before(step, look_up, notes)
        notes.preparing = part.name
        return [Step(ask, None)]

    def commit(self, notes: Notes) -> None:
        """The transaction of these notes was committed."""
        if notes.has_prepared:
            self._running = None
        if notes.preparing:
            self._running = Part[notes.preparing]

    def _needed(self, step: Next, look_up: LookUp | None) -> Part | None:
        if Part.CHECK not in self._done:
            return Part.CHECK
        if step in NEEDS_KEY and Part.FIELD not in self._done:
            return Part.CREATE_FIELD if self._must_create_field else Part.FIELD
        if step == Next.FIND and Part.PERSONS not in self._done:
            return Part.PERSONS
        if step == Next.SCAN and look_up and look_up.missing and not self._covers(look_up):
            return Part.SCAN
        return None

    def _covers(self, look_up: LookUp) -> bool:
        started = [gist.push_started_at for gist in look_up.gists if gist.push_started_at]
        return self._scan_covers is not None and all(moment <= self._scan_covers for moment in started)

    def add_person(self, person: Person, pipedrive_id: int) -> None:
        """One that was created since the persons were read."""
        if self.persons.directory:
            fields = {self.key: str(person.github_id)} if self.key and person.github_id else None
            emails = [person.email] if person.email else []
            created = PipedrivePerson(pipedrive_id, person_name(person), emails, custom_fields=fields)
            self.persons.directory.add(created)

    # --- asking ---
    def _begin(self, part: Part) -> Any:
        """The step to hand out. None if it is answered without one."""
        now, options = self._context.clock(), self._context.options
        ask: Any
        if part == Part.CHECK:
            self._known = read_newest_activities(now)
            known = self._known
            ask = partial(check, self._pipedrive, options.activity_type, known.newest, known.settled)
        elif part == Part.FIELD:
            self._row = github_field.get_row()
            field = github_field.known_field(self._row, options.github_field, now)
            if field:
                self._store_field(field, now, is_new=field.problem != self._row.problem)
                return None
            ask = partial(github_field.look_up_field, self._pipedrive, self._row.key, options.github_field)
        elif part == Part.CREATE_FIELD:
            if not github_field.begin_to_create(self._row or github_field.get_row(), now):
                self._done.add(Part.FIELD)
                return None
            ask = partial(github_field.create_field, self._pipedrive)
        elif part == Part.PERSONS:
            written, waiting = self._find_known_person(now), count_unlinked()
            linked = Person.objects.filter(pipedrive_confirmed_at__isnull=False).order_by("-pipedrive_confirmed_at")
            exist = tuple(number or 0 for number in linked.values_list("pipedrive_id", flat=True)[:MAX_KNOWN])
            ask = partial(prepare_persons, self._pipedrive, self.key, waiting, exist, written, now)
        else:
            ask = self._begin_scan(now)
        return ask

    def _begin_scan(self, now: datetime) -> Any:
        started = Gist.objects.filter(push_state=Gist.PushState.STARTED, push_started_at__isnull=False)
        oldest = started.order_by("push_started_at").values_list("push_started_at", flat=True).first() or now
        since = oldest - MAX_CLOCK_DIFFERENCE
        self._scan_asked = settled_before(now)
        return partial(scan_activities, self._pipedrive, since, known_activities(now, since + 2 * MAX_CLOCK_DIFFERENCE))

    def _find_known_person(self, now: datetime) -> KnownPerson | None:
        before = now - timedelta(days=1)
        linked = Person.objects.filter(pipedrive_field_key=self.key, pipedrive_linked_at__lt=before)
        known = linked.filter(github_id__isnull=False).order_by("-pipedrive_linked_at").first() if self.key else None
        return KnownPerson(known.pipedrive_id or 0, str(known.github_id)) if known else None

    # --- storing: in the transaction of the outcomes ---
    def store(self, outcome: Outcome, notes: Notes) -> None:
        part = self._running
        if part is None:
            raise ValueError("no preparation is running")
        notes.has_prepared = True
        now = self._context.clock()
        if outcome.error and part == Part.CREATE_FIELD:
            problem = github_field.store_failure(outcome.error, now)
            if problem:
                notes.problem(problem)
            self._done.add(Part.FIELD)
        elif outcome.error:
            return
        elif part == Part.CHECK:
            problem, read = outcome.result
            self._store_check(problem, read, notes)
        elif part in (Part.FIELD, Part.CREATE_FIELD):
            if outcome.result.must_be_created:
                self._must_create_field = True
            else:
                self._store_field(outcome.result, now)
        elif part == Part.PERSONS:
            self.persons = outcome.result
            self._done.add(part)
        else:
            self.scanned, self._scan_covers = outcome.result, self._scan_asked

    def _store_check(self, problem: str, read: NewerActivities, notes: Notes) -> None:
        unknown = store_newer(read)
        if problem:
            notes.problem(problem)
        if self._known.newest and (unknown or read.has_too_many):
            notes.problem(describe_newer(read, unknown))
        # `read.found`: a transaction whose end was lost may have stored them before this repetition.
        self.has_known = bool(self._known.found or unknown or read.found)
        self._done.add(Part.CHECK)

    def _store_field(self, field: github_field.Field, now: datetime, *, is_new: bool = True) -> None:
        if is_new:
            github_field.store_field(field, now)
        self.key = field.key
        self._row = github_field.get_row()
        self._done.add(Part.FIELD)

    def note_failure(self, error: Exception) -> None:
        """Count the failure of the one that runs, once, before its outcome is stored."""
        part = self._running
        if part in (None, Part.CREATE_FIELD) or isinstance(error, CircuitOpenError | RunStoppedError):
            return
        reason = describe_error(None, error)
        self._failures[part] += 1
        words = "list activities" if part in (Part.CHECK, Part.SCAN) else "look up persons"
        is_refused = isinstance(error, RejectedError)
        if self._failures[part] >= MAX_FAILURES and (part == Part.CHECK or is_refused):
            kind = ConfigurationError if is_refused else OutageError
            advice = "Check the permissions of PIPEDRIVE_TOKEN's user, and PIPEDRIVE_API_URL."
            self._pipedrive.api.circuit.open(
                kind(f"Pipedrive did not {words}, so nothing is pushed. {advice} {reason}")
            )
        self._failed[part] = f"Pipedrive refused to {words}: {reason}"


def count_unlinked() -> int:
    """How many people wait for a Pipedrive person, or may once they were polled."""
    unlinked = Person.objects.filter(pipedrive_id=None, state__in=[Person.State.NEW, Person.State.ACTIVE])
    with_gists = Q(pk__in=Gist.objects.unfinished().order_by().values("person"))
    return unlinked.filter(with_gists | Q(polled_at=None)).count()


def check(
    pipedrive: PipedriveClient, activity_type: str, newest_known: int, known: tuple[int, ...]
) -> tuple[str, NewerActivities]:
    """A step. Opens the circuit when there is no such activity type, before every gist is refused for it.

    Returns why the type could not be checked, if so, and the activities after the newest one that is known.
    """
    problem = ""
    try:
        types = pipedrive.get_activity_types()
    except (RejectedError, RetryNextRunError) as error:
        problem = f"The activity type could not be checked: {error}"
    else:
        if activity_type not in types:
            pipedrive.api.open_circuit(
                ConfigurationError(
                    f"PIPEDRIVE_ACTIVITY_TYPE is {activity_type!r}, which does not exist at Pipedrive. "
                    f"Available: {', '.join(sorted(types))}"
                )
            )
    return problem, read_newer(pipedrive, newest_known, known)
