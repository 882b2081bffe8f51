"""Random events for Ada, Ben and both APIs, in any order; the guarantees must hold after each step.

The APIs are fakes in memory, so that thousands of steps take seconds; the run, the outbox and the database are real.
"""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from random import Random
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.apps import apps
from django.db import connection
from django.db.models import F
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from people.models import Gist, Person
from people.tracking import stop_tracking
from sync.clients.circuit import Circuit
from sync.clients.errors import (
    InvalidResponseError,
    NotFoundError,
    OutcomeUnknownError,
    RejectedError,
    RetryNextRunError,
)
from sync.clients.github import PAGE_SIZE, Account, GistFile, GistPage, Owner, PublicGist, StreamEntry, StreamPage
from sync.clients.pipedrive import LongPause
from sync.clients.pipedrive_records import Activity, NewActivity, PersonField, PipedrivePerson
from sync.clients.rate_limit import RateLimiter, SlidingWindow
from sync.context import Options, RunContext
from sync.crm.recognition import page_of_gist_in
from sync.models import Hint, PushAttempt, RunLease, StreamGap, StreamState, SyncRun
from sync.push.undo import undo
from sync.run.due import requested
from sync.run.lease import Lease
from sync.run.records import close_run, open_run
from sync.run.run import Run
from sync.stream import Stream
from tests.factories import create_person, lose_database
from tests.model.check import read_constants
from tests.model.events import Event, Landed, Refused, Removed, Sent, Undone
from tests.model.recorder import Recorder
from tests.model.trace import find_violations

NAMES = ("ada", "ben")
EXAMPLES = 25  # of 30 steps each
OF_STREAM = {Hint, StreamGap, StreamState}
NO_PROCESS = 2**30  # a process id that no system gives


class KilledError(BaseException):
    """The process is killed here: the main thread writes nothing more."""


class KilledThreadError(Exception):
    """The same in a thread, which makes no further request."""


class FakeApi:
    """The part of an Api that a run uses."""

    def __init__(self, name: str) -> None:
        self.name, self.request_count, self.is_killed = name, 0, False
        self.identity = ("url", "token")
        self.circuit, self.limiter = Circuit(name), RateLimiter(SlidingWindow(1_000_000, 1.0))

    def raise_if_stopping(self) -> None:
        if self.is_killed:
            raise KilledThreadError


STREAM = [
    "works", "is not read", "is down", "is missing", "is odd", "is full", "breaks off", "does not end",
    "repeats itself", "lies about Ada and Ben", "kills before", "kills after",
]  # fmt: skip
LAGS = [timedelta(0), timedelta(0), timedelta(minutes=3), timedelta(minutes=20), timedelta(days=10000)]
LIES = ["", "all accounts are gone", "lists are empty", "lists are cut short", "lists name another owner"]


