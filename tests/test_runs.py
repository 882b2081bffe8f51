"""The rows of runs; how runs are limited and stopped; sync_status."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from people.models import Gist, Person
from sync.context import RunContext
from sync.management.commands import sync_gists
from sync.models import SyncRun
from sync.run.records import find_interrupted
from sync.run.run import Run
from tests.conftest import DuringRequest, Sync, Worker, wait_until
from tests.factories import create_gists, create_run, let_time_pass, track, track_people
from tests.standins import GitHubStandIn, PipedriveStandIn, respond, silence

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]


@pytest.mark.slow("starts sync_gists as a process")
def test_a_crashed_run_is_closed_by_the_next_and_keeps_its_counts(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, worker: Worker, sync: Sync
) -> None:
    track(github, "ben", gists=1)
    pipedrive.fail("create_activity", silence(600))
    process = worker()
    wait_until(lambda: pipedrive.counts["create_activity"] == 1)
    wait_until(lambda: SyncRun.objects.get().counts.get("people_polled") == 2)
    process.kill()
    process.wait()

    sync()

    crashed = SyncRun.objects.earliest("id")
    assert (crashed.outcome, crashed.counts["people_polled"]) == ("crashed", 2)
    assert crashed.finished_at


def test_requested_polls_only_new_and_requested_people(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    track_people(github, 2)
    track(github, "ben")
    sync()
    track(github, "eve")
    Person.objects.filter(github_username="ben").update(sync_requested_at=timezone.now())
    github.clear_requests()

    summary = sync("--requested")
    again = sync("--requested")

    assert {request.path.split("/")[2] for request in github.requests} == {"ben", "eve"}
    assert (summary.counts["people_polled"], again.counts["people_polled"]) == (2, 0)
    assert SyncRun.objects.latest("id").trigger == "requested"


def test_a_requested_person_s_gist_is_pushed_by_the_frequent_run(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, api: APIClient
) -> None:
    track(github, "ben")
    sync()
    for login in ("ada", "ben"):
        github.publish(login, f"News of {login}")
    api.post("/api/v1/people/ada/sync")

    summary = sync("--requested")

    assert (summary.code, summary.counts["people_polled"]) == (0, 1)
    assert [row["subject"] for row in pipedrive.activities.values()] == ["News of ada"]


@pytest.mark.parametrize(("state", "polls"), [("paused", 0), ("gone", 1), ("conflict", 1)])
def test_a_requested_run_leaves_only_paused_people_alone(state: str, polls: int, ada: Person, sync: Sync) -> None:
    Person.objects.update(state=state, sync_requested_at=timezone.now())

    assert sync("--requested").counts["people_polled"] == polls


def test_a_sync_requested_during_the_poll_leads_to_another_poll(
    ada: Person, github: GitHubStandIn, sync: Sync, api: APIClient, during_request: DuringRequest
) -> None:
    """The current response may be older than the request, so the same run polls Ada again."""
    during_request(github, "gists", lambda: api.post("/api/v1/people/ada/sync"))

    sync()

    assert github.counts["gists"] == 2
    assert Person.objects.get().sync_requested_at is None


def test_a_run_stops_after_max_people_if_more_are_due(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    track_people(github, 5)

    summary = sync("--max-people", "4")
    rest = sync("--max-people", "6")

    assert (summary.code, summary.counts["people_polled"], summary.json["outcome"]) == (0, 4, "stopped")
    assert (rest.counts["people_polled"], rest.json["outcome"]) == (6, "succeeded")
    assert not Person.objects.filter(polled_at=None).exists()


def test_a_run_stops_after_max_minutes(
    ada: Person, github: GitHubStandIn, sync: Sync, during_request: DuringRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ada's account is received after the run has begun to stop, so her gists are not requested."""
    github.publish("ada")
    runs: list[Run] = []

    def create_run_of_one_second(record: SyncRun, context: RunContext, *rest: Any) -> Run:
        assert context.options.max_seconds == 60
        short = replace(context, options=replace(context.options, max_seconds=1))
        runs.append(Run(record, short, *rest))
        return runs[0]

    monkeypatch.setattr(sync_gists, "Run", create_run_of_one_second)
    during_request(github, "account", lambda: wait_until(lambda: runs[0].context.stopping.is_set()))

    summary = sync("--max-minutes", "1")

    assert (summary.code, summary.json["outcome"], Gist.objects.count()) == (0, "stopped", 0)


