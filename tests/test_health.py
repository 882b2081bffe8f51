"""The judgement of the health: which rows make it unhealthy, with which cause, and in which words."""

from collections.abc import Callable, Iterator
from copy import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from people import tracking
from people.models import Gist, Person
from people.models.freshness import max_age
from sync.health.discovery import Latency, describe_discovery, format_seconds, load_stream_status
from sync.health.judge import judge
from sync.health.problems import Code, Health, HealthState
from sync.models import ApiState, Hint, PushAttempt, StreamState, SyncRun
from sync.reasons import Group
from tests.factories import create_gist, create_gists, create_people, create_person, create_run, let_time_pass

pytestmark = pytest.mark.django_db
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
    defaults = {"run_id": 1, "problem": problem, "problem_since": NOW(), "message": "Not allowed"}
    ApiState.objects.create(api=api, **{**defaults, **fields})


def codes(health: Health | None = None) -> list[str]:
    return [problem.code for problem in (health or judge(NOW())).problems]


def create_attempt(gist: Gist, outcome: str) -> None:
    PushAttempt.objects.create(gist=gist, outcome=outcome, attempted_at=NOW())


def fail_polls(count: int, error: str = "GitHub returned 500", age: timedelta = OLD) -> None:
    keys = Person.objects.order_by("pk").values_list("pk", flat=True)[:count]
    columns = {"polled_at": NOW() - age, "failures": 3, "last_error": error, "failing_since": NOW() - age}
    Person.objects.filter(pk__in=list(keys)).update(**columns, attempted_at=NOW())


def wait_for_pushes(people: int, *, reason: str = "", age: timedelta = OLD, state: str = "pending") -> None:
    for person in Person.objects.order_by("pk")[:people]:
        create_gists(person, 2, push_state=state, push_error=reason)
    Gist.objects.update(pending_since=NOW() - age, created_at=NOW() - age)


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


@pytest.mark.parametrize(
    ("count", "total", "expected"),
    [(6, 29, "polls_stale"), (6, 30, "people_failing"), (100, 1000, "people_failing"), (101, 1000, "polls_stale")],
)
def test_a_fifth_of_the_people_in_trouble_is_a_ticket_but_more_than_a_hundred_are_a_page(
    count: int, total: int, expected: str
) -> None:
    columns: dict[str, Any] = {"state": "active", "created_at": NOW() - OLD, "polled_at": NOW()}
    names = [f"more-{number}" for number in range(total - Person.objects.count())]
    Person.objects.bulk_create(Person(github_username=name, username_key=name, **columns) for name in names)
    fail_polls(count)

    assert codes() == [expected]


def test_a_person_that_no_run_reaches_is_not_single_trouble() -> None:
    person = create_person("ada", state="active")
    Person.objects.filter(pk=person.pk).update(created_at=NOW() - OLD)

    (problem,) = judge(NOW()).problems

    assert (problem.code, problem.severity) == ("polls_stale", "page")
    assert str(problem.groups[0]).endswith("no run has polled them (@ada)")


@pytest.mark.parametrize("fields", [{"state": "paused"}, {"state": "gone"}, {"state": "conflict"}])
def test_people_who_are_not_polled_are_not_stale(fields: dict[str, str]) -> None:
    fail_polls(10)

    Person.objects.update(**fields)

    assert codes() == []


def test_a_person_who_was_paused_for_long_and_is_resumed_is_not_stale_at_once() -> None:
    Person.objects.update(state="paused", polled_at=NOW() - timedelta(days=30))
    tracking.resume(Person.objects.all())
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
        (1, "POST returned 503", OLD, ["backlog_stale"]),  # Nothing shows that others could be pushed.
        (6, "POST returned 503", OLD, ["backlog_stale"]),
    ],
)
def test_gists_that_wait_too_long_are_unhealthy(people: int, reason: str, age: timedelta, expected: list[str]) -> None:
    wait_for_pushes(people, reason=reason, age=age)

    assert codes() == expected


