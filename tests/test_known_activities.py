"""What users do at the worst moment of a push: no gist gets a second activity, or none.

People are deleted, or forgotten, and added again; relinked, paused, and merged in Pipedrive; gists are skipped and
pushed again, and runs undone.
"""

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import Client, override_settings
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings
from rest_framework.test import APIClient

from people.forget import forget
from people.known_activities import adopt, settle
from people.models import Gist, KnownActivity, Person, Suppressed
from people.tracking import stop_tracking
from sync.models import SyncRun
from tests.conftest import Sync
from tests.factories import create_gist, create_person, let_time_pass, track
from tests.standins import GitHubStandIn, PipedriveStandIn, reset, respond, respond_after
from tests.standins.faults import Fault
from tests.test_forget import dump

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]
PEOPLE = "/admin/people/person/"


class Users:
    """What users do, who forget people in the API and in the admin, and add them again."""

    def __init__(self, api: APIClient, admin: Client) -> None:
        self.api, self.admin = api, admin

    def delete_by_api(self) -> None:
        assert self.api.delete("/api/v1/people/ada").status_code == 204
        assert self.api.post("/api/v1/people", {"username": "ada"}).status_code == 201

    def delete_in_admin(self) -> None:
        self._confirm(f"{PEOPLE}{_key_of_ada()}/delete/")
        self.admin.post(f"{PEOPLE}add/", {"github_username": "ada"})

    def delete_in_bulk(self) -> None:
        self._confirm(PEOPLE, action="stop_tracking", _selected_action=[_key_of_ada()])
        assert self.api.post("/api/v1/people/bulk", ["ada"], format="json").json()["created"] == 1

    def forget_by_api(self) -> None:
        assert self.api.delete("/api/v1/people/ada?forget=true").status_code == 204
        self._allow_again()

    def forget_in_admin(self) -> None:
        self._confirm(PEOPLE, action="forget_people", _selected_action=[_key_of_ada()])
        self._allow_again()

    def change(self, **changes: Any) -> None:
        assert self.api.patch("/api/v1/people/ada", changes, format="json").status_code == 200

    def act_on_gists(self, action: str) -> None:
        keys = list(Gist.objects.values_list("pk", flat=True))
        self.admin.post("/admin/people/gist/", {"action": action, "_selected_action": keys, "confirmed": "yes"})

    def _confirm(self, page: str, **fields: Any) -> None:
        assert self.admin.post(page, {**fields, "confirmed": "yes"}).status_code == 302

    def _allow_again(self) -> None:
        Suppressed.objects.all().delete()
        assert self.api.post("/api/v1/people", {"username": "ada"}).status_code == 201


def _key_of_ada() -> int:
    return Person.objects.get(username_key="ada").pk


WAYS = [Users.delete_by_api, Users.delete_in_admin, Users.delete_in_bulk, Users.forget_by_api, Users.forget_in_admin]


@pytest.fixture
def users(api: APIClient, admin_client: Client) -> Users:
    return Users(api, admin_client)


def is_added_again(users: Users, way: Callable[[Users], None]) -> Callable[[], None]:
    """The act, which leaves a new person here."""

    def act() -> None:
        before = _key_of_ada()
        way(users)
        assert _key_of_ada() != before

    return act


# --- the moments ---
# Each begins with three gists to push; `act` deletes Ada and adds her again.
Moment = Callable[[GitHubStandIn, PipedriveStandIn, Sync, Callable[[], None]], None]


def in_flight(operation: str, fault: Fault | None = None) -> Moment:
    """During the first request of this operation, which is answered, or ends with this fault."""

    def play(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, act: Callable[[], None]) -> None:
        pipedrive.fail(operation, respond_after(act, fault))
        sync()

    return play


def after_an_unknown_outcome(operation: str) -> Moment:
    def play(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, act: Callable[[], None]) -> None:
        pipedrive.fail(operation, reset(after=True))
        sync()
        act()

    return play


def after_all(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, act: Callable[[], None]) -> None:
    sync()
    act()


def after_the_first(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, act: Callable[[], None]) -> None:
    sync("--max-activities", "1")
    act()


def after_an_undo(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, act: Callable[[], None]) -> None:
    sync()
    call_command("undo_run", str(SyncRun.objects.latest("pk").pk))
    act()


def after_a_merge(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, act: Callable[[], None]) -> None:
    """Ada has two accounts, and a colleague has merged her contacts."""
    track(github, "countess", gists=2)
    sync()
    ada, countess = Person.objects.order_by("username_key")
    pipedrive.merge_person(ada.pipedrive_id or 0, into=countess.pipedrive_id or 0)
    act()