def test_a_full_run_ignores_etags(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    sync()
    github.clear_requests()

    sync("--full")

    assert ["if-none-match" in request.headers for request in github.requests_to("gists")] == [False]


@pytest.mark.slow("starts sync_gists as a process")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--max-people 0", "argument --max-people: must be a whole number"),
        ("--max-minutes x", "argument --max-minutes: must be a whole number"),
        ("--concurrency 101", "argument --concurrency: must be a whole number from 1 to 100"),
        ("--person ada --requested", "argument --requested: not allowed with argument --person"),
    ],
)
def test_invalid_options_are_a_usage_error(arguments: str, message: str, worker: Worker, db: None) -> None:
    process = worker(*arguments.split())

    _, errors = process.communicate(timeout=120)

    assert process.returncode == 2
    assert message in errors
    assert "Traceback" not in errors


def test_runs_older_than_90_days_are_deleted(ada: Person, sync: Sync, github: GitHubStandIn) -> None:
    for days, host in ((91, "old"), (89, "recent")):
        past = timezone.now() - timedelta(days=days)
        create_run(host=host, started_at=past, heartbeat_at=past, outcome="succeeded")

    sync()

    assert not SyncRun.objects.filter(host="old").exists()
    assert SyncRun.objects.filter(host="recent").exists()


# --- sync_status ---
def status(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    capsys.readouterr()
    try:
        call_command("sync_status", *arguments)
    except SystemExit as error:
        return int(error.code or 0), capsys.readouterr().out
    return 0, capsys.readouterr().out


def test_the_status_of_a_service_that_never_ran(capsys: pytest.CaptureFixture[str]) -> None:
    code, output = status(capsys)

    assert code == 0  # There is no one to poll.
    assert "health: healthy" in output
    assert "last successful run: none yet" in output
    assert "next run: the first, expected before " in output
    assert "; to start it now: manage.py sync_gists" in output


def test_the_status_after_a_successful_run(
    ada: Person, github: GitHubStandIn, sync: Sync, capsys: pytest.CaptureFixture[str]
) -> None:
    github.publish("ada")
    sync()

    code, output = status(capsys)

    assert code == 0
    assert "last successful run: 0 min ago" in output
    assert "next run: expected at " in output
    assert "gists: 1 pushed" in output


@pytest.mark.parametrize(("hours", "arguments", "expected_code"), [(7, [], 1), (6, [], 0), (7, ["--max-age", "8h"], 0)])
def test_the_status_is_unhealthy_when_the_last_poll_is_too_old(
    hours: int,
    arguments: list[str],
    expected_code: int,
    ada: Person,
    github: GitHubStandIn,
    sync: Sync,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sync()
    let_time_pass(timedelta(hours=hours))
    github.fail("gists", respond(502), times=99)
    sync()

    code, output = status(capsys, *arguments)

    assert code == expected_code
    assert ("page: polls_stale (since" in output) is bool(expected_code)


def test_the_status_has_the_backlog_and_the_rejected_gists(ada: Person, capsys: pytest.CaptureFixture[str]) -> None:
    create_gists(ada, 2)
    (rejected,) = create_gists(ada, 1, push_state="rejected", push_error="Invalid subject")

    _, output = status(capsys, "--json")

    content = json.loads(output)
    assert (content["healthy"], content["backlog"]) == (True, 2)
    assert content["rejected"] == [{"person": "ada", "gist": rejected.github_id, "reason": "Invalid subject"}]
    assert content["oldest_backlog_at"] is not None


@pytest.mark.both
@pytest.mark.parametrize("arguments", [[], ["--trigger", "schedule"]])
def test_a_dry_run_that_a_setting_stops_writes_nothing(arguments: list[str], sync: Sync, configured: Settings) -> None:
    configured.GITHUB_API_URL = "http://github.test/api/v3"

    dry = sync("--dry-run", *arguments)
    rows_of_dry_run = SyncRun.objects.count()
    real = sync(*arguments)

    assert (dry.code, real.code, rows_of_dry_run, SyncRun.objects.count()) == (78, 78, 0, 1)


@pytest.mark.both
def test_a_run_that_could_not_begin_does_not_hide_an_interrupted_one() -> None:
    stopped = create_run(outcome="stopped", trigger="schedule", limits={"github": {}})
    create_run(outcome="misconfigured", trigger="schedule", limits={})

    assert find_interrupted() == stopped