@pytest.mark.parametrize(
    ("people", "expected"), [(1, ["gists_failing"]), (5, ["gists_failing"]), (6, ["backlog_stale"])]
)
@pytest.mark.parametrize("is_capped", [False, True])
def test_gists_that_wait_because_of_their_people_are_a_ticket(
    people: int, expected: list[str], is_capped: bool
) -> None:
    """A cap that a user has set is no excuse for them."""
    wait_for_pushes(people)
    keys = list(Gist.objects.values_list("person", flat=True))
    Person.objects.filter(pk__in=keys).update(push_error="Pipedrive person 7 was deleted", push_failures=3)
    set_state("Pipedrive", "capped" if is_capped else "")

    assert codes() == expected


def test_a_gist_that_is_edited_again_and_again_waits_as_long() -> None:
    wait_for_pushes(1)
    Gist.objects.update(updated_at=NOW())

    assert codes() == ["backlog_stale"]


def test_a_gist_that_was_rejected_long_ago_and_is_pushed_again_does_not_wait_for_long() -> None:
    wait_for_pushes(1, state="rejected")
    Gist.objects.all().push_again()

    assert codes() == []


def test_gists_that_fail_while_others_are_pushed_are_a_ticket() -> None:
    wait_for_pushes(1, reason="POST returned 503")
    (pushed,) = create_gists(Person.objects.latest("pk"), 1, push_state="pushed")
    create_attempt(pushed, "succeeded")

    assert codes() == ["gists_failing"]


def test_one_person_with_many_gists_does_not_hide_others_that_no_run_has_pushed() -> None:
    wait_for_pushes(3)
    person = Person.objects.latest("pk")
    template = create_gists(person, 1, push_error="POST returned 400")[0]
    rows = []
    for number in range(1001):
        template.pk, template.github_id = None, f"many{number}"
        rows.append(copy(template))
    Gist.objects.bulk_create(rows)
    Gist.objects.filter(person=person).update(pending_since=NOW() - timedelta(days=2))

    (problem,) = judge(NOW()).problems

    assert problem.code == "backlog_stale"
    assert [(group.people, group.gists) for group in problem.groups] == [(3, 6), (1, 1002)]


@pytest.mark.parametrize(("problem", "expected"), [("capped", []), ("rate_limited", ["backlog_stale"])])
def test_only_a_cap_that_a_user_has_set_may_delay_gists(problem: str, expected: list[str]) -> None:
    wait_for_pushes(3)

    set_state("Pipedrive", problem)

    assert codes() == expected


@pytest.mark.parametrize(
    ("api", "problem", "words"),
    [
        ("GitHub", "rate_limited", "The limit of GitHub is used up: Not allowed."),
        ("GitHub", "outage", "Not allowed."),
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
        (115, timedelta(), []),  # 480 requests a day: four polls, and a seventh of a full read, for each
        (116, timedelta(), ["no_github_token"]),
        (116, timedelta(hours=30), ["no_github_token"]),  # which explains it
        (110, timedelta(hours=11), []),  # A pass takes 110 / (480 - 110 / 7) days, and two are possible.
        (110, timedelta(hours=12), ["polls_stale"]),
    ],
)
def test_without_a_token_the_threshold_is_what_is_possible(
    people: int, age: timedelta, expected: list[str], settings: Settings
) -> None:
    settings.GITHUB_STREAM = False
    others = [Person(github_username=f"p{n}", username_key=f"p{n}", state="active") for n in range(people - 10)]
    Person.objects.bulk_create(others)
    Person.objects.update(polled_at=NOW() - age)
    set_state("GitHub", has_token=False)

    health = judge(NOW())

    assert codes(health) == expected
    if expected == ["no_github_token"]:
        assert (
            "enough to poll 115 people in time. 116 are tracked, so each about every 6 h" in health.problems[0].message
        )


# --- without a token, the stream shows who must be polled ---
def create_stream(**fields: Any) -> None:
    now = NOW()
    times = {"first_read_at": now, "attempted_at": now, "read_at": now, "newest_at": now}
    StreamState.objects.create(**{**times, **fields})


