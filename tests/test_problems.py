"""The problems of a run: rows that are grouped by their reason, and that are deleted with their person."""

import json
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from people.models import Person
from sync.clients.github import GitHubClient
from sync.clients.pipedrive import PipedriveClient
from sync.clock import database_clock
from sync.context import Options, RunContext
from sync.health.groups import MAX_GROUPS, load_groups
from sync.models import Problem, SyncRun
from sync.run.records import write_heartbeat
from tests.conftest import DuringRequest, Sync, Worker, wait_until
from tests.factories import create_gist, create_people, create_person, create_problem, create_run, track, track_people
from tests.standins import GitHubStandIn, PipedriveStandIn, respond, silence
from tests.test_database import locked

pytestmark = pytest.mark.django_db(transaction=True)
BLOCKED = "GitHub GET /users/{login}/gists returned 403: {login} is blocked"
LOGINS = ["person-0", "person-1", "person-2"]
REFUSED = "Pipedrive POST /api/v2/activities returned 400: odd link [personal]"


@pytest.fixture
def _trouble(github: GitHubStandIn, pipedrive: PipedriveStandIn) -> None:
    """Three people are blocked, and three gists of Ada are refused; each response names the person or the gist."""
    for person in track_people(github, 3):
        login = person.github_username
        github.fail_always(f"/{login}/gists", respond(403, json.dumps({"message": f"{login} is blocked"})))
    track(github, "ada")
    for number in range(1, 4):
        gist_id = github.publish("ada", f"Gist {number}")
        echo = {"success": False, "error": f"odd link https://gist.github.com/ada/{gist_id}"}
        pipedrive.fail("create_activity", respond(400, json.dumps(echo)), nth=number)
    github.publish("ada", "Accepted")


