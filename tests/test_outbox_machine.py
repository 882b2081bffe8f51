"""Anything happens to Ada, Ben and the two APIs, in any order; after each step the promises must hold.

The APIs are fakes in memory, so that thousands of steps take seconds; the run, the outbox and the database are real.
"""

import threading
from collections import Counter
from collections.abc import Iterator
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
from sync.activity import gist_of
from sync.clients.errors import NotFoundError, OutcomeUnknownError, RejectedError
from sync.clients.github import Account, GistFile, GistPage, Owner, PublicGist
from sync.clients.pipedrive import Activity, NewActivity, PipedrivePerson
from sync.clients.rate_limit import Limits
from sync.models import SyncRun
from sync.run import Options, Run
from sync.runs import open_record

SETTLE = timedelta(seconds=120)
NAMES = ("ada", "ben")
EXAMPLES = 30  # of up to 20 steps each


class KilledError(BaseException):
    """The process ends here; nothing after it runs, not even a `finally` of ours."""


class FakeApi:
    def __init__(self, name: str) -> None:
        self.name, self.ended, self.requests, self.limits = name, None, 0, Limits()


class FakeGitHub:
    """Accounts by their ids; gists newest first, a page at a time."""

    etag_scope = "scope"

    def __init__(self) -> None:
        self.api = FakeApi("GitHub")
        self.remaining: dict[str, Any] = {}
        self.accounts = dict(enumerate(NAMES, start=1))
        self.gists: dict[int, dict[str, PublicGist]] = {number: {} for number in self.accounts}
        self.version = 0

    def id_of(self, login: str) -> int:
        for number, name in self.accounts.items():
            if name == login.lower():
                return number
        raise NotFoundError("nobody", 404)

    def account(self, login: str) -> Account:
        return self.account_by_id(self.id_of(login))

    def account_by_id(self, account_id: int) -> Account:
        return Account(account_id, self.accounts[account_id])

    def first_page(self, login: str, etag: str = "") -> GistPage:
        if etag == str(self.version):
            return GistPage([], unchanged=True)
        return self.page(f"{self.id_of(login)}/0")

    def page(self, url: str) -> GistPage:
        account_id, start = map(int, url.split("/"))
        rows = sorted(self.gists[account_id].values(), key=lambda gist: gist.created_at, reverse=True)
        more = f"{account_id}/{start + 2}" if start + 2 < len(rows) else ""
        return GistPage(rows[start : start + 2], str(self.version), more)


class FakePipedrive:
    """Persons and activities, and what goes wrong with the next POST: `mood`."""

    def __init__(self, clock: Any) -> None:
        self.api = FakeApi("Pipedrive")
        self.remaining: dict[str, Any] = {}
        self.persons: dict[int, PipedrivePerson] = {}
        self.activities: dict[int, tuple[int, Activity]] = {}
        self.deleted: set[str] = set()  # gists whose activity a user deleted
        self.clock = clock
        self.mood = "good"
        self.kill: Any = None

    def _post(self, do: Any) -> int:
        mood, self.mood = self.mood, "good"
        if mood == "refused":
            raise RejectedError("400", 400)
        made = do() if mood != "lost before" and mood != "killed before" else 0
        if mood.startswith("killed"):
            self.kill()
            raise KilledError
        if mood.startswith("lost"):
            raise OutcomeUnknownError("no answer")
        return int(made)

    def activity_types(self) -> list[str]:
        return ["task"]

    def persons_with_email(self, email: str) -> list[PipedrivePerson]:
        return []

    def persons_with_name(self, part: str) -> list[PipedrivePerson]:
        return [one for one in self.persons.values() if part in one.name]

    def newest_persons(self) -> Iterator[PipedrivePerson]:
        return iter(sorted(self.persons.values(), key=lambda one: -one.id))

    def person(self, person_id: int) -> PipedrivePerson:
        if person_id not in self.persons:
            raise NotFoundError("404", 404)
        return self.persons[person_id]

    def create_person(self, name: str, email: str = "") -> int:
        def do() -> int:
            number = len(self.persons) + 1
            self.persons[number] = PipedrivePerson(number, name, [], self.clock())
            return number

        return self._post(do)

    def newest_activities(self, person_id: int) -> Iterator[Activity]:
        rows = [row for owner, row in self.activities.values() if owner == person_id]
        return iter(sorted(rows, key=lambda row: -row.id))

    def create_activity(self, person_id: int, activity: NewActivity, *, not_after: float | None = None) -> int:
        def do() -> int:
            number = 1000 + len(self.activities) + len(self.deleted)
            self.activities[number] = (person_id, Activity(number, activity.note, self.clock()))
            return number

        return self._post(do)

    def edit_activity(self, activity_id: int, subject: str, note: str) -> None:
        if activity_id not in self.activities:
            raise NotFoundError("404", 404)
        owner, row = self.activities[activity_id]
        self.activities[activity_id] = (owner, Activity(activity_id, note, row.add_time))