@pytest.mark.parametrize(
    ("new", "hinted", "read", "expected"),
    [
        (0, timedelta(), timedelta(), []),
        (0, FRESH, timedelta(), []),
        (0, OLD, timedelta(), ["polls_stale"]),  # One was not polled although the stream has hinted.
        # The stream does not work, so everyone would have to be polled.
        (0, timedelta(), OLD, ["no_github_token", "stream_degraded"]),
        (10, timedelta(), timedelta(), ["polls_stale"]),  # 160 requests a day: 10 new people take six hours.
        (300, timedelta(), timedelta(), []),
    ],
)
def test_without_a_token_and_with_the_stream_who_was_hinted_at_must_be_polled(
    new: int, hinted: timedelta, read: timedelta, expected: list[str]
) -> None:
    create_stream(read_at=NOW() - read)
    set_state("GitHub", has_token=False)
    create_people_in_bulk(90)
    Person.objects.update(polled_at=NOW() - timedelta(days=30))
    create_people_in_bulk(new, prefix="n", state="new")
    Person.objects.filter(state="new").update(created_at=NOW() - timedelta(hours=12))
    if hinted:
        Person.objects.filter(pk=Person.objects.values("pk")[:1]).update(sync_requested_at=NOW() - hinted)

    assert codes() == expected


@pytest.mark.parametrize(
    ("ages", "expected"), [([OLD, FRESH], ["polls_stale"]), ([FRESH], []), ([timedelta(days=31)], [])]
)
def test_a_further_hint_does_not_make_a_waiting_person_fresh(ages: list[timedelta], expected: list[str]) -> None:
    create_stream()
    set_state("GitHub", has_token=False)
    create_people_in_bulk(90)
    Person.objects.update(polled_at=NOW() - timedelta(days=30))
    person = Person.objects.all()[5]
    for number, age in enumerate(ages):
        Hint.objects.create(person=person, github_id=f"a{number}", updated_at=NOW(), hinted_at=NOW() - age)
    Person.objects.filter(pk=person.pk).update(sync_requested_at=NOW() - FRESH)

    assert codes() == expected


@pytest.mark.parametrize(("age", "expected"), [(FRESH, []), (OLD, ["stream_degraded"])])
def test_a_stream_whose_readings_are_not_stored_is_a_ticket(age: timedelta, expected: list[str]) -> None:
    create_stream(read_at=NOW() - age)

    assert codes() == expected


def create_people_in_bulk(count: int, prefix: str = "p", state: str = "active") -> None:
    names = [f"{prefix}{number}" for number in range(count)]
    Person.objects.bulk_create(Person(github_username=name, username_key=name, state=state) for name in names)


# --- the stream ---
@pytest.mark.parametrize(
    ("problem", "since", "hinted", "missed", "expected"),
    [
        ("", None, 0, 0, []),
        ("no", timedelta(minutes=59), 0, 0, []),
        ("no", timedelta(minutes=61), 0, 0, ["stream_degraded"]),
        ("", None, 99, 1, []),
        ("", None, 98, 1, ["stream_degraded"]),
        ("", None, 0, 1, ["stream_degraded"]),
        ("no", timedelta(minutes=61), 0, 1, ["stream_degraded"]),
    ],
)
def test_a_stream_that_cannot_be_relied_on_is_a_ticket(
    problem: str, since: timedelta | None, hinted: int, missed: int, expected: list[str]
) -> None:
    person = Person.objects.all()[0]
    create_stream(problem=problem, problem_since=since and NOW() - since)
    create_gists(person, hinted, discovery="stream", push_state="skipped")
    create_gists(person, missed, discovery="missed", push_state="skipped")
    old = create_gists(person, 30, discovery="missed", push_state="skipped")
    Gist.objects.filter(pk__in=[gist.pk for gist in old]).update(created_at=NOW() - timedelta(days=8))

    health = judge(NOW())

    assert codes(health) == expected
    assert health.state == (HealthState.DEGRADED if expected else HealthState.HEALTHY)