def after_started(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, act: Callable[[], None]) -> None:
    """The step of the POST first asks who owns the Pipedrive person."""
    with override_settings(PIPEDRIVE_ACTIVITY_OWNER="person"):
        in_flight("get_person")(github, pipedrive, sync, act)


def during_a_look_up(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, act: Callable[[], None]) -> None:
    after_an_unknown_outcome("create_activity")(github, pipedrive, sync, let_lists_catch_up(pipedrive))
    read_the_person_s_list(github, pipedrive, sync, act)


def let_lists_catch_up(pipedrive: PipedriveStandIn) -> Callable[[], None]:
    def act() -> None:
        pipedrive.heal()
        pipedrive.lists_until, pipedrive.search_lags = None, False
        let_time_pass(timedelta(hours=4))

    return act


def during_a_comparison(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, act: Callable[[], None]
) -> None:
    """With a contact that the CRM has already."""
    pipedrive.add_person("Ada Lovelace", email="ada@example.com")
    read_the_person_s_list(github, pipedrive, sync, act)


def read_the_person_s_list(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, act: Callable[[], None]
) -> None:
    acts = [act]
    pipedrive.fail_always(r"/activities\?.*person_id=", respond_after(lambda: acts and acts.pop()()))
    sync()


REFUSED = respond(400, '{"success": false, "error": "no"}')
MOMENTS: dict[str, Moment] = {
    "pending": in_flight("activity_types"),
    "started, not sent": after_started,
    "look-up list in flight": during_a_look_up,
    "comparison list in flight": during_a_comparison,
    "POST in flight": in_flight("create_activity"),
    "POST in flight, refused": in_flight("create_activity", REFUSED),
    "POST in flight, unknown outcome": in_flight("create_activity", reset(after=True)),
    "POST in flight, not processed": in_flight("create_activity", reset()),
    "unknown outcome": after_an_unknown_outcome("create_activity"),
    "all are pushed": after_all,
    "one is pushed": after_the_first,
    "all are undone": after_an_undo,
    "merged contacts": after_a_merge,
    "person's search in flight": in_flight("search_persons"),
    "person's POST in flight": in_flight("create_person"),
    "person's POST in flight, unknown outcome": in_flight("create_person", reset(after=True)),
    "person's POST in flight, refused": in_flight("create_person", REFUSED),
    "person's POST with unknown outcome": after_an_unknown_outcome("create_person"),
}


def pairs(moments: Iterable[str], acts: Iterable[Callable[..., Any]]) -> list[Any]:
    """Each pair, while Pipedrive's lists lag, or while they are right; the other half only in `make proof`."""
    cases = []
    for (row, moment), (column, act) in itertools.product(enumerate(moments), enumerate(acts)):
        for lags in (True, False):
            name = f"{moment}-{act.__name__}-lists {'lag' if lags else 'are right'}"
            is_selected = lags == bool((row + column) % 2)
            mark = pytest.mark.slow("several whole runs") if is_selected else pytest.mark.proof
            cases.append(pytest.param(moment, act, lags, id=name, marks=mark))
    return cases


def once(act: Callable[[], None]) -> tuple[Callable[[], None], list[bool]]:
    """The act, and a list that has one element after it has ended."""
    ended: list[bool] = []

    def act_and_tell() -> None:
        act()
        ended.append(True)

    return act_and_tell, ended


@pytest.mark.parametrize(("moment", "way", "lags"), pairs(MOMENTS, WAYS))
def test_each_gist_of_a_person_who_is_added_again_has_one_activity(
    moment: str,
    way: Callable[[Users], None],
    lags: bool,
    ada: Person,
    users: Users,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    settings: Settings,
) -> None:
    settings.SETTLE_SECONDS = 120
    for number in range(3):
        github.publish("ada", f"Gist {number}")
    if lags:
        pipedrive.lists_until, pipedrive.search_lags = 0, True

    act, ended = once(is_added_again(users, way))
    MOMENTS[moment](github, pipedrive, sync, act)
    assert ended == [True]
    pipedrive.heal()
    sync()
    pipedrive.lists_until, pipedrive.search_lags = None, False
    let_time_pass(timedelta(hours=4))
    Person.objects.update(next_push_at=None, next_attempt_at=None)
    for _ in range(2):
        after = sync()

    assert Counter(pipedrive.gist_ids()) == Counter(Gist.objects.values_list("github_id", flat=True))
    assert set(Gist.objects.values_list("push_state", flat=True)) == {"pushed"}
    assert (Gist.objects.filter(person=_key_of_ada()).count(), after.problems) == (3, [])
    assert not KnownActivity.objects.exists()
    if moment.startswith("person") or not lags:  # What was created just before is found by lists only.
        assert len([row for row in pipedrive.persons.values() if not row["is_deleted"]]) == 1