class OutboxMachine(RuleBasedStateMachine):
    """Things happen; `poll_and_push` is a run, which may be killed in the middle of a POST."""

    @initialize()
    def begin(self) -> None:
        for table in (Person, SyncRun):
            table.objects.all().delete()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.github = FakeGitHub()
        self.pipedrive = FakePipedrive(self.clock)
        self.published = 0
        for name in NAMES:
            Person.objects.create(github_username=name)

    def clock(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    def all_gists(self) -> list[PublicGist]:
        return [gist for gists in self.github.gists.values() for gist in gists.values()]

    # --- what people do ---
    @rule(number=st.sampled_from([1, 2]), how_many=st.integers(1, 4))
    def publish(self, number: int, how_many: int) -> None:
        for _ in range(how_many):
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
        """Of somebody whose id is known: whoever is renamed before the first poll is simply another name."""
        if not Person.objects.filter(github_id=number).exists():
            return
        self.github.version += 1
        self.github.accounts[number] = f"{NAMES[number - 1]}-{self.github.version}"

    @precondition(lambda self: self.pipedrive.activities)
    @rule(data=st.data())
    def delete_an_activity(self, data: st.DataObject) -> None:
        """Of a gist that is known to be pushed: before that, whoever looks may well not find it."""
        number = data.draw(st.sampled_from(sorted(self.pipedrive.activities)))
        gist_id = gist_of(self.pipedrive.activities[number][1].note)
        if Gist.objects.filter(github_id=gist_id, push_state="pushed").exists():
            del self.pipedrive.activities[number]
            self.pipedrive.deleted.add(gist_id)

    @rule()
    def push_again(self) -> None:
        Gist.objects.push_again()

    # --- what happens to runs ---
    @rule(
        mood=st.sampled_from(["good", "refused", "lost before", "lost after", "killed before", "killed after"]),
        full=st.booleans(),
        edits=st.booleans(),
    )
    def poll_and_push(self, mood: str, full: bool, edits: bool) -> None:
        self.pipedrive.mood = mood
        record = open_record(self.clock, 600, "schedule")
        options = Options(
            concurrency=2, full=full, push_edits=edits, reconcile_after_seconds=int(SETTLE.total_seconds())
        )
        github: Any = self.github
        pipedrive: Any = self.pipedrive
        run = Run(record, options, github, pipedrive, clock=self.clock, stopping=threading.Event())

        def kill() -> None:
            run.claims.release = lambda people=None: None  # type: ignore[method-assign]

        self.pipedrive.kill = kill
        try:
            run()
        except KilledError:
            return
        SyncRun.objects.filter(pk=record.pk).update(outcome="succeeded")

    @rule(minutes=st.sampled_from([1, 5, 15]))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    # --- the promises ---
    @invariant()
    def no_gist_has_two_activities(self) -> None:
        made = Counter(gist_of(row.note) for _, row in self.pipedrive.activities.values())
        assert set(made.values()) <= {1}, made
        assert not set(made) & self.pipedrive.deleted, "a deleted activity was made again"

    @invariant()
    def no_gist_is_filed_under_somebody_else(self) -> None:
        for owner, row in self.pipedrive.activities.values():
            name = self.pipedrive.persons[owner].name
            gist = Gist.objects.select_related("person").get(github_id=gist_of(row.note))
            assert gist.person.pipedrive_id in (owner, None), name
            number = next(key for key, gists in self.github.gists.items() if gist.github_id in gists)
            assert gist.person.github_id == number
            assert name.startswith(f"@{NAMES[number - 1]}")

    @invariant()
    def pushed_means_there(self) -> None:
        there = set(self.pipedrive.activities)
        for gist in Gist.objects.filter(push_state="pushed"):
            assert gist.pipedrive_activity_id in there or gist.github_id in self.pipedrive.deleted

    def teardown(self) -> None:
        """When nothing goes wrong any more, everything arrives."""
        if not hasattr(self, "github"):
            return
        for _ in range(3):
            self.time_passes(15)
            Gist.objects.push_again()
            self.poll_and_push("good", full=True, edits=True)
        self.no_gist_has_two_activities()
        made = {gist_of(row.note) for _, row in self.pipedrive.activities.values()}
        assert made | self.pipedrive.deleted == {gist.id for gist in self.all_gists()}
        assert len(self.pipedrive.persons) <= len(NAMES)


@pytest.mark.django_db(transaction=True)
def test_the_promises_hold_whatever_happens_in_whatever_order() -> None:
    run_state_machine_as_test(
        OutboxMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=20,
            deadline=None,
            phases=[Phase.generate],  # Making a failure smaller takes minutes; twenty steps can be read.
            suppress_health_check=list(HealthCheck),
        ),
    )