@pytest.mark.parametrize(("count", "median", "p95"), [(1, 1, 1), (2, 1.5, 2), (20, 10.5, 19), (100, 50.5, 95)])
def test_latencies_are_from_publication(count: int, median: float, p95: float) -> None:
    now = NOW()
    for number in range(1, count + 1):
        times = {"github_created_at": now, "pushed_at": now + timedelta(seconds=2 * number)}
        gist = create_gist(Person.objects.all()[0], discovery="poll", push_state="pushed", **times)
        Gist.objects.filter(pk=gist.pk).update(created_at=now + timedelta(seconds=number))
    create_gist(Person.objects.all()[0], push_state="pushed", pushed_at=now)  # from before the person was tracked

    status = load_stream_status(now)

    assert (status.stored, status.pushed) == (Latency(median, p95), Latency(2 * median, 2 * p95))
    assert status.coverage is None
    assert describe_discovery(status) == f"in Pipedrive after {2 * median:.0f} s (95%: {format_seconds(2 * p95)})"


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


def test_a_run_that_begins_after_a_long_pause_resolves_it_only_with_its_end() -> None:
    let_time_pass(OLD)
    run = create_run(trigger="schedule", heartbeat_at=NOW())
    during = codes()
    run.outcome = "succeeded"
    run.save()
    Person.objects.update(polled_at=NOW())

    assert during == ["not_running"]
    assert codes() == []


@pytest.mark.parametrize("hours", [1, 3, 8, 50])
def test_a_long_run_that_is_alive_is_not_a_missing_one(hours: int) -> None:
    create_run(trigger="schedule")
    let_time_pass(timedelta(hours=hours))
    SyncRun.objects.filter(outcome="running").update(heartbeat_at=NOW())
    Person.objects.update(polled_at=NOW())

    assert codes() == []


@pytest.mark.parametrize(
    ("trigger", "age", "expected"),
    [
        ("schedule", timedelta(), ["cannot_start"]),
        ("manual", timedelta(), []),  # started in the wrong place
        ("manual", OLD, ["cannot_start"]),
    ],
)
def test_a_run_that_could_not_begin_is_reported_if_it_is_missed(
    trigger: str, age: timedelta, expected: list[str]
) -> None:
    create_run(trigger=trigger, outcome="misconfigured", problem="PIPEDRIVE_TOKEN is not set.")
    Person.objects.update(polled_at=NOW() - age)

    assert codes() == expected


@pytest.mark.parametrize(
    ("manual_run", "expected"),
    [
        ({"outcome": "misconfigured"}, ["cannot_start"]),
        ({"outcome": "misconfigured", "limits": {"github": {}}}, []),  # It began, and GitHub refused the token.
        ({"outcome": "succeeded"}, []),
    ],
)
@pytest.mark.parametrize("count", [1, 3])
def test_only_a_run_that_began_ends_that_the_schedule_cannot_start(
    count: int, manual_run: dict[str, Any], expected: list[str]
) -> None:
    create_run(trigger="schedule", outcome="misconfigured", problem="PIPEDRIVE_TOKEN is not set.")

    for _ in range(count):
        create_run(trigger="manual", **manual_run)

    assert codes() == expected


def test_a_manual_run_that_could_not_begin_does_not_hide_that_the_schedule_starts_none() -> None:
    let_time_pass(OLD)
    Person.objects.update(polled_at=NOW())
    create_run(trigger="manual", outcome="misconfigured", problem="PIPEDRIVE_TOKEN is not set.")

    assert codes() == ["not_running"]


@pytest.fixture
def never_ran() -> Iterator[Callable[[timedelta], None]]:
    """No run has begun and no people are tracked, this long after the database was set up."""
    migrations = MigrationRecorder.Migration.objects
    before = dict(migrations.values_list("pk", "applied"))

    def set_age(age: timedelta) -> None:
        migrations.update(applied=NOW() - age)
        SyncRun.objects.all().delete()
        Person.objects.all().delete()

    yield set_age
    for key, applied in before.items():
        migrations.filter(pk=key).update(applied=applied)