# --- other acts at the same moments: they return the gists that they keep from being pushed ---
Act = Callable[[Users, PipedriveStandIn], Collection[str]]


def unlink(users: Users, pipedrive: PipedriveStandIn) -> Collection[str]:
    users.change(pipedrive_id=None)
    return ()


def relink(users: Users, pipedrive: PipedriveStandIn) -> Collection[str]:
    users.change(pipedrive_id=pipedrive.add_person("Chosen"))
    return ()


def pause(users: Users, pipedrive: PipedriveStandIn) -> Collection[str]:
    """What is stored is pushed all the same."""
    users.change(state="paused")
    return ()


def pause_and_resume(users: Users, pipedrive: PipedriveStandIn) -> Collection[str]:
    users.change(state="paused")
    users.change(state="active")
    return ()


def merge_contacts(users: Users, pipedrive: PipedriveStandIn) -> Collection[str]:
    for key in [row["id"] for row in pipedrive.persons.values() if not row["is_deleted"]]:
        pipedrive.merge_person(key, into=pipedrive.add_person("Contact"))
    return ()


def skip(users: Users, pipedrive: PipedriveStandIn) -> Collection[str]:
    """One whose activity may exist is not skipped."""
    pending = list(Gist.objects.filter(push_state="pending").values_list("github_id", flat=True))
    users.act_on_gists("skip")
    return pending


def skip_and_push_again(users: Users, pipedrive: PipedriveStandIn) -> Collection[str]:
    for action in ("skip", "push_again"):
        users.act_on_gists(action)
    return ()


def undo_last_run(users: Users, pipedrive: PipedriveStandIn) -> Collection[str]:
    """Refused while a run is going on."""
    run = SyncRun.objects.latest("pk")
    pushed = list(Gist.objects.filter(push_run_id=run.pk, push_state="pushed").values_list("github_id", flat=True))
    if run.outcome == SyncRun.Outcome.RUNNING:
        with pytest.raises(CommandError, match="is going on"):
            call_command("undo_run", str(run.pk))
        return ()
    call_command("undo_run", str(run.pk))
    return pushed


ACTS = [unlink, relink, pause, pause_and_resume, merge_contacts, skip, skip_and_push_again, undo_last_run]


@pytest.mark.parametrize(
    ("moment", "act", "lags"),
    pairs([name for name in MOMENTS if name not in ("merged contacts", "all are undone")], ACTS),
)
def test_each_gist_of_a_person_who_is_changed_meanwhile_has_one_activity(
    moment: str,
    act: Act,
    lags: bool,
    ada: Person,
    users: Users,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    settings: Settings,
) -> None:
    settings.SETTLE_SECONDS = 120
    for number in range(3):
        github.publish("ada", f"Gist {number}")
    if lags:
        pipedrive.lists_until, pipedrive.search_lags = 0, True
    kept_out: set[str] = set()

    act_once, ended = once(lambda: kept_out.update(act(users, pipedrive)))
    MOMENTS[moment](github, pipedrive, sync, act_once)
    assert ended == [True]
    pipedrive.heal()
    sync()
    pipedrive.lists_until, pipedrive.search_lags = None, False
    for _ in range(3):
        let_time_pass(timedelta(hours=4))
        Person.objects.update(next_push_at=None, next_attempt_at=None)
        Gist.objects.filter(push_state="rejected").push_again()
        sync()

    states = dict(Gist.objects.values_list("github_id", "push_state"))
    assert {gist for gist, state in states.items() if state != "pushed"} == kept_out
    assert len(states) == 3
    assert Counter(pipedrive.gist_ids()) == Counter(set(states) - kept_out)
    if act is relink:
        assert pipedrive.persons[Person.objects.get().pipedrive_id or 0]["name"] == "Chosen"


# --- what is left, and what becomes of it ---
def delete(person: Person) -> None:
    stop_tracking(Person.objects.filter(pk=person.pk), lambda people: None)


STARTED_AT = timezone.now().replace(microsecond=1234)
STATES: list[tuple[dict[str, Any], tuple[Any, ...] | None]] = [
    ({"push_state": "pushed", "pipedrive_activity_id": 7, "pipedrive_person_id": 3}, (7, None, None)),
    ({"push_state": "started", "push_started_at": STARTED_AT, "pipedrive_person_id": 3}, (None, STARTED_AT, 3)),
    ({"push_state": "pending", "push_started_at": STARTED_AT, "pipedrive_person_id": 3}, None),
    ({"push_state": "rejected"}, None),
    ({"push_state": "skipped"}, None),
]


