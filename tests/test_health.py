"""The judgement of the health: which rows make it unhealthy, with which cause, and in which words."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from people.freshness import max_age
from people.models import Gist, Person
from sync.health import Code, Health, HealthState, judge
from sync.models import ApiState
from sync.reasons import Failure, group_failures
from tests.factories import create_gists, create_people, create_person, create_run, let_time_pass

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now
OLD, FRESH = timedelta(hours=7), timedelta(hours=6)


@pytest.fixture(autouse=True)
def _service(db: None) -> None:
    """Ten people that were polled just now, in a run that succeeded."""
    create_people(10, state="active", polled_at=NOW())
    let_time_pass(timedelta(days=1))
    Person.objects.update(polled_at=NOW())
    create_run(outcome="succeeded", trigger="schedule")


def set_state(api: str, problem: str = "", **fields: Any) -> None:
    defaults = {"run_id": 1, "called_at": NOW(), "problem": problem, "problem_since": NOW(), "message": "It says no"}
    ApiState.objects.create(api=api, **{**defaults, **fields})


def codes(health: Health | None = None) -> list[str]:
    return [problem.code for problem in (health or judge(NOW())).problems]


def fail_polls(count: int, error: str = "GitHub returned 500", age: timedelta = OLD) -> None:
    keys = Person.objects.order_by("pk").values_list("pk", flat=True)[:count]
    columns = {"polled_at": NOW() - age, "failures": 3, "last_error": error, "failing_since": NOW() - age}
    Person.objects.filter(pk__in=list(keys)).update(**columns, attempted_at=NOW())


def wait_for_pushes(people: int, *, reason: str = "", age: timedelta = OLD, state: str = "pending") -> None:
    for person in Person.objects.order_by("pk")[:people]:
        create_gists(person, 2, push_state=state, push_error=reason)
    Gist.objects.update(updated_at=NOW() - age, created_at=NOW() - age)


def test_a_fresh_service_is_healthy() -> None:
    assert judge(NOW()) == Health()
    assert judge(NOW()).state == HealthState.HEALTHY


@pytest.mark.parametrize(
    ("count", "age", "expected"),
    [
        (1, FRESH, []),
        (1, OLD, ["people_failing"]),
        (5, OLD, ["people_failing"]),
        (6, OLD, ["polls_stale"]),
        (10, OLD, ["polls_stale"]),
    ],
)
def test_single_people_in_trouble_are_a_ticket_and_many_are_a_page(
    count: int, age: timedelta, expected: list[str]
) -> None:
    fail_polls(count, age=age)

    assert codes() == expected


def test_a_person_whom_no_run_reaches_is_not_single_trouble() -> None:
    person = create_person("ada", state="active")
    Person.objects.filter(pk=person.pk).update(created_at=NOW() - OLD)

    (problem,) = judge(NOW()).problems

    assert (problem.code, problem.severity) == ("polls_stale", "page")
    assert "no run has polled them (@ada)" in problem.message


@pytest.mark.parametrize("fields", [{"state": "paused"}, {"state": "gone"}, {"state": "conflict"}])
def test_people_who_are_not_polled_are_not_stale(fields: dict[str, str]) -> None:
    fail_polls(10)

    Person.objects.update(**fields)

    assert codes() == []


def test_a_person_who_was_paused_for_long_and_is_resumed_is_not_stale_at_once() -> None:
    Person.objects.update(state="paused", polled_at=NOW() - timedelta(days=30))
    Person.objects.all().resume()
    Person.objects.update(state="active")

    assert codes() == []


def test_a_poll_in_the_future_is_not_fresh() -> None:
    Person.objects.update(polled_at=NOW() + timedelta(days=1))

    assert codes() == ["polls_stale"]


@pytest.mark.parametrize(
    ("people", "reason", "age", "expected"),
    [
        (1, "", FRESH, []),
        (1, "", OLD, ["backlog_stale"]),
        (1, "Pipedrive person 7 was deleted", OLD, ["gists_failing"]),
        (6, "Pipedrive person 7 was deleted", OLD, ["backlog_stale"]),
    ],
)
def test_gists_that_wait_too_long_are_unhealthy(people: int, reason: str, age: timedelta, expected: list[str]) -> None:
    wait_for_pushes(people, reason=reason, age=age)

    assert codes() == expected


@pytest.mark.parametrize(("problem", "expected"), [("capped", []), ("rate_limited", ["backlog_stale"])])
def test_only_a_cap_that_a_user_has_set_may_delay_gists(problem: str, expected: list[str]) -> None:
    wait_for_pushes(3)

    set_state("Pipedrive", problem)

    assert codes() == expected


@pytest.mark.parametrize(
    ("api", "problem", "words"),
    [
        ("GitHub", "rate_limited", "The limit of GitHub is used up: It says no."),
        ("GitHub", "outage", "It says no."),
        ("GitHub", "", "no run has polled them"),
    ],
)
def test_the_cause_of_stale_polls_is_named(api: str, problem: str, words: str) -> None:
    Person.objects.update(polled_at=NOW() - OLD)
    set_state(api, problem)

    (found,) = judge(NOW()).problems

    assert found.code == "polls_stale"
    assert words in found.message


def test_a_refused_token_is_reported_at_once_and_explains_what_is_stale() -> None:
    Person.objects.update(polled_at=NOW() - OLD)
    wait_for_pushes(3)
    set_state("GitHub", "refused")
    set_state("Pipedrive", "refused")

    assert codes() == ["github_refused", "pipedrive_refused"]


def test_a_refused_pipedrive_token_does_not_matter_when_nothing_waits() -> None:
    set_state("Pipedrive", "refused")

    assert codes() == []


@pytest.mark.parametrize(
    ("people", "age", "expected"),
    [
        (390, timedelta(), []),
        (391, timedelta(), ["no_github_token"]),
        (391, timedelta(hours=12), ["no_github_token"]),  # 2 x 391 / 60 hours are possible.
        (391, timedelta(hours=14), ["no_github_token", "polls_stale"]),
    ],
)
def test_without_a_token_the_threshold_is_what_is_possible(people: int, age: timedelta, expected: list[str]) -> None:
    others = [Person(github_username=f"p{n}", username_key=f"p{n}", state="active") for n in range(people - 10)]
    Person.objects.bulk_create(others)
    Person.objects.update(polled_at=NOW() - age)
    set_state("GitHub", has_token=False)

    health = judge(NOW())

    assert codes(health) == expected
    if expected:
        assert "enough for 390 people in 6 h 30 min" in health.problems[0].message


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (["crashed"], []),
        (["crashed", "crashed"], ["runs_crash"]),
        (["succeeded", "crashed", "crashed"], ["runs_crash"]),
        (["crashed", "crashed", "succeeded"], []),
        (["crashed", "crashed", "running"], ["runs_crash"]),  # A run in progress proves nothing.
    ],
)
def test_runs_that_die_again_and_again_are_reported(outcomes: list[str], expected: list[str]) -> None:
    for outcome in outcomes:
        create_run(outcome=outcome, trigger="schedule")

    assert codes() == expected


@pytest.mark.parametrize("trigger", ["requested", "person"])
def test_a_run_for_single_people_does_not_hide_that_none_is_for_all(trigger: str) -> None:
    let_time_pass(OLD)
    create_run(outcome="succeeded", trigger=trigger)

    assert codes() == ["not_running"]


@pytest.mark.parametrize(
    ("rejected", "pushed", "expected"),
    [(5, 0, []), (6, 0, ["rejected_jump"]), (6, 200, []), (12, 200, ["rejected_jump"])],
)
def test_a_jump_of_rejected_gists_is_a_ticket(rejected: int, pushed: int, expected: list[str]) -> None:
    create_run(outcome="succeeded", trigger="schedule", counts={"gists_pushed": pushed})
    create_gists(Person.objects.first() or create_person(), rejected, push_state="rejected", push_error="no")

    assert codes() == expected
    let_time_pass(timedelta(hours=3))
    assert codes() == expected
    let_time_pass(timedelta(hours=22))
    create_run(outcome="succeeded", trigger="schedule")
    Person.objects.update(polled_at=NOW())
    assert codes() == []


@pytest.mark.parametrize(("gone", "others", "expected"), [(5, 0, []), (6, 10, ["gone_jump"]), (6, 200, [])])
def test_a_jump_of_gone_accounts_is_a_ticket(gone: int, others: int, expected: list[str]) -> None:
    new = [Person(github_username=f"p{n}", username_key=f"p{n}", state="new") for n in range(others)]
    Person.objects.bulk_create(new)
    for number in range(gone):
        create_person(f"gone-{number}", state="gone", state_changed_at=NOW())

    assert codes() == expected


def test_every_problem_has_words_for_what_to_do(api: APIClient) -> None:
    fail_polls(1)
    wait_for_pushes(6)

    problems = api.get("/api/v1/status").json()["health"]["problems"]

    assert [problem["code"] for problem in problems] == ["backlog_stale", "people_failing"]  # the page first
    assert all(problem["summary"] and problem["action"] and problem["since"] for problem in problems)


def test_status_command_api_and_metrics_agree(
    api: APIClient, capsys: pytest.CaptureFixture[str], client: Client
) -> None:
    fail_polls(10, "GitHub GET /users/person-0/gists returned 500")

    status = api.get("/api/v1/status").json()["health"]
    metrics = client.get("/metrics").content.decode()
    with pytest.raises(SystemExit) as end:
        call_command("sync_status")
    output = capsys.readouterr().out

    assert end.value.code == 1
    assert (status["state"], [problem["code"] for problem in status["problems"]]) == ("unhealthy", ["polls_stale"])
    assert 'gisttracker_problem{code="polls_stale"} 1.0' in metrics
    assert "gisttracker_healthy 0.0" in metrics
    assert output.startswith("health: unhealthy\npage: polls_stale (since ")


def test_the_metrics_have_a_value_for_each_code(client: Client) -> None:
    metrics = client.get("/metrics").content.decode()

    assert all(f'gisttracker_problem{{code="{code}"}} 0.0' in metrics for code in Code)


# --- reasons ---
@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        (["{} failed", "{} failed"], 1),
        (["Pipedrive person 7 was deleted", "Pipedrive person 8 was deleted"], 1),
        (["no field 'a'", "no field 'b'"], 1),
        (["resets at 2026-11-26 18:08", "resets at 2026-11-26 19:10"], 1),
        (["GitHub GET /users/{} returned 403: no", "GitHub GET /users/{} returned 404: no"], 2),
        (["no", "yes"], 2),
    ],
)
def test_failures_with_the_same_cause_are_one_group(reasons: list[str], expected: int) -> None:
    failures = [Failure(f"person-{n}", reason.format(f"person-{n}")) for n, reason in enumerate(reasons)]

    assert len(group_failures(failures)) == expected


def test_a_group_names_people_gists_and_times() -> None:
    first, last = NOW().replace(hour=9, minute=5), NOW().replace(hour=18, minute=8)
    failures = [Failure(f"p{number}", f"p{number} no", first, last, gists=3) for number in range(8)]

    (group,) = group_failures(failures)

    day = f"{first:%Y-%m-%d}"
    assert str(group) == (
        f"24 gists of 8 people since {day} 09:05 UTC, last tried {day} 18:08 UTC: LOGIN no "
        "(@p0, @p1, @p2, @p3, @p4 and 3 more)"
    )


@pytest.mark.parametrize(("minutes", "hours"), [(180, 6.5), (60, 2.5), (5, 40 / 60)])
def test_the_maximum_age_follows_the_interval(minutes: int, hours: float, settings: Any) -> None:
    settings.SYNC_INTERVAL = timedelta(minutes=minutes)

    assert max_age() == timedelta(hours=hours)
