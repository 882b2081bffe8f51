"""Random events for Ada, Ben and both APIs, in any order; the guarantees must hold after each step.

The APIs are fakes in memory, so that thousands of steps take seconds; the run, the outbox and the database are real.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models import F
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from people.models import Gist, Person
from sync.clients.circuit import Circuit
from sync.clients.errors import (
    InvalidResponseError,
    NotFoundError,
    OutcomeUnknownError,
    RejectedError,
    RetryNextRunError,
)
from sync.clients.github import Account, GistFile, GistPage, Owner, PublicGist
from sync.clients.pipedrive import LongPause
from sync.clients.pipedrive_records import Activity, NewActivity, PersonField, PipedrivePerson
from sync.clients.rate_limit import RateLimiter, SlidingWindow
from sync.context import Options, RunContext
from sync.crm.recognition import page_of_gist_in
from sync.models import SyncRun
from sync.run.records import open_run
from sync.run.run import Run
from tests.factories import create_person, lose_database

SETTLE_DELAY = timedelta(seconds=120)
NAMES = ("ada", "ben")
EXAMPLES = 40  # of up to 20 steps each


class KilledError(BaseException):
    """The process is killed here: nothing after it runs, not even a `finally`."""


class FakeApi:
    """The part of an Api that a run uses."""

    def __init__(self, name: str) -> None:
        self.name, self.request_count, self.is_killed = name, 0, False
        self.identity = ("url", "token")
        self.circuit, self.limiter = Circuit(name), RateLimiter(SlidingWindow(1_000_000, 1.0))

    def raise_if_stopping(self) -> None:
        """A killed process makes no further request in any of its threads."""
        if self.is_killed:
            raise KilledError


LIES = ["", "all accounts are gone", "lists are empty", "lists are cut short", "lists name another owner"]


class FakeGitHub:
    """Accounts by their ids; gists newest first, two on a page. `lie` is one of LIES."""

    etag_scope, deprecation = "scope", ""

    def __init__(self) -> None:
        self.api = FakeApi("GitHub")
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

    def _id_of(self, login: str) -> int:
        for number, name in self.accounts.items():
            if name == login.lower():
                return number
        raise NotFoundError("no such account", 404)


PIPEDRIVE_LIES = ["", "lists of activities are empty", "searches find nothing", "nothing is found", "half a list"]


class FakePipedrive:
    """Persons and activities. `next_post` is the outcome of the next POST; `kill` ends the process.

    `lie` is one of PIPEDRIVE_LIES.
    """

    def __init__(self, clock: Callable[[], datetime], kill: Callable[[], None]) -> None:
        self.api = FakeApi("Pipedrive")
        self.remaining: dict[str, Any] = {}
        self.long_pause: LongPause | None = None
        self.fields: list[PersonField] = [PersonField("name", "Name")]
        self.persons: dict[int, PipedrivePerson] = {}
        self.activities: dict[int, Activity] = {}
        self.gist_of: dict[int, str] = {}  # by activity: notes can be edited
        self.edited: set[int] = set()  # activities that a colleague has edited since
        self.clock, self.kill = clock, kill
        self.next_post = "succeeds"
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

    def _post(self, create: Callable[[], Any]) -> Any:
        self.api.raise_if_stopping()
        outcome, self.next_post = self.next_post, "succeeds"
        if outcome == "is rejected":
            raise RejectedError("400", 400)
        created = create() if outcome not in ("is lost before", "is killed before") else None
        if outcome.startswith("is killed"):
            self.kill()
            raise KilledError
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
        self, name: str, email: str = "", *, custom_fields: Mapping[str, str] | None = None, subject: str = ""
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
            number, now = 1000 + len(self.activities), self.clock()
            shown = {name: getattr(activity, name) for name in ("subject", "note", "due_date", "due_time")}
            row = Activity(number, add_time=now, update_time=now, person_id=person_id, **shown)
            self.activities[number] = row
            self.gist_of[number] = page_of_gist_in(activity.note)
            return row

        if (self.persons[person_id]).is_deleted:
            raise NotFoundError("404", 404)
        return self._post(create)

    def update_activity(self, activity_id: int, subject: str, note: str) -> Activity:
        row = self._get(self.activities, activity_id)
        if row.is_deleted:
            raise NotFoundError("404", 404)
        self.activities[activity_id] = replace(row, subject=subject, note=note, update_time=self.clock())
        self.edited.discard(activity_id)
        return self.activities[activity_id]


class OutboxMachine(RuleBasedStateMachine):
    """Events in any order; `poll_and_push` is a run, which may crash in the middle of a POST.

    Each lane has one thread, so that the same events always have the same effects.
    """

    @initialize()
    def begin(self) -> None:
        lose_database()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.github = FakeGitHub()
        self.pipedrive = FakePipedrive(self.clock, self.kill)
        self.published = self.contacts = 0
        for name in NAMES:
            create_person(name)

    def clock(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    def all_gists(self) -> list[PublicGist]:
        return [gist for gists in self.github.gists.values() for gist in gists.values()]

    # --- events at GitHub and Pipedrive ---
    @rule(number=st.sampled_from([1, 2]), count=st.integers(1, 4))
    def publish(self, number: int, count: int) -> None:
        for _ in range(count):
            self.published += 1
            self.github.version += 1
            created = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=self.published)
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

    @precondition(lambda self: self.all_gists())
    @rule(data=st.data())
    def edit(self, data: st.DataObject) -> None:
        gist = data.draw(st.sampled_from(self.all_gists()))
        self.github.version += 1
        changed = PublicGist(**{**vars(gist), "description": f"Edit {self.github.version}"})
        self.github.gists[gist.owner.id if gist.owner else 0][gist.id] = changed

    @rule(number=st.sampled_from([1, 2]))
    def rename(self, number: int) -> None:
        """Only after the first poll, which stores the account's id: before it, a renamed account cannot be found."""
        if not Person.objects.filter(github_id=number).exists():
            return
        self.github.version += 1
        self.github.accounts[number] = f"{NAMES[number - 1]}-{self.github.version}"

    @precondition(lambda self: self.pipedrive.activities)
    @rule(data=st.data())
    def delete_an_activity(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.pipedrive.activities)))
        self.pipedrive.activities[number] = replace(self.pipedrive.activities[number], is_deleted=True)

    @precondition(lambda self: self.pipedrive.activities)
    @rule(data=st.data(), change=st.sampled_from(["write above", "shorten", "change the subject"]))
    def edit_an_activity(self, data: st.DataObject, change: str) -> None:
        """By a colleague; the gist's id, or else subject and due time, still show what it is about."""
        number = data.draw(st.sampled_from(sorted(self.pipedrive.activities)))
        row = self.pipedrive.activities[number]
        changes: dict[str, Any] = {
            "write above": {"note": f"<p>Called, see <a href='https://crm.test/7'>7</a></p>{row.note}"},
            "shorten": {"note": f"about https://gist.github.com/{self.pipedrive.gist_of[number]}?file=a#b"},
            "change the subject": {"subject": "Read this"},
        }[change]
        self.pipedrive.activities[number] = replace(row, **changes, update_time=self.clock())
        self.pipedrive.edited.add(number)

    @precondition(lambda self: self.pipedrive.persons)
    @rule(data=st.data())
    def rename_a_contact(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.pipedrive.persons)))
        self.pipedrive.persons[number] = replace(self.pipedrive.persons[number], name="Countess")

    @precondition(lambda self: Person.objects.filter(pipedrive_id__isnull=False).exists())
    @rule(data=st.data())
    def merge_a_contact(self, data: st.DataObject) -> None:
        """Into the CRM's own contact. Only with an activity that we know, which leads to that contact."""
        known = Gist.objects.filter(push_state="pushed", pipedrive_person_id=F("person__pipedrive_id"))
        existing = [number for number, row in self.pipedrive.activities.items() if not row.is_deleted]
        merged = sorted(gist.pipedrive_person_id or 0 for gist in known.filter(pipedrive_activity_id__in=existing))
        if not merged:
            return
        number = data.draw(st.sampled_from(merged))
        into = len(self.pipedrive.persons) + 1
        self.pipedrive.persons[into] = PipedrivePerson(into, "CRM contact", [], self.clock())
        self.contacts += 1
        self.pipedrive.merge(number, into)

    @rule()
    def push_again(self) -> None:
        Gist.objects.push_again()

    # --- runs ---
    @rule(
        next_post=st.sampled_from(
            ["succeeds", "is rejected", "is lost before", "is lost after", "is killed before", "is killed after"]
        ),
        full=st.booleans(),
        edits=st.booleans(),
        lie=st.sampled_from(LIES),
        pipedrive_lie=st.sampled_from(PIPEDRIVE_LIES),
    )
    def poll_and_push(self, next_post: str, full: bool, edits: bool, lie: str, pipedrive_lie: str) -> None:
        self.pipedrive.next_post, self.github.lie, self.pipedrive.lie = next_post, lie, pipedrive_lie
        self.github.api.circuit, self.pipedrive.api.circuit = Circuit("GitHub"), Circuit("Pipedrive")
        record = open_run(self.clock, 600, "schedule")
        options = Options(concurrency=1, full=full, push_edits=edits, settle_delay=SETTLE_DELAY)
        github: Any = self.github
        pipedrive: Any = self.pipedrive
        self.run = Run(record, RunContext(options, github, pipedrive, self.clock))
        try:
            self.run()
        except KilledError:
            github.api.is_killed = pipedrive.api.is_killed = False
            return
        SyncRun.objects.filter(pk=record.pk).update(outcome="succeeded")

    def kill(self) -> None:
        """From now on, this process makes no request and releases no lease."""
        self.github.api.is_killed = self.pipedrive.api.is_killed = True
        for lane in (self.run.poll_lane, self.run.push_lane):
            lane.claims.release = lambda people, **columns: 0  # type: ignore[method-assign]

    @rule(minutes=st.sampled_from([1, 5, 15]))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    # --- guarantees ---
    @invariant()
    def no_person_is_gone_and_no_gist_is_removed(self) -> None:
        assert set(Person.objects.values_list("state", flat=True)) <= {"new", "active"}
        existing = {gist.id for gist in self.all_gists()}
        assert not Gist.objects.filter(github_id__in=existing).exclude(removed_at=None).exists()

    @invariant()
    def no_gist_has_two_activities(self) -> None:
        created = Counter(self.pipedrive.gist_of.values())
        assert set(created.values()) <= {1}, created

    @invariant()
    def every_activity_belongs_to_the_gist_s_owner(self) -> None:
        for gist_id, owner in self.pipedrive.owners().items():
            gist = Gist.objects.select_related("person").get(github_id=gist_id)
            number = next(key for key, gists in self.github.gists.items() if gist_id in gists)
            assert gist.person.github_id == number
            written = self.pipedrive.persons[owner].custom_fields or {}
            assert set(written.values()) <= {str(number)}

    @invariant()
    def every_pushed_gist_has_its_activity(self) -> None:
        for gist in Gist.objects.filter(push_state="pushed"):
            assert self.pipedrive.gist_of[gist.pipedrive_activity_id or 0] == gist.github_id

    def teardown(self) -> None:
        """After runs without failures, every gist has its activity, which shows its last edit."""
        if not hasattr(self, "github"):
            return
        for _ in range(3):
            self.time_passes(25 * 60)  # longer than any pause after failures
            Gist.objects.push_again()
            self.poll_and_push("succeeds", full=True, edits=True, lie="", pipedrive_lie="")
        self.no_gist_has_two_activities()
        assert set(self.pipedrive.gist_of.values()) == {gist.id for gist in self.all_gists()}
        assert len(self.pipedrive.persons) <= len(NAMES) + self.contacts
        for gist in Gist.objects.all():
            row = self.pipedrive.activities[gist.pipedrive_activity_id or 0]
            is_left_alone = row.is_deleted or row.id in self.pipedrive.edited
            assert is_left_alone or gist.description in (row.note or ""), (gist, row)


@pytest.mark.both
@pytest.mark.slow("800 steps, most of them a run")
@pytest.mark.django_db(transaction=True)
def test_the_guarantees_hold_after_any_events_in_any_order() -> None:
    run_state_machine_as_test(
        OutboxMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=20,
            deadline=None,
            phases=[Phase.generate],  # Shrinking a failure takes minutes; twenty steps are readable.
            suppress_health_check=list(HealthCheck),
        ),
    )