@pytest.mark.parametrize(("columns", "left"), STATES)
def test_a_deleted_gist_leaves_what_pipedrive_may_have_of_it(
    columns: dict[str, Any], left: tuple[Any, ...] | None
) -> None:
    gist = create_gist(create_person(), **columns)

    delete(gist.person)

    rows = KnownActivity.objects.find([gist.github_id, "another"])
    assert KnownActivity.objects.count() == len(rows) == (left is not None)
    if left:
        row = rows[gist.github_id]
        assert (row.activity_id, row.started_at, row.pipedrive_person_id) == left


def test_what_the_gist_has_replaces_what_was_known_of_it() -> None:
    gist = create_gist(create_person(), push_state="pushed", pipedrive_activity_id=7)
    KnownActivity.objects.store({gist.github_id: 6, "another": 5})

    delete(gist.person)

    assert set(KnownActivity.objects.values_list("activity_id", flat=True)) == {5, 7}


def store_again(gist: Gist, person: Person) -> int:
    """As a poll does. The gist has another key then."""
    gist.pk, gist.person, gist.push_state = None, person, Gist.PushState.SKIPPED
    gist.push_started_at = gist.pipedrive_activity_id = gist.pipedrive_person_id = None
    gist.activity_outdated = False
    count = adopt([gist], timezone.now())
    gist.save(force_insert=True)
    return count


@pytest.mark.parametrize(("columns", "left"), STATES)
def test_a_gist_that_is_stored_again_takes_it_over_whatever_the_backfill_choice(
    columns: dict[str, Any], left: tuple[Any, ...] | None
) -> None:
    gist = create_gist(create_person(), **columns)
    delete(gist.person)

    with transaction.atomic():
        count = store_again(gist, create_person())

    gist.refresh_from_db()
    is_pushed = columns["push_state"] == "pushed"
    assert (count, gist.pushed_at is not None, gist.activity_outdated) == (is_pushed, is_pushed, False)
    assert gist.push_state == (columns["push_state"] if left else "skipped")
    assert (gist.pipedrive_activity_id, gist.push_started_at, gist.pipedrive_person_id) == (left or (None, None, None))
    assert not KnownActivity.objects.exists()


@pytest.mark.parametrize("columns", [columns for columns, left in STATES if left])
@pytest.mark.parametrize("edit", ["none", "before the deletion", "after it"])
def test_an_activity_is_outdated_if_the_gist_was_edited_since(edit: str, columns: dict[str, Any]) -> None:
    gist = create_gist(create_person(), **columns, activity_outdated=edit == "before the deletion")
    delete(gist.person)
    if edit == "after it":
        gist.github_updated_at += timedelta(seconds=1)

    with transaction.atomic():
        store_again(gist, create_person())

    assert Gist.objects.get().activity_outdated == (edit != "none")