class FakeGitHub:
    """Accounts by their ids; gists newest first, two on a page. `lie` is one of LIES, `stream` one of STREAM.

    `shown` has the entries of the stream, with the time from when on it shows them; `kill` ends the process.
    """

    etag_scope, deprecation, has_token, is_enterprise = "scope", "", True, False

    def __init__(self, clock: Callable[[], datetime], kill: Callable[[], None]) -> None:
        self.api, self.stream_api = FakeApi("GitHub"), FakeApi("GitHub")
        self.clock, self.kill, self.request_count = clock, kill, 0
        self.stream, self.shown = "works", dict[str, tuple[datetime, StreamEntry]]()
        self.remaining: dict[str, Any] = {}
        self.accounts = dict(enumerate(NAMES, start=1))
        self.gists: dict[int, dict[str, PublicGist]] = {number: {} for number in self.accounts}
        self.version = 0
        self.lie = ""

    def check_service(self) -> None:
        if self.lie == "all accounts are gone":
            raise NotFoundError("no such account", 404)

    def get_account(self, login: str) -> Account:
        return self.get_account_by_id(self._id_of(login))

    def get_account_by_id(self, account_id: int) -> Account:
        self.check_service()
        return Account(account_id, self.accounts[account_id], public_gists=len(self.gists[account_id]))

    def get_first_page(self, login: str, etag: str = "") -> GistPage:
        return self.get_page(f"{self._id_of(login)}/0", etag)

    def get_page(self, url: str, etag: str = "") -> GistPage:
        self.api.raise_if_stopping()
        self.check_service()
        account_id, start = map(int, url.split("/"))
        if start and self.lie == "lists are cut short":
            raise RetryNextRunError("the connection was closed")
        if self.lie == "lists are empty":
            return GistPage([], "lie")
        if self.lie == "lists name another owner":
            account_id = 3 - account_id
        elif etag == str(self.version):
            return GistPage([], unchanged=True)
        rows = sorted(self.gists[account_id].values(), key=lambda gist: gist.created_at, reverse=True)
        next_url = f"{account_id}/{start + 2}" if start + 2 < len(rows) else ""
        return GistPage(rows[start : start + 2], str(self.version), next_url)

    def get_stream_page(self, url: str) -> StreamPage:
        """Oldest first, which is not how GitHub sorts it."""
        self.api.raise_if_stopping()
        if self.stream.startswith("kills"):
            self.kill()
            if threading.current_thread() is threading.main_thread():
                raise KilledError
        if self.stream in STREAM_ERRORS:
            raise STREAM_ERRORS[self.stream]
        query, now = dict(parse_qsl(urlsplit(url).query)), self.clock()
        since = datetime.fromisoformat(query["since"])
        shown = [entry for seen_from, entry in self.shown.values() if seen_from <= now]
        entries = [entry for entry in shown if entry.updated_at >= since]
        if self.stream == "repeats itself":
            return StreamPage(shown, len(shown))
        if self.stream == "does not end":
            return StreamPage(entries, PAGE_SIZE)
        if self.stream == "lies about Ada and Ben":
            moments = [now, now - timedelta(minutes=4), *(datetime(year, 1, 1, tzinfo=UTC) for year in (1970, 8999))]
            lies = product(["ffff", *self.gists[1], *self.gists[2]], moments, self.accounts)
            entries += [StreamEntry(gist, moment, Owner(owner, "x")) for gist, moment, owner in lies]
        if self.stream in ("is full", "breaks off"):  # The newest entry hides the others.
            if self.stream == "breaks off" and query["page"] == "2":
                raise RetryNextRunError("the connection was closed")
            return StreamPage([*entries[-1:], StreamEntry(query["page"], now, Owner(7, "stranger"))], PAGE_SIZE)
        return StreamPage(entries, len(entries))

    def _id_of(self, login: str) -> int:
        for number, name in self.accounts.items():
            if name == login.lower():
                return number
        raise NotFoundError("no such account", 404)


STREAM_ERRORS = {
    "is down": RetryNextRunError("the connection was closed"),
    "is missing": NotFoundError("Not Found", 404),
    "is odd": ValueError("Invalid IPv6 URL"),
    "kills before": KilledThreadError(),
}
POSTS = ["succeeds", "is rejected", "is lost before", "is lost after", "is killed before", "is killed after"]
PIPEDRIVE_LIES = ["", "lists of activities are empty", "searches find nothing", "nothing is found", "half a list"]


