"""Random events for Ada, Ben and both APIs, in any order; the guarantees must hold after each step.

The APIs are fakes in memory, so that thousands of steps take seconds; the run, the outbox and the database are real.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
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
from sync.activity import gist_id_in
from sync.clients.circuit import Circuit
from sync.clients.errors import NotFoundError, OutcomeUnknownError, RejectedError, RetryNextRunError
from sync.clients.github import Account, GistFile, GistPage, Owner, Profile, PublicGist
from sync.clients.pipedrive import Activity, NewActivity, PipedrivePerson
from sync.clients.rate_limit import RateLimiter, SlidingWindow
from sync.context import Options, RunContext
from sync.models import SyncRun
from sync.run import Run
from sync.runs import open_run
from tests.factories import create_person

SETTLE_DELAY = timedelta(seconds=120)
NAMES = ("ada", "ben")
EXAMPLES = 30  # of up to 20 steps each


class KilledError(BaseException):
    """The process is killed here: nothing after it runs, not even a `finally`."""


class FakeApi:
    """The part of an Api that a run uses."""

    def __init__(self, name: str) -> None:
        self.name, self.request_count, self.is_killed = name, 0, False
        self.circuit, self.limiter = Circuit(name), RateLimiter(SlidingWindow(0, 1.0))

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

    def check_account(self, account_id: int, etag: str) -> Profile:
        return Profile(self.get_account_by_id(account_id), "")

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


class FakePipedrive:
    """Persons and activities. `next_post` is the outcome of the next POST; `kill` ends the process."""

    def __init__(self, clock: Callable[[], datetime], kill: Callable[[], None]) -> None:
        self.api = FakeApi("Pipedrive")
        self.remaining: dict[str, Any] = {}
        self.persons: dict[int, PipedrivePerson] = {}
        self.activities: dict[int, tuple[int, Activity]] = {}
        self.deleted: set[str] = set()  # gists whose activity a user deleted
        self.clock, self.kill = clock, kill
        self.next_post = "succeeds"

    def _post(self, create: Callable[[], int]) -> int:
        self.api.raise_if_stopping()
        outcome, self.next_post = self.next_post, "succeeds"
        if outcome == "is rejected":
            raise RejectedError("400", 400)
        created = create() if outcome not in ("is lost before", "is killed before") else 0
        if outcome.startswith("is killed"):
            self.kill()
            raise KilledError
        if outcome.startswith("is lost"):
            raise OutcomeUnknownError("no response")
        return created

    def iter_last_activities(self) -> list[Activity]:
        rows = [row for _, row in self.activities.values() if gist_id_in(row.note) not in self.deleted]
        return sorted(rows, key=lambda row: row.id, reverse=True)

    def get_activity_types(self) -> list[str]:
        return ["task"]

    def search_persons_by_email(self, email: str) -> list[PipedrivePerson]:
        return []

    def search_persons_by_name(self, part: str) -> list[PipedrivePerson]:
        return [person for person in self.persons.values() if part in person.name]

    def iter_newest_persons(self) -> Iterator[PipedrivePerson]:
        return iter(sorted(self.persons.values(), key=lambda person: -person.id))

    def get_person(self, person_id: int) -> PipedrivePerson:
        if person_id not in self.persons:
            raise NotFoundError("404", 404)
        return self.persons[person_id]

    def create_person(self, name: str, email: str = "") -> int:
        def create() -> int:
            number = len(self.persons) + 1
            self.persons[number] = PipedrivePerson(number, name, [], self.clock())
            return number

        return self._post(create)

    def iter_newest_activities(self, person_id: int) -> Iterator[Activity]:
        rows = [row for owner, row in self.activities.values() if owner == person_id]
        return iter(sorted(rows, key=lambda row: -row.id))

    def create_activity(self, person_id: int, activity: NewActivity, *, not_after: float | None = None) -> int:
        def create() -> int:
            number = 1000 + len(self.activities) + len(self.deleted)
            self.activities[number] = (person_id, Activity(number, activity.note, self.clock()))
            return number

        return self._post(create)

    def update_activity(self, activity_id: int, subject: str, note: str) -> None:
        self.api.raise_if_stopping()
        if activity_id not in self.activities:
            raise NotFoundError("404", 404)
        owner, row = self.activities[activity_id]
        self.activities[activity_id] = (owner, Activity(activity_id, note, row.add_time))


class OutboxMachine(RuleBasedStateMachine):
    """Events in any order; `poll_and_push` is a run, which may crash in the middle of a POST.

    Each lane has one thread, so that the same events always have the same effects.
    """

    @initialize()
    def begin(self) -> None:
        for table in (Person, SyncRun):
            table.objects.all().delete()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.github = FakeGitHub()
        self.pipedrive = FakePipedrive(self.clock, self.kill)
        self.published = 0
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
        """Only of a pushed gist: while its outcome is unknown, a deleted activity looks like one never created."""
        number = data.draw(st.sampled_from(sorted(self.pipedrive.activities)))
        gist_id = gist_id_in(self.pipedrive.activities[number][1].note)
        if Gist.objects.filter(github_id=gist_id, push_state="pushed").exists():
            del self.pipedrive.activities[number]
            self.pipedrive.deleted.add(gist_id)

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
    )
    def poll_and_push(self, next_post: str, full: bool, edits: bool, lie: str) -> None:
        self.pipedrive.next_post, self.github.lie = next_post, lie
        self.github.api.circuit, self.pipedrive.api.circuit = Circuit("GitHub"), Circuit("Pipedrive")
        record = open_run(self.clock, 600, "schedule")
        options = Options(
            concurrency=1, full=full, push_edits=edits, reconcile_after_seconds=int(SETTLE_DELAY.total_seconds())
        )
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
        created = Counter(gist_id_in(row.note) for _, row in self.pipedrive.activities.values())
        assert set(created.values()) <= {1}, created
        assert not set(created) & self.pipedrive.deleted, "a deleted activity was created again"

    @invariant()
    def every_activity_belongs_to_the_gist_s_owner(self) -> None:
        for owner, row in self.pipedrive.activities.values():
            name = self.pipedrive.persons[owner].name
            gist = Gist.objects.select_related("person").get(github_id=gist_id_in(row.note))
            assert gist.person.pipedrive_id in (owner, None), name
            number = next(key for key, gists in self.github.gists.items() if gist.github_id in gists)
            assert gist.person.github_id == number
            assert name.startswith(f"@{NAMES[number - 1]}")

    @invariant()
    def every_pushed_gist_has_its_activity(self) -> None:
        existing = set(self.pipedrive.activities)
        for gist in Gist.objects.filter(push_state="pushed"):
            assert gist.pipedrive_activity_id in existing or gist.github_id in self.pipedrive.deleted

    def teardown(self) -> None:
        """After runs without failures, every gist has its activity."""
        if not hasattr(self, "github"):
            return
        for _ in range(3):
            self.time_passes(25 * 60)  # longer than any pause after failures
            Gist.objects.push_again()
            self.poll_and_push("succeeds", full=True, edits=True, lie="")
        self.no_gist_has_two_activities()
        created = {gist_id_in(row.note) for _, row in self.pipedrive.activities.values()}
        assert created | self.pipedrive.deleted == {gist.id for gist in self.all_gists()}
        assert len(self.pipedrive.persons) <= len(NAMES)


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