@pytest.mark.usefixtures("_trouble")
def test_each_place_shows_one_reason_once(
    sync: Sync, api: APIClient, admin_client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = sync()

    run = SyncRun.objects.get()
    met = {"count": 3, "first": None, "last": None}
    expected = [
        {"code": "poll", "reason": BLOCKED, "people_count": 3, "people": LOGINS, "gists": 0, **met},
        {"code": "gist", "reason": REFUSED, "people_count": 1, "people": ["ada"], "gists": 3, **met},
    ]
    assert summary.json["problems"] == expected
    assert api.get(f"/api/v1/sync-runs/{run.pk}").json()["problems"] == expected
    assert api.get("/api/v1/sync-runs").json()["results"][0]["problems"] == expected
    assert api.get("/api/v1/status").json()["last_run"]["problems"] == expected
    lines = [f"  3 people: {BLOCKED} (@person-0, @person-1, @person-2)", f"  3 gists of 1 person: {REFUSED} (@ada)"]
    call_command("sync_status")
    assert capsys.readouterr().out.count("\n".join(lines)) == 1
    page = admin_client.get(f"/admin/sync/syncrun/{run.pk}/change/").content.decode()
    assert page.count(BLOCKED) == page.count(REFUSED) == 1
    assert ">@person-1</a>" in page
    assert f"3 people: {BLOCKED}"[:80] in admin_client.get("/admin/sync/syncrun/").content.decode()
    assert sync(as_json=False).output.splitlines()[1:] == lines[:1]  # The rejected gists are not pushed again.


# --- groups ---
def groups_of(run: SyncRun) -> list[tuple[str, int, int, int, int]]:
    """The reason, and the numbers of people, gists, times and names, of each group."""
    load_groups(run)
    return [(group.reason, group.people, group.gists, group.count, len(group.names)) for group in run.groups]


def test_problems_are_grouped_before_they_are_cut(capsys: pytest.CaptureFixture[str], admin_client: Client) -> None:
    """The reason of most people is met last; more reasons than are shown come before it."""
    run, people = create_run(outcome="failed"), create_people(30)
    for number in range(MAX_GROUPS):
        create_problem(run, f"reason {number}", people[0])
    for person in people:
        create_problem(run, "of all", person)
        create_problem(run, "of gists", people[0], gist=create_gist(person), code="gist", count=2)
    create_problem(run, "of the run", count=7)

    groups = groups_of(run)

    assert len(groups) == MAX_GROUPS
    assert groups[:3] == [("of all", 30, 0, 30, 20), ("of gists", 1, 30, 60, 1), ("reason 0", 1, 0, 1, 1)]
    call_command("sync_status")
    assert "  1 person: reason 7 (@person-0)\n  and 90 more reasons\n" in capsys.readouterr().out
    assert "(and 99 other reasons)" in admin_client.get("/admin/").content.decode()


def test_the_problems_of_several_runs_are_read_with_two_statements(django_assert_num_queries: Any) -> None:
    runs, (ada, ben) = [create_run() for _ in range(9)], [create_person("ada"), create_person("ben")]
    for number, run in enumerate(runs[1:]):
        create_problem(run, "no", ada if number % 2 else ben)
        create_problem(run, "no", ada, code="push")
        create_problem(run, "No", None, count=3)

    with django_assert_num_queries(2):
        load_groups(*runs)

    assert runs[0].groups == []
    assert [str(group) for group in runs[1].groups] == ["1 person: no (@ben)", "1 person: no (@ada)", "3 × No"]
    assert [str(group) for group in runs[2].groups] == ["1 person: no (@ada)", "1 person: no (@ada)", "3 × No"]


def test_people_in_trouble_are_grouped_by_the_same_rules(api: APIClient) -> None:
    now = timezone.now()
    for number in range(1200):
        failed = {"failures": 1, "last_error": "rare" if number < 1100 and number % 2 else "often"}
        Person.objects.bulk_create([Person(github_username=f"p{number}", username_key=f"p{number}", **failed)])
    create_person("ada", push_failures=2, push_error="rare", push_failing_since=now, push_attempted_at=now)
    for person in Person.objects.filter(github_username__in=["ada", "p0"]):
        create_gist(person, push_state="rejected", push_error="refused")

    status = api.get("/api/v1/status").json()

    trouble = [(group["code"], group["reason"], group["people_count"]) for group in status["trouble"]]
    assert trouble == [("poll", "often", 650), ("poll", "rare", 550), ("push", "rare", 1)]
    assert status["trouble"][0]["people"] == [*(f"p{number}" for number in range(0, 40, 2))]
    assert [(group["gists"], group["people"]) for group in status["rejections"]] == [(2, ["p0", "ada"])]


# --- writing ---
@pytest.mark.slow("starts a process")
def test_a_killed_run_shows_what_it_has_met(ada: Person, github: GitHubStandIn, worker: Worker, sync: Sync) -> None:
    track(github, "ben")
    github.fail_always("/ben/gists", respond(200, "{}"))
    github.fail_always("/ada/gists", silence(600))
    process = worker()
    wait_until(lambda: Problem.objects.exists())

    process.kill()
    process.wait()

    run = SyncRun.objects.get()
    reason = "GitHub GET /users/{login}/gists returned 200 with an invalid body: not a list"
    assert (run.outcome, groups_of(run)) == ("running", [(reason, 1, 0, 1, 1)])


def test_a_person_who_is_deleted_during_the_run_takes_its_problems_along(
    ada: Person, github: GitHubStandIn, sync: Sync, during_request: DuringRequest
) -> None:
    track(github, "ben")
    github.fail_always("/(ada|ben)/gists", respond(403, '{"message": "no"}'))
    during_request(github, "account", lambda: Person.objects.filter(github_username="ada").delete())

    summary = sync("--concurrency", "1")

    assert [(problem["people"], problem["people_count"]) for problem in summary.json["problems"]] == [(["ben"], 1)]


@pytest.fixture
def context() -> RunContext:
    github, pipedrive = GitHubClient("http://127.0.0.1:9"), PipedriveClient("http://127.0.0.1:9", "token")
    return RunContext(1, Options(), github, pipedrive, database_clock())


def test_any_number_of_problems_is_written_with_a_few_statements(
    context: RunContext, django_assert_max_num_queries: Any
) -> None:
    run, people = create_run(), create_people(50)
    for person in people:
        context.summary.problem("no", person=person)
        context.summary.problem("odd", person=person, gist=create_gist(person))
    context.summary.problem("of the run")
    context.summary.problem("of the run")

    with django_assert_max_num_queries(6):  # BEGIN, people, gists, problems, the heartbeat and COMMIT
        write_heartbeat(run, context)

    assert groups_of(run) == [("odd", 50, 50, 50, 20), ("no", 50, 0, 50, 20), ("of the run", 0, 0, 2, 0)]
    with django_assert_max_num_queries(3):
        write_heartbeat(run, context)


@pytest.mark.server
def test_a_problem_of_a_locked_person_waits_for_the_next_heartbeat(context: RunContext) -> None:
    run, (ada, ben) = create_run(), create_people(2)
    for person in (ada, ben):
        context.summary.problem("no", person=person)

    with locked(ada):
        write_heartbeat(run, context)
        during = list(run.problems.values_list("person", flat=True))
    write_heartbeat(run, context)

    assert (during, set(run.problems.values_list("person", flat=True))) == ([ben.pk], {ada.pk, ben.pk})