class FakePipedrive:
    """Persons and activities. `next_posts` are the outcomes of the next POSTs; `kill` ends the process.

    `lie` is one of PIPEDRIVE_LIES.
    """

    def __init__(self, clock: Callable[[], datetime], kill: Callable[[], None], emit: Callable[[Event], None]) -> None:
        self.api, self.emit, self.run, self.request_count = FakeApi("Pipedrive"), emit, "", 0
        self.remaining: dict[str, Any] = {}
        self.long_pause: LongPause | None = None
        self.fields: list[PersonField] = [PersonField("name", "Name")]
        self.persons: dict[int, PipedrivePerson] = {}
        self.activities: dict[int, Activity] = {}
        self.gist_of: dict[int, str] = {}  # by activity: notes can be edited
        self.edited: set[int] = set()  # activities that a colleague has edited since
        self.clock, self.kill = clock, kill
        self.next_posts: list[str] = []
        self.lie = ""

    @property
    def deleted(self) -> set[str]:
        """Gists whose activity a user deleted."""
        return {self.gist_of[number] for number, row in self.activities.items() if row.is_deleted}

    def owners(self) -> dict[str, int]:
        """The Pipedrive person by gist, of activities that are not deleted."""
        return {self.gist_of[row.id]: row.person_id or 0 for row in self.activities.values() if not row.is_deleted}

    def merge(self, person_id: int, into: int) -> None:
        survivor = self.persons[into]
        fields = {**(self.persons[person_id].custom_fields or {}), **(survivor.custom_fields or {})}
        self.persons[into] = replace(survivor, custom_fields=fields)
        self.persons[person_id] = replace(self.persons[person_id], is_deleted=True)
        for number, row in self.activities.items():
            if row.person_id == person_id:
                self.activities[number] = replace(row, person_id=into)

    def delete_activity(self, activity_id: int) -> None:
        self.activities[activity_id] = replace(self.activities[activity_id], is_deleted=True)
        self.emit(Removed(self.clock().timestamp(), activity_id))

    def _post(self, create: Callable[[], Any]) -> Any:
        self.api.raise_if_stopping()
        outcome = self.next_posts.pop(0) if self.next_posts else "succeeds"
        if outcome == "is rejected":
            raise RejectedError("400", 400)
        created = create() if outcome not in ("is lost before", "is killed before") else None
        if outcome.startswith("is killed"):
            self.kill()
            raise KilledThreadError
        if outcome.startswith("is lost"):
            raise OutcomeUnknownError("no response")
        return created

    def _list(self, rows: list[Activity]) -> Iterator[Activity]:
        self.api.raise_if_stopping()
        if self.lie == "nothing is found":
            raise NotFoundError("404", 404)
        rows = sorted((row for row in rows if not row.is_deleted), key=lambda row: -row.id)
        if self.lie == "lists of activities are empty":
            rows = []
        if self.lie == "half a list":
            yield from rows[: len(rows) // 2]
            raise InvalidResponseError("the list does not end")
        yield from rows

    def _find(self, found: list[PipedrivePerson]) -> list[PipedrivePerson]:
        self.api.raise_if_stopping()
        return [] if self.lie == "searches find nothing" else [row for row in found if not row.is_deleted]

    def _get(self, rows: Mapping[int, Any], number: int) -> Any:
        self.api.raise_if_stopping()
        if number not in rows or self.lie == "nothing is found":
            raise NotFoundError("404", 404)
        return rows[number]

    def iter_last_activities(self, updated_since: datetime | None = None) -> Iterator[Activity]:
        return self._list(list(self.activities.values()))

    def iter_newest_activities(self, person_id: int) -> Iterator[Activity]:
        return self._list([row for row in self.activities.values() if row.person_id == person_id])

    def get_activity(self, activity_id: int) -> Activity:
        return self._get(self.activities, activity_id)

    def get_activity_types(self) -> list[str]:
        return ["task"]

    def get_person_fields(self) -> list[PersonField]:
        return self.fields

    def create_person_field(self, name: str) -> PersonField:
        self.fields.append(PersonField("f1", name))
        return self.fields[-1]

    def search_persons_by_field(self, key: str, value: str) -> list[int]:
        rows = self._find(list(self.persons.values()))
        return [row.id for row in rows if (row.custom_fields or {}).get(key) == value]

    def search_persons_by_email(self, email: str) -> list[PipedrivePerson]:
        return []

    def search_persons_by_name(self, part: str) -> list[PipedrivePerson]:
        return self._find([person for person in self.persons.values() if part in (person.name or "")])

    def iter_newest_persons(self) -> Iterator[PipedrivePerson]:
        return iter(sorted(self.persons.values(), key=lambda person: -person.id))

    def get_person(self, person_id: int, *, count_activities: bool = False) -> PipedrivePerson:
        person: PipedrivePerson = self._get(self.persons, person_id)
        count = [row for row in self.activities.values() if row.person_id == person_id and not row.is_deleted]
        return replace(person, activities_count=len(count) if count_activities else None)

    def set_custom_field(self, person_id: int, key: str, value: str) -> None:
        person = self._get(self.persons, person_id)
        self.persons[person_id] = replace(person, custom_fields={key: value})

    def create_person(
        self,
        name: str,
        email: str = "",
        *,
        custom_fields: Mapping[str, str] | None = None,
        subject: str = "",
        not_after: float | None = None,
    ) -> PipedrivePerson:
        def create() -> PipedrivePerson:
            number = len(self.persons) + 1
            fields = dict(custom_fields or {})
            self.persons[number] = PipedrivePerson(number, name, [], self.clock(), custom_fields=fields)
            return self.persons[number]

        return self._post(create)

    def create_activity(
        self, person_id: int, activity: NewActivity, *, owner_id: int | None = None, not_after: float | None = None
    ) -> Activity:
        def create() -> Activity:
            number, now = 1 + len(self.activities), self.clock()  # Few ids, so that all are looked up.
            shown = {name: getattr(activity, name) for name in ("subject", "note", "due_date", "due_time")}
            row = Activity(number, add_time=now, update_time=now, person_id=person_id, **shown)
            self.activities[number] = row
            self.gist_of[number] = gist
            self.emit(Landed(now.timestamp(), gist, number))
            return row

        gist = page_of_gist_in(activity.note)
        self.api.raise_if_stopping()
        self.emit(Sent(self.clock().timestamp(), self.run, gist))
        try:
            if self.persons[person_id].is_deleted:
                raise NotFoundError("404", 404)
            return self._post(create)
        except RejectedError:
            self.emit(Refused(self.clock().timestamp(), self.run, gist))
            raise

    def update_activity(self, activity_id: int, subject: str, note: str) -> Activity:
        row = self._get(self.activities, activity_id)
        if row.is_deleted:
            raise NotFoundError("404", 404)
        self.activities[activity_id] = replace(row, subject=subject, note=note, update_time=self.clock())
        self.edited.discard(activity_id)
        return self.activities[activity_id]


def everything_but_hints() -> list[list[dict[str, Any]]]:
    """All rows of people and of the job."""
    models = [model for name in ("people", "sync") for model in apps.get_app_config(name).get_models()]
    rows = [list(model._default_manager.order_by("pk").values()) for model in models if model not in OF_STREAM]
    return [[{**row, "sync_requested_at": None} for row in table] for table in rows]


class OutboxMachine(RuleBasedStateMachine):
    """Events in any order; every other one is a run, which may crash in the middle of a POST.

    One rule chooses the event: hypothesis would leave out some of several rules in each example. A run has one thread
    for each API, so that the same events always have the same effects. `trace` has what happens to gists and activities
    in the words of the model, which forbids more than what does harm.
    """

    @initialize()
    def begin(self) -> None:
        lose_database()
        StreamState.objects.all().delete()
        StreamGap.objects.all().delete()
        RunLease.objects.all().delete()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.trace: list[Event] = []
        self.limits = read_constants()
        self.github = FakeGitHub(self.clock, self.kill)
        self.pipedrive = FakePipedrive(self.clock, self.kill, self.trace.append)
        self.recorder = Recorder(self.trace.append, lambda: self.now.timestamp())
        self.watching = connection.execute_wrapper(self.recorder.watch)
        self.watching.__enter__()
        self.published = self.contacts = self.commits = 0
        self.late: set[str] = set()  # gists that the stream shows too late, if at all
        for number, name in enumerate(NAMES, start=1):
            self.track(name)
            self.add_gists(1, 2)
            self.add_gists(number, 2)
            if number == 1:  # So Ada has her Pipedrive person and some activities, and Ben has not.
                self.poll_and_push()

    def track(self, login: str) -> None:
        person = create_person(login)
        Person.objects.filter(pk=person.pk).update(created_at=self.clock())

    def clock(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    def all_gists(self) -> list[PublicGist]:
        return [gist for gists in self.github.gists.values() for gist in gists.values()]

    @rule(rng=st.randoms(use_true_random=True))
    def step(self, rng: Random) -> None:
        events = [
            self.publish, self.edit, self.rename,
            self.delete_an_activity, self.edit_an_activity, self.rename_a_contact, self.merge_a_contact,
            self.push_again, self.skip, self.delete_and_add_again, self.undo, self.read_the_stream,
        ]  # fmt: skip
        runs = [self.run, self.run_with_failing_posts, self.run_with_lies, self.run_with_a_kill]
        runs += 2 * [self.run_for_hinted_people]
        event = rng.choice(runs if rng.random() < 0.5 else events)
        note(event.__name__)
        event(rng)

    # --- events at GitHub and Pipedrive ---
    def publish(self, rng: Random) -> None:
        """The stream shows it, perhaps late, or never."""
        self.add_gists(rng.choice([1, 2]), rng.randint(1, 4), lag=rng.choice(LAGS))

    def add_gists(self, number: int, count: int, lag: timedelta = timedelta(0)) -> None:
        for _ in range(count):
            self.published += 1
            self.github.version += 1
            self.now += timedelta(minutes=1)  # Each has a due time of its own.
            created = self.clock()
            gist_id = f"{self.published:04x}"
            self.github.gists[number][gist_id] = PublicGist(
                gist_id,
                f"https://gist.github.com/{gist_id}",
                f"https://gist.github.com/{gist_id}.git",
                created,
                created,
                {"a": GistFile("a", "https://x.test/a")},
                "Draft",
                owner=Owner(number, self.github.accounts[number]),
            )
            self.show(self.github.gists[number][gist_id], lag)

    def show(self, gist: PublicGist, lag: timedelta) -> None:
        """In the stream, after this time."""
        if lag > timedelta(minutes=5):
            self.late.add(gist.id)
        self.github.shown[gist.id] = self.now + lag, StreamEntry(gist.id, gist.updated_at, gist.owner)

    def edit(self, rng: Random) -> None:
        gist = rng.choice(self.all_gists())
        self.github.version += 1
        changed = replace(gist, description=f"Edit {self.github.version}", updated_at=self.clock())
        self.github.gists[gist.owner.id if gist.owner else 0][gist.id] = changed
        self.show(changed, rng.choice(LAGS))

    def rename(self, rng: Random) -> None:
        """Only after the first poll, which stores the account's id: before it, a renamed account cannot be found."""
        number = rng.choice([1, 2])
        if not Person.objects.filter(github_id=number).exists():
            return
        self.github.version += 1
        self.github.accounts[number] = f"{NAMES[number - 1]}-{self.github.version}"

    def delete_an_activity(self, rng: Random) -> None:
        if self.pipedrive.activities:
            self.pipedrive.delete_activity(rng.choice(sorted(self.pipedrive.activities)))

    def edit_an_activity(self, rng: Random) -> None:
        """By a colleague; the gist's id, or else subject and due time, still show what it is about."""
        if not self.pipedrive.activities:
            return
        number = rng.choice(sorted(self.pipedrive.activities))
        row = self.pipedrive.activities[number]
        changes: list[dict[str, Any]] = [
            {"note": f"<p>Called, see <a href='https://crm.test/7'>7</a></p>{row.note}"},
            {"note": f"about https://gist.github.com/{self.pipedrive.gist_of[number]}?file=a#b"},
            {"subject": "Read this"},
        ]
        self.pipedrive.activities[number] = replace(row, **rng.choice(changes), update_time=self.clock())
        self.pipedrive.edited.add(number)

    def rename_a_contact(self, rng: Random) -> None:
        if self.pipedrive.persons:
            number = rng.choice(sorted(self.pipedrive.persons))
            self.pipedrive.persons[number] = replace(self.pipedrive.persons[number], name="Countess")

    def merge_a_contact(self, rng: Random) -> None:
        """Into the CRM's own contact. Only with an activity that we know, which leads to that contact."""
        known = Gist.objects.filter(push_state="pushed", pipedrive_person_id=F("person__pipedrive_id"))
        existing = [number for number, row in self.pipedrive.activities.items() if not row.is_deleted]
        merged = sorted(gist.pipedrive_person_id or 0 for gist in known.filter(pipedrive_activity_id__in=existing))
        if not merged:
            return
        number = rng.choice(merged)
        into = len(self.pipedrive.persons) + 1
        self.pipedrive.persons[into] = PipedrivePerson(into, "CRM contact", [], self.clock())
        self.contacts += 1
        self.pipedrive.merge(number, into)

    # --- users and operators ---
    def push_again(self, rng: Random) -> None:
        Gist.objects.push_again()

    def skip(self, rng: Random) -> None:
        for key in rng.sample(sorted(Gist.objects.values_list("pk", flat=True)), min(2, Gist.objects.count())):
            Gist.objects.filter(pk=key).skip("No.")

    def delete_and_add_again(self, rng: Random) -> None:
        """The new row has the present login, as a user types it."""
        number = rng.choice([1, 2])
        people = Person.objects.filter(github_id=number)
        if people.exists():
            stop_tracking(people, lambda people: None)
            self.track(self.github.accounts[number])

    def undo(self, rng: Random) -> None:
        created = PushAttempt.objects.filter(outcome="succeeded", kind="create")
        runs = sorted({number for number in created.values_list("run_id", flat=True) if number})
        if not runs:
            return
        self.pipedrive.lie = ""
        lease = Lease(self.clock, threading.Event())
        lease.take()
        pipedrive: Any = self.pipedrive
        list(undo(SyncRun.objects.get(pk=rng.choice(runs)), pipedrive, self.clock, lease.writing, dry_run=False))
        lease.release()

    # --- the stream ---
    def choose_stream(self, rng: Random, bad: Collection[str] = STREAM) -> None:
        self.github.stream = "works" if rng.random() < 0.5 else rng.choice(list(bad))

    def new_stream(self) -> Stream:
        github: Any = self.github
        return Stream(github, self.clock, is_on=self.github.stream != "is not read")

    def read_the_stream(self, rng: Random) -> None:
        """A hint changes nothing but who is polled when."""
        self.choose_stream(rng, STREAM[:-2])
        before = everything_but_hints()
        stream = self.new_stream()
        stream.look()
        stream.advance([], is_tick=False)
        assert everything_but_hints() == before

    # --- runs ---
    def run(self, rng: Random) -> None:
        self.time_passes(rng)
        self.choose_stream(rng)
        self.poll_and_push(full=rng.random() < 0.5, edits=rng.random() < 0.5)

    def run_for_hinted_people(self, rng: Random) -> None:
        """As the command does it: the stream is read first, if no one waits."""
        self.time_passes(rng)
        self.choose_stream(rng)
        stream = self.new_stream()
        try:
            has_work = Person.objects.filter(requested(self.clock())).exists() or stream.look()
        except KilledError:
            self.start_again()
            return
        if has_work:
            self.poll_and_push(rng.choices(POSTS, k=2), stream=stream)

    def run_with_a_kill(self, rng: Random) -> None:
        """After a commit, such as that of hints."""
        self.time_passes(rng)
        self.choose_stream(rng)
        self.poll_and_push(commits=rng.randint(1, 6))

    def run_with_failing_posts(self, rng: Random) -> None:
        self.time_passes(rng)
        self.choose_stream(rng)
        self.poll_and_push(rng.choices(POSTS, k=6))

    def run_with_lies(self, rng: Random) -> None:
        self.time_passes(rng)
        self.choose_stream(rng)
        posts = rng.choices(POSTS, k=rng.randint(0, 4))
        self.poll_and_push(posts, full=True, lie=rng.choice(LIES), pipedrive_lie=rng.choice(PIPEDRIVE_LIES))

    def poll_and_push(
        self,
        posts: Collection[str] = (),
        *,
        full: bool = False,
        edits: bool = True,
        lie: str = "",
        pipedrive_lie: str = "",
        stream: Stream | None = None,
        commits: int = 0,
    ) -> None:
        """`stream`: of a run for requested people. `commits`: after so many, the process is killed."""
        self.commits = commits
        self.pipedrive.next_posts, self.github.lie, self.pipedrive.lie = list(posts), lie, pipedrive_lie
        for api in (self.github.api, self.github.stream_api, self.pipedrive.api):
            api.circuit = Circuit(api.name)
        lease = Lease(self.clock, threading.Event())
        lease.take()
        self.pipedrive.run = lease.token
        github: Any = self.github
        pipedrive: Any = self.pipedrive
        try:
            record = open_run(lease, self.clock, "requested" if stream else "schedule")
            options = Options(concurrency=1, full=full, push_edits=edits, requested_only=stream is not None)
            context = RunContext(
                record.pk, options, github, pipedrive, self.clock, partial(self.writing, lease), threading.Event()
            )
            Run(record, context, stream=stream or self.new_stream())()
            if github.api.is_killed:
                raise KilledError
            close_run(record, context, lease, SyncRun.Outcome.SUCCEEDED, cleans_up=False)
            lease.release()
        except KilledError:
            self.start_again()

    def kill(self) -> None:
        """From now on, this process makes no request, writes nothing and keeps its lease."""
        self.github.api.is_killed = self.pipedrive.api.is_killed = True

    def start_again(self) -> None:
        self.github.api.is_killed = self.pipedrive.api.is_killed = False
        RunLease.objects.update(pid=NO_PROCESS)  # The next run sees that it died.
        self.recorder.lose_lease()

    @contextmanager
    def writing(self, lease: Lease) -> Iterator[None]:
        if self.github.api.is_killed:
            raise KilledError
        with lease.writing():
            yield
        self.commits -= 1
        if self.commits == 0:
            self.kill()

    def time_passes(self, rng: Random) -> None:
        self.now += timedelta(minutes=rng.choice([0, 1, 3, 3, 15, 70]))

    # --- guarantees ---
    @invariant()
    def no_person_is_gone_and_no_gist_is_removed(self) -> None:
        assert set(Person.objects.values_list("state", flat=True)) <= {"new", "active"}
        existing = {gist.id for gist in self.all_gists()}
        assert not Gist.objects.filter(github_id__in=existing).exclude(removed_at=None).exists()

    @invariant()
    def no_gist_has_two_activities(self) -> None:
        existing = [self.pipedrive.gist_of[row.id] for row in self.pipedrive.activities.values() if not row.is_deleted]
        created = Counter(self.pipedrive.gist_of.values())
        undone = Counter(event.gist for event in self.trace if isinstance(event, Undone))
        assert len(set(existing)) == len(existing), existing
        assert all(count <= 1 + undone[gist] for gist, count in created.items()), (created, undone)

    @invariant()
    def nothing_has_happened_that_the_model_forbids(self) -> None:
        violations = find_violations(self.trace, self.limits)
        assert not violations, "\n".join([*violations, *map(str, self.trace)])

    @invariant()
    def every_activity_belongs_to_the_gist_s_owner(self) -> None:
        stored = {gist.github_id: gist for gist in Gist.objects.select_related("person")}
        for gist_id, owner in self.pipedrive.owners().items():
            number = next(key for key, gists in self.github.gists.items() if gist_id in gists)
            assert gist_id not in stored or stored[gist_id].person.github_id == number
            written = self.pipedrive.persons[owner].custom_fields or {}
            assert set(written.values()) <= {str(number)}

    @invariant()
    def every_pushed_gist_has_its_activity(self) -> None:
        for gist in Gist.objects.filter(push_state="pushed"):
            assert self.pipedrive.gist_of[gist.pipedrive_activity_id or 0] == gist.github_id

    @invariant()
    def no_gist_was_missed_that_the_stream_has_shown_in_time(self) -> None:
        missed = Gist.objects.filter(discovery="missed").values_list("github_id", flat=True)
        assert set(missed) <= self.late

    def teardown(self) -> None:
        """After runs without failures, every gist has its activity, which shows its last edit."""
        if not hasattr(self, "github"):
            return
        try:
            self.end_well()
        finally:
            self.watching.__exit__(None, None, None)

    def end_well(self) -> None:
        self.github.stream = "works"
        for _ in range(3):
            self.now += timedelta(hours=25)  # longer than any pause after failures
            Gist.objects.push_again()
            self.poll_and_push(full=True)
        self.no_gist_has_two_activities()
        self.nothing_has_happened_that_the_model_forbids()
        assert set(self.pipedrive.gist_of.values()) == {gist.id for gist in self.all_gists()}
        assert len(self.pipedrive.persons) <= len(NAMES) + self.contacts
        assert set(Gist.objects.values_list("push_state", flat=True)) <= {"pushed"}
        for gist in Gist.objects.all():
            row = self.pipedrive.activities[gist.pipedrive_activity_id or 0]
            is_left_alone = row.is_deleted or row.id in self.pipedrive.edited
            assert is_left_alone or gist.description in (row.note or ""), (gist, row)


@pytest.mark.both
@pytest.mark.slow("750 steps, half of them a run")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("examples", [EXAMPLES, pytest.param(40 * EXAMPLES, marks=pytest.mark.proof)])
def test_the_guarantees_hold_after_any_events_in_any_order(examples: int) -> None:
    run_state_machine_as_test(
        OutboxMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            phases=[Phase.generate],  # Shrinking a failure takes minutes; thirty steps are readable.
            suppress_health_check=list(HealthCheck),
        ),
    )