def test_nothing_known_costs_one_statement(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(1):
        assert KnownActivity.objects.find(["a", "b"]) == {}
    with django_assert_num_queries(0):
        assert KnownActivity.objects.find([]) == {}


@pytest.mark.parametrize(("age", "is_kept"), [(timedelta(hours=23), True), (timedelta(hours=25), False)])
@pytest.mark.parametrize("pipedrive_id", [None, 3])
def test_the_creation_of_a_pipedrive_person_is_remembered_for_a_day(
    age: timedelta, is_kept: bool, pipedrive_id: int | None
) -> None:
    began = timezone.now() - age
    gist = create_gist(create_person(pipedrive_create_started_at=began, pipedrive_create_name="Ada (@ada)"))
    delete(gist.person)

    with transaction.atomic():
        store_again(gist, create_person(pipedrive_id=pipedrive_id))

    person = Person.objects.get()
    assert person.pipedrive_create_started_at == (began if is_kept and not pipedrive_id else None)
    assert person.pipedrive_create_name == ""


# --- the outcome of a POST arrives after the deletion ---
@pytest.mark.parametrize(
    ("activity_id", "certain", "left", "stored"),
    [
        (7, True, {(7, None, None)}, ("pushed", 7)),
        (None, True, set(), ("pending", None)),
        (None, False, {(None, STARTED_AT, 3)}, ("started", None)),
    ],
    ids=["created", "not created", "unknown"],
)
@pytest.mark.parametrize("is_stored", [False, True], ids=["deleted", "stored again"])
@pytest.mark.parametrize("is_same", [True, False], ids=["this POST", "an earlier POST"])
def test_the_outcome_of_a_post_finds_its_gist(
    activity_id: int | None,
    certain: bool,
    left: set[tuple[Any, ...]],
    stored: tuple[Any, ...],
    is_stored: bool,
    is_same: bool,
) -> None:
    gist = create_gist(create_person(), push_state="started", push_started_at=STARTED_AT, pipedrive_person_id=3)
    delete(gist.person)
    if is_stored:
        with transaction.atomic():
            store_again(gist, create_person())
    began = STARTED_AT if is_same else STARTED_AT - timedelta(minutes=9)

    settle(gist.github_id, began, activity_id, certain=certain, now=timezone.now())

    if is_stored:
        expected = stored if is_same else ("started", None)
        assert Gist.objects.values_list("push_state", "pipedrive_activity_id").get() == expected
        assert not KnownActivity.objects.exists()
    else:
        rows = KnownActivity.objects.values_list("activity_id", "started_at", "pipedrive_person_id")
        assert set(rows) == (left if is_same else {(None, STARTED_AT, 3)})


@pytest.mark.parametrize(
    ("fault", "left"),
    [(None, True), (reset(after=True), None), (REFUSED, False)],
    ids=["created", "unknown", "refused"],
)
def test_a_run_writes_the_outcome_for_a_deleted_gist(
    fault: Fault | None, left: bool | None, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    """`left`: the activity is known; None: that there may be one."""
    github.publish("ada")
    pipedrive.fail("create_activity", respond_after(lambda: delete(ada), fault))

    sync()

    rows = list(KnownActivity.objects.values_list("activity_id", "started_at", "pipedrive_person_id"))
    if left:
        assert rows == [(next(iter(pipedrive.activities)), None, None)]
    elif left is None:
        ((activity_id, started_at, filed_under),) = rows
        assert (activity_id, filed_under, started_at is None) == (None, next(iter(pipedrive.persons)), False)
    else:
        assert rows == []


# --- restored and forgotten ---
def test_an_activity_of_a_deleted_gist_with_unknown_outcome_is_no_sign_of_a_restore(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    track(github, "ben", gists=1)
    sync()
    gist = github.publish("ada", "The newest at Pipedrive")
    pipedrive.fail("create_activity", reset(after=True))
    sync()
    delete(ada)
    github.publish("ben", "Next")

    summary = sync()

    row = KnownActivity.objects.find([gist])[gist]
    (created,) = [key for key, activity in pipedrive.activities.items() if gist in activity["note"]]
    assert (summary.problems, summary.counts["gists_pushed"]) == ([], 1)
    assert (row.activity_id, row.started_at) == (created, None)


@pytest.mark.parametrize("push_edits", [True, False])
def test_an_edit_made_while_the_person_was_not_tracked_reaches_the_same_activity(
    push_edits: bool,
    ada: Person,
    users: Users,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    settings: Settings,
) -> None:
    settings.PUSH_EDITS = push_edits
    gist = github.publish("ada", "First")
    sync()
    is_added_again(users, Users.delete_by_api)()
    github.edit("ada", gist, description="Second")

    summary = sync()

    subjects = [row["subject"] for row in pipedrive.activities.values()]
    assert subjects == ["Second" if push_edits else "First"]
    assert (summary.counts["gists_found"], summary.counts["gists_new"], summary.counts["gists_pushed"]) == (1, 1, 0)


@pytest.mark.parametrize("ends", [True, False], ids=["pushed", "unknown outcome"])
def test_what_a_forgotten_person_leaves_names_nobody(
    ends: bool, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    gists = [github.publish("ada", "A secret poem") for _ in range(2)]
    if not ends:
        pipedrive.fail("create_activity", reset(after=True), times=9)
    sync()
    ada.refresh_from_db()
    personal = ["ada", "lovelace", "poem", str(ada.github_id), *gists]
    digests = {hashlib.sha256(gist.encode()).hexdigest() for gist in gists}

    forget(Person.objects.all(), by="test")

    left = dump().lower()
    assert KnownActivity.objects.count() == 2
    assert [text for text in personal if re.search(rf"\b{text}\b", left)] == []
    assert not set(KnownActivity.objects.values_list("gist_key", flat=True)) & digests


def test_a_person_whom_a_run_erases_leaves_the_same(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    gist = github.publish("ada")
    sync()
    ada.refresh_from_db()
    Suppressed.objects.suppress(github_ids=[ada.github_id or 0], by="test")
    Person.objects.update(full_read_at=None)

    sync("--full")

    assert not Person.objects.exists()
    assert list(KnownActivity.objects.find([gist])) == [gist]