@pytest.mark.parametrize(("hours", "expected"), [(1, []), (3.4, []), (3.6, ["not_running"]), (500, ["not_running"])])
@pytest.mark.parametrize("people", [0, 2])
def test_a_service_in_which_no_run_has_ever_begun_is_unhealthy_after_one_interval(
    people: int, hours: float, expected: list[str], never_ran: Callable[[timedelta], None]
) -> None:
    never_ran(timedelta(hours=hours))
    create_people(people)

    assert codes() == expected


def test_no_run_has_ever_begun_has_what_to_do(never_ran: Callable[[timedelta], None], api: APIClient) -> None:
    never_ran(timedelta(hours=5))

    status = api.get("/api/v1/status").json()

    assert status["health"]["state"] == "unhealthy"
    (problem,) = status["health"]["problems"]
    assert problem["summary"] == "No run of sync_gists for all people has ever begun."
    assert problem["action"].endswith("To start a run now: manage.py sync_gists")
    assert datetime.fromisoformat(status["next_run_at"]) < NOW() - timedelta(hours=1)


def test_a_first_run_that_could_not_begin_is_unhealthy_at_once_and_names_the_setting(
    never_ran: Callable[[timedelta], None], api: APIClient, settings: Any
) -> None:
    never_ran(timedelta())
    settings.PIPEDRIVE_TOKEN = ""
    with pytest.raises(SystemExit):
        call_command("sync_gists", "--trigger", "schedule")

    health = api.get("/api/v1/status").json()["health"]

    assert (health["state"], health["problems"][0]["code"]) == ("unhealthy", "cannot_start")
    assert "The last run could not begin: PIPEDRIVE_TOKEN is not set." in health["problems"][0]["summary"]


@pytest.mark.parametrize("trigger", ["requested", "person"])
def test_a_run_for_single_people_does_not_hide_that_none_is_for_all(trigger: str) -> None:
    let_time_pass(OLD)
    create_run(outcome="succeeded", trigger=trigger)

    assert codes() == ["not_running"]


@pytest.mark.parametrize(
    ("rejected", "pushed", "expected"),
    [(5, 0, []), (6, 0, ["rejected_jump"]), (6, 113, ["rejected_jump"]), (6, 114, [])],
)
def test_a_jump_of_rejected_gists_is_a_ticket(rejected: int, pushed: int, expected: list[str]) -> None:
    person = Person.objects.first() or create_person()
    for gist in create_gists(person, rejected, push_state="rejected", push_error="no"):
        create_attempt(gist, "refused")
    (other,) = create_gists(person, 1, push_state="pushed")
    for _ in range(pushed):
        create_attempt(other, "succeeded")

    assert codes() == expected
    let_time_pass(timedelta(hours=3))
    Gist.objects.update(updated_at=NOW())  # An edit on GitHub is no rejection.
    assert codes() == expected
    let_time_pass(timedelta(hours=22))
    create_run(outcome="succeeded", trigger="schedule")
    Person.objects.update(polled_at=NOW())
    assert codes() == []


@pytest.mark.parametrize(("gone", "others", "expected"), [(5, 0, []), (6, 103, ["gone_jump"]), (6, 104, [])])
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
def test_a_group_names_people_gists_and_times() -> None:
    names = {number: f"p{number}" for number in range(5)}
    first, last = datetime(2026, 11, 26, 9, 5, tzinfo=UTC), datetime(2026, 11, 26, 18, 8, tzinfo=UTC)
    group = Group("push", "no", people=8, gists=24, first=first, last=last, names=names)

    text = "24 gists of 8 people since 2026-11-26 09:05 UTC, last tried 2026-11-26 18:08 UTC: no"
    assert (group.text, str(group)) == (text, f"{text} (@p0, @p1, @p2, @p3, @p4 and 3 more)")


@pytest.mark.parametrize(("minutes", "hours"), [(180, 6.5), (60, 2.5), (5, 40 / 60)])
def test_the_maximum_age_follows_the_interval(minutes: int, hours: float, settings: Any) -> None:
    settings.SYNC_INTERVAL = timedelta(minutes=minutes)

    assert max_age() == timedelta(hours=hours)
