"""What one run has seen of something known is believed when a later run sees it again; what is new has nothing to lose.

Each kind with its variants, through whole runs: accounts that are gone or in conflict, lost Pipedrive persons, refused
gists.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest

from people.models import Gist, Person
from sync.models import Alarm, Suspicion
from sync.suspicions import Suspicions
from tests.conftest import Summary, Sync
from tests.factories import create_person, let_time_pass, track, track_people
from tests.standins import Fault, GitHubStandIn, PipedriveStandIn, reset, respond

pytestmark = pytest.mark.django_db
NOT_FOUND = '{"message": "Not Found", "status": "404"}'
HTML = {"content-type": "text/html"}
HOUR = timedelta(hours=1)


@dataclass
class World:
    github: GitHubStandIn
    pipedrive: PipedriveStandIn
    sync: Sync


@pytest.fixture
def world(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync) -> World:
    return World(github, pipedrive, sync)


def states(start: str = "") -> set[str]:
    people = Person.objects.filter(github_username__startswith=start)
    return set(people.values_list("state", flat=True))


def push_states(description: str) -> set[str]:
    return set(Gist.objects.filter(description=description).values_list("push_state", flat=True))


def pages() -> list[str]:
    return list(Alarm.objects.filter(severity=Alarm.Severity.PAGE).values_list("code", flat=True))


# --- logins that were never polled ---
@pytest.mark.parametrize("arguments", [["--requested"], []], ids=["requested", "all"])
@pytest.mark.parametrize(("good", "unknown"), [(4, 6), (1, 12), (0, 1), (0, 6)])
def test_new_logins_that_github_does_not_know_are_gone_at_once(
    good: int, unknown: int, arguments: list[str], world: World
) -> None:
    track_people(world.github, good)
    for number in range(unknown):
        create_person(f"typo-{number}")

    first = world.sync(*arguments)
    second = world.sync(*arguments)

    assert (first.code, first.counts["people_gone"], second.code) == (0, unknown, 0)
    assert (states("typo"), states("person")) == ({"gone"}, {"active"} if good else set())
    assert "GITHUB" not in str(first.problems + second.problems)
    assert not Suspicion.objects.exists()


CONTROLS: dict[str, Fault] = {
    "404": respond(404, NOT_FOUND),
    "403": respond(403, '{"message": "Forbidden"}'),
    "500": respond(500, "{}"),
    "reset": reset(),
    "HTML": respond(200, "<html>", HTML),
    "404 in HTML": respond(404, "<html>", HTML),
    "empty body": respond(200, ""),
    "no account": respond(200, "{}"),
    "another login": respond(200, '{"id": 7, "login": "mallory", "type": "User", "public_gists": 0}'),
}


@pytest.mark.parametrize("control", CONTROLS)
def test_nobody_is_gone_if_github_does_not_show_what_exists(control: str, world: World) -> None:
    for number in range(6):
        create_person(f"typo-{number}")
    world.github.fail_always(r"^/users/ghost\?", CONTROLS[control])

    lie = world.sync("--requested")
    during = states()
    world.github.heal()
    truth = world.sync("--requested")

    (problem,) = lie.problems
    assert (lie.code, during, "/users/ghost" in problem) == (3, {"new"}, True)
    assert (truth.code, states()) == (0, {"gone"})


def test_one_control_is_enough(world: World) -> None:
    for number in range(6):
        create_person(f"typo-{number}")

    world.sync()

    assert len([request for request in world.github.requests if request.path == "/users/ghost"]) == 1


@pytest.mark.parametrize("is_known", [False, True], ids=["new", "polled before"])
def test_people_become_gone_with_the_token_of_a_github_app(is_known: bool, ada: Person, world: World) -> None:
    """Such a token may not read /user, its own account."""
    world.github.fail_always(r"^/user\?", respond(403, '{"message": "Resource not accessible by integration"}'))
    if is_known:
        world.sync()
    world.github.delete_account("ada")

    world.sync()
    let_time_pass(HOUR)
    summary = world.sync()

    assert (summary.code, states()) == (0, {"gone"})


# --- known accounts ---
def vanish(world: World) -> None:
    world.github.delete_account("ada")


def become_an_organisation(world: World) -> None:
    next(iter(world.github.accounts.values())).type = "Organization"


def become_tracked_twice(world: World) -> None:
    world.github.rename("ada", "countess")
    create_person("countess", state="paused")


ACCOUNTS: dict[Callable[[World], None], str] = {
    vanish: "gone",
    become_an_organisation: "gone",
    become_tracked_twice: "conflict",
}


@pytest.mark.parametrize(("minutes", "is_believed"), [(0, False), (10, False), (59, False), (60, True), (600, True)])
@pytest.mark.parametrize("change", ACCOUNTS)
def test_a_known_account_is_believed_to_be_gone_an_hour_later(
    change: Callable[[World], None], minutes: int, is_believed: bool, ada: Person, world: World
) -> None:
    world.sync()
    change(world)

    first = world.sync("--full")
    before, reason = states("ada"), Person.objects.get(pk=ada.pk).last_error
    let_time_pass(timedelta(minutes=minutes))
    world.sync("--full")

    assert (first.code, before) == (0, {"active"})
    assert "believed when a run in an hour or later finds the same" in reason
    assert states("ada") == {ACCOUNTS[change] if is_believed else "active"}
    assert Suspicion.objects.exists() is not is_believed  # What is believed counts no more beside other suspicions.


@pytest.mark.parametrize("arguments", [[], ["--full"]], ids=["unchanged", "full"])
def test_a_suspicion_of_an_account_is_dropped_when_it_is_seen_again(
    arguments: list[str], ada: Person, world: World
) -> None:
    world.sync()
    account = world.github.delete_account("ada")
    world.sync()
    let_time_pass(HOUR)
    world.github.restore_account(account)
    world.sync(*arguments)
    after_return = Suspicion.objects.count()
    world.github.delete_account("ada")

    world.sync()

    assert (after_return, states()) == (0, {"active"})


@pytest.mark.parametrize(("gone", "people"), [(6, 12), (6, 6), (7, 34)])
def test_many_known_accounts_are_not_gone_at_once(gone: int, people: int, world: World) -> None:
    track_people(world.github, people)
    world.sync()
    for number in range(gone):
        world.github.delete_account(f"person-{number}")

    runs = [run_an_hour_later(world) for _ in range(2)]

    assert [run.code for run in runs] == [3, 3]
    assert [len(run.problems) for run in runs] == [1, 1]
    assert "Check GITHUB_API_URL, GITHUB_TOKEN" in runs[0].problems[0]
    assert set(Person.objects.values_list("state", "failures", "last_error")) == {("active", 0, "")}


def run_an_hour_later(world: World) -> Summary:
    let_time_pass(HOUR)
    return world.sync()


def test_accounts_that_were_believed_to_be_gone_before_do_not_count(world: World) -> None:
    track_people(world.github, 10)
    world.sync()
    for gone in ((0, 1, 2, 3), (4, 5, 6, 7)):
        for number in gone:
            world.github.delete_account(f"person-{number}")
        world.sync()
        run_an_hour_later(world)

    assert sorted(Person.objects.values_list("state", flat=True)) == ["active"] * 2 + ["gone"] * 8


@pytest.mark.parametrize("arguments", [[], ["--full"]], ids=["usual", "full"])
@pytest.mark.parametrize("gists", [0, 1])
def test_the_gists_of_a_stranger_who_took_over_the_login_are_not_judged(
    gists: int, arguments: list[str], ada: Person, world: World
) -> None:
    world.github.publish("ada", "First")
    world.sync()
    world.github.rename("ada", "countess")
    track_gists_of_a_stranger(world, gists)
    world.github.publish("countess", "Second")

    summary = world.sync(*arguments)

    ada.refresh_from_db()
    assert (summary.code, summary.problems, ada.github_username) == (0, [], "countess")
    assert set(ada.gists.values_list("description", "push_state", "removed_at")) == {
        ("First", "pushed", None),
        ("Second", "pushed", None),
    }


def track_gists_of_a_stranger(world: World, count: int) -> None:
    world.github.add_account("ada")
    for _ in range(count):
        world.github.publish("ada", "Of a stranger")


# --- lost Pipedrive persons ---
@pytest.mark.parametrize(("minutes", "is_believed"), [(0, False), (10, False), (59, False), (60, True)])
def test_a_lost_pipedrive_person_is_replaced_an_hour_later(
    minutes: int, is_believed: bool, linked: int, ada: Person, world: World
) -> None:
    world.pipedrive.delete_person(linked)
    world.github.publish("ada", "Second")

    world.sync()
    ada.refresh_from_db()
    before, reason = ada.pipedrive_id, ada.push_error
    let_time_pass(timedelta(minutes=minutes))
    world.sync()

    ada.refresh_from_db()
    assert (before, ada.pipedrive_id == linked) == (linked, not is_believed)
    assert "Another one replaces it when a run in an hour or later finds the same" in reason
    assert push_states("Second") == {"pushed" if is_believed else "pending"}
    assert Suspicion.objects.exists() is not is_believed


def test_a_suspicion_of_a_pipedrive_person_is_dropped_when_it_is_seen_again(
    linked: int, ada: Person, world: World
) -> None:
    world.pipedrive.delete_person(linked)
    world.github.publish("ada", "Second")
    world.sync()
    let_time_pass(HOUR)
    world.pipedrive.persons[linked]["is_deleted"] = False
    world.sync()
    after_return = Suspicion.objects.count()
    world.pipedrive.delete_person(linked)
    world.github.publish("ada", "Third")

    world.sync()

    ada.refresh_from_db()
    assert (after_return, push_states("Second"), ada.pipedrive_id) == (0, {"pushed"}, linked)


@pytest.mark.parametrize(("lost", "people"), [(6, 6), (6, 8)])
def test_many_pipedrive_persons_are_not_lost_at_once(lost: int, people: int, world: World) -> None:
    track_linked_people(world, people, 1)
    world.sync()
    Person.objects.update(pipedrive_linked_at="2026-01-01T00:00:00Z")  # as if no user had given the ids
    links = dict(Person.objects.values_list("pk", "pipedrive_id"))
    for number, pipedrive_id in enumerate(links.values()):
        world.github.publish(f"person-{number}", "Second")
        if number < lost:
            world.pipedrive.delete_person(pipedrive_id or 0)

    runs = [run_an_hour_later(world) for _ in range(2)]

    assert [run.code for run in runs] == [3, 3]
    assert [len(run.problems) for run in runs] == [1, 1]
    assert f"persons of {lost} of {people} people as deleted" in runs[0].problems[0]
    assert "Check PIPEDRIVE_API_URL" in runs[0].problems[0]
    assert dict(Person.objects.values_list("pk", "pipedrive_id")) == links
    assert set(Person.objects.values_list("push_failures", "push_error")) == {(0, "")}


# --- refused gists ---
@pytest.mark.parametrize(("minutes", "expected"), [(0, "pending"), (10, "pending"), (59, "pending"), (60, "rejected")])
def test_single_refused_gists_of_a_quiet_night_are_rejected_an_hour_later(
    minutes: int, expected: str, judging: None, world: World
) -> None:
    """Three people with one refused gist each, after 20 activities were created."""
    people = track_people(world.github, 4, gists=5)
    world.sync()
    for person in people[:3]:
        world.github.publish(person.github_username, "Odd")
    world.pipedrive.refused_subjects = {"Odd"}

    first = world.sync()
    after_first = push_states("Odd")
    let_time_pass(timedelta(minutes=minutes))
    second = world.sync()

    assert (len(world.pipedrive.activities), after_first, push_states("Odd")) == (20, {"pending"}, {expected})
    assert 78 not in (first.code, second.code)
    assert pages() == []
    assert set(Person.objects.values_list("push_failures", flat=True)) == {0}


def test_a_suspicion_of_a_gist_is_dropped_when_it_is_pushed(ada: Person, world: World) -> None:
    world.github.publish("ada", "Odd")
    world.pipedrive.refused_subjects = {"Odd"}
    world.sync()
    before = Suspicion.objects.count()
    world.pipedrive.refused_subjects = set()

    world.sync()

    assert (before, Suspicion.objects.count(), push_states("Odd")) == (1, 0, {"pushed"})


def test_five_refused_gists_in_a_row_are_the_trouble_of_their_person(ada: Person, world: World) -> None:
    track_linked_people(world, 1, 7)
    world.pipedrive.required_field = "deal_id"

    world.sync()

    person = Person.objects.get(github_username="person-0")
    assert len(world.pipedrive.requests_to("create_activity")) == 5
    assert "refused 5 gists in a row for the same reason" in person.push_error
    assert not Suspicion.objects.exists()


def test_a_gist_that_is_refused_for_another_reason_waits_another_hour(ada: Person, world: World) -> None:
    world.github.publish("ada", "Odd")
    seen: list[str] = []
    for reason in ("subject is odd", "note is odd", "note is odd"):
        world.pipedrive.fail("create_activity", respond(400, f'{{"success": false, "error": "{reason}"}}'))
        run_an_hour_later(world)
        seen += push_states("Odd")

    assert seen == ["pending", "pending", "rejected"]


REQUIRED_FIELD = [(12, 1), (1, 12), (6, 2), (4, 3), (3, 10)]  # people, gists of each


@pytest.mark.parametrize(("people", "gists"), REQUIRED_FIELD)
def test_a_required_field_rejects_nothing(people: int, gists: int, world: World) -> None:
    track_linked_people(world, people, gists)
    world.pipedrive.required_field = "deal_id"

    runs = [run_an_hour_later(world) for _ in range(2)]

    assert set(Gist.objects.values_list("push_state", flat=True)) == {"pending"}
    assert {run.code for run in runs} == {78 if people > 5 else 3}
    assert [len(run.problems) for run in runs] == [1, 1]
    assert "deal_id is required" in runs[0].problems[0]


@pytest.mark.slow("six runs, which judge the health")
@pytest.mark.parametrize(("people", "gists"), [*REQUIRED_FIELD, (30, 1)])
def test_a_required_field_rejects_nothing_however_many_runs_see_it(
    people: int, gists: int, judging: None, world: World
) -> None:
    track_linked_people(world, people, gists)
    world.pipedrive.required_field = "deal_id"

    for _ in range(5):
        run_an_hour_later(world)
    during = set(Gist.objects.values_list("push_state", flat=True))
    paged = pages()
    world.pipedrive.required_field = ""
    let_time_pass(timedelta(days=2))  # until the pause is over of people who failed
    healed = world.sync()

    assert (during, set(Gist.objects.values_list("push_state", flat=True))) == ({"pending"}, {"pushed"})
    assert paged == (["pipedrive_refused"] if people > 5 else [])  # The others are paged for when they are late.
    assert (healed.code, healed.counts["gists_pushed"]) == (0, people * gists)


def track_linked_people(world: World, count: int, gists: int) -> None:
    """Their Pipedrive persons are given, which saves searches."""
    for person in track_people(world.github, count, gists=gists):
        given = world.pipedrive.add_person(person.github_username)
        Person.objects.filter(pk=person.pk).update(pipedrive_id=given)


# --- the rows ---
def test_the_same_run_counts_once(ada: Person) -> None:
    now = ada.created_at
    first, second = Suspicions(1), Suspicions(2)

    seen = [first.see(Suspicion.Kind.GONE, ada.pk, "gone", now + number * HOUR) for number in range(3)]
    again = second.see(Suspicion.Kind.GONE, ada.pk, "gone", now + 3 * HOUR)

    assert (seen, again) == ([False, False, False], True)


@pytest.mark.parametrize(("others", "is_believed"), [(4, True), (5, False)])
def test_a_suspicion_is_believed_while_few_have_the_same(others: int, is_believed: bool, world: World) -> None:
    people = track_people(world.github, 1 + others)
    now = people[0].created_at
    for person in people:
        Suspicions(1).see(Suspicion.Kind.LOST, person.pk, "lost", now)
    track(world.github, "ben")

    assert Suspicions(2).see(Suspicion.Kind.LOST, people[0].pk, "lost", now + HOUR) is is_believed
