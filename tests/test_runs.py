"""Runs leave a row however they end, and can be limited, stopped and looked at."""

import json
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from people.models import Gist, Person
from sync.management.commands import sync_gists
from sync.management.commands.sync_gists import build_options
from sync.models import SyncRun
from tests.conftest import Sync, wait_until
from tests.factories import create_gists
from tests.standins import GitHubStandIn, PipedriveStandIn, late, respond, silence

pytestmark = pytest.mark.django_db(transaction=True)
Worker = Callable[..., subprocess.Popen[str]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_after_the_request_in_hand(
    number: signal.Signals, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, worker: Worker
) -> None:
    github.publish("ada")
    github.publish("ada")
    pipedrive.fail("create_activity", late(1))
    process = worker()
    wait_until(lambda: pipedrive.counts["create_activity"] == 1)

    process.send_signal(number)
    said, errors = process.communicate(timeout=30)

    run = SyncRun.objects.get()
    assert (process.returncode, run.outcome, json.loads(said)["outcome"]) == (0, "stopped", "stopped"), errors
    assert not Person.objects.exclude(leased_until=None).exists()
    assert list(Gist.objects.order_by("id").values_list("push_state", flat=True)) == ["pushed", "pending"]
    assert len(pipedrive.activities) == 1


def test_a_killed_run_is_closed_by_the_next_with_its_counts(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, worker: Worker, sync: Sync
) -> None:
    github.add_account("ben")
    Person.objects.create(github_username="ben")
    github.publish("ben")
    pipedrive.fail("create_activity", silence(30))
    process = worker(SYNC_LEASE_SECONDS="5")
    wait_until(lambda: pipedrive.counts["create_activity"] == 1)
    wait_until(lambda: SyncRun.objects.get().counts.get("people_polled") == 2)
    process.kill()
    process.wait()
    SyncRun.objects.update(heartbeat_at=timezone.now() - timedelta(hours=1))  # What time does.

    sync()

    killed = SyncRun.objects.earliest("id")
    assert (killed.outcome, killed.counts["people_polled"]) == ("crashed", 2)
    assert killed.finished_at


def test_a_run_whose_people_were_taken_over_writes_nothing_of_them(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, worker: Worker
) -> None:
    github.publish("ada")
    github.fail("gists", late(1))
    process = worker()
    wait_until(lambda: github.counts["gists"] == 1)
    Person.objects.update(lease_holder="another run")

    process.communicate(timeout=30)

    ada.refresh_from_db()
    assert (ada.lease_holder, ada.polled_at, Gist.objects.count(), pipedrive.requests) == ("another run", None, 0, [])


def test_of_many_runs_each_person_is_polled_by_one(github: GitHubStandIn, worker: Worker, db: None) -> None:
    """GitHub's first responses wait until all three runs exist: runs that do not overlap begin a new round."""
    for number in range(30):
        github.add_account(f"person-{number}")
        Person.objects.create(github_username=f"person-{number}")
    github.hold.clear()
    workers = [worker("--concurrency", "2") for _ in range(3)]
    wait_until(lambda: SyncRun.objects.count() == 3)
    github.hold.set()

    outputs = [process.communicate(timeout=60) for process in workers]

    assert [process.returncode for process in workers] == [0, 0, 0], outputs
    assert github.counts["gists"] == github.counts["account"] == 30


def test_only_new_and_requested_people_are_synced_on_request(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    for name in ("ben", "cleo"):
        github.add_account(name)
        Person.objects.create(github_username=name)
    sync()
    github.add_account("dora")
    Person.objects.create(github_username="dora")
    Person.objects.filter(github_username="ben").update(sync_requested_at=timezone.now())
    github.clear_requests()

    summary = sync("--requested")
    again = sync("--requested")

    assert {one.path.split("/")[2] for one in github.requests} == {"ben", "dora"}
    assert (summary.counts["people_polled"], again.counts["people_polled"]) == (2, 0)
    assert SyncRun.objects.latest("id").trigger == "requested"


def test_who_asks_during_the_poll_is_polled_again(
    ada: Person, github: GitHubStandIn, sync: Sync, api: APIClient
) -> None:
    github.fail("gists", late(0.5))

    def ask() -> None:
        wait_until(lambda: github.counts["gists"] > 0)
        api.post("/api/v1/people/ada/sync")
        connection.close()

    other = threading.Thread(target=ask)
    other.start()
    sync()
    other.join()

    # The poll in hand may have come too early for what is request for, so the same run goes round again.
    assert github.counts["gists"] == 2
    assert Person.objects.get().sync_requested_at is None


def test_a_run_stops_at_its_most_people(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    for number in range(5):
        github.add_account(f"person-{number}")
        Person.objects.create(github_username=f"person-{number}")

    summary = sync("--max-people", "4")
    rest = sync("--max-people", "2")

    assert (summary.code, summary.counts["people_polled"], summary.json["outcome"]) == (0, 4, "stopped")
    assert rest.counts["people_polled"] == 2
    assert not Person.objects.filter(polled_at=None).exists()


def test_a_run_stops_when_its_time_is_over(
    ada: Person, github: GitHubStandIn, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    github.publish("ada")
    github.fail("account", late(2.5))
    in_one_second = lambda logins, options: replace(build_options(logins, options), max_seconds=1)  # noqa: E731
    monkeypatch.setattr(sync_gists, "build_options", in_one_second)

    summary = sync("--max-minutes", "1")

    assert (summary.code, summary.json["outcome"], Gist.objects.count()) == (0, "stopped", 0)
    assert not Person.objects.exclude(leased_until=None).exists()


def test_a_full_run_ignores_etags(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    sync()
    github.clear_requests()

    sync("--full")

    assert ["if-none-match" in one.headers for one in github.requests] == [False]


@pytest.mark.parametrize(
    "arguments",
    [["--max-people", "0"], ["--max-minutes", "x"], ["--concurrency", "101"], ["--person", "ada", "--requested"]],
    ids=" ".join,
)
def test_wrong_options_are_a_usage_error(arguments: list[str], worker: Worker, db: None) -> None:
    process = worker(*arguments)

    _, errors = process.communicate(timeout=30)

    assert process.returncode == 2
    assert arguments[0] in errors
    assert "Traceback" not in errors


def test_old_runs_are_forgotten(ada: Person, sync: Sync, github: GitHubStandIn) -> None:
    for days, token in ((91, "old"), (89, "recent")):
        past = timezone.now() - timedelta(days=days)
        SyncRun.objects.create(
            token=token, started_at=past, round_started_at=past, heartbeat_at=past, outcome="succeeded", host="h"
        )

    sync()

    assert not SyncRun.objects.filter(token="old").exists()
    assert SyncRun.objects.filter(token="recent").exists()


# --- sync_status ---
def status(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    capsys.readouterr()
    try:
        call_command("sync_status", *arguments)
    except SystemExit as end:
        return int(end.code or 0), capsys.readouterr().out
    return 0, capsys.readouterr().out


def test_the_status_of_a_service_that_never_ran(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = status(capsys)

    assert code == 1
    assert "last successful run: none yet" in said


def test_the_status_after_a_good_run(
    ada: Person, github: GitHubStandIn, sync: Sync, capsys: pytest.CaptureFixture[str]
) -> None:
    github.publish("ada")
    sync()

    code, said = status(capsys)

    assert code == 0
    assert "last successful run: 0h00m ago" in said
    assert "gists: 1 pushed" in said


@pytest.mark.parametrize(("hours", "allowed", "expected"), [(7, [], 1), (6, [], 0), (7, ["--max-age", "8h"], 0)])
def test_the_status_is_bad_when_the_last_successful_run_is_too_old(
    hours: int,
    allowed: list[str],
    expected: int,
    ada: Person,
    github: GitHubStandIn,
    sync: Sync,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sync()
    SyncRun.objects.update(finished_at=timezone.now() - timedelta(hours=hours))
    github.fail("gists", respond(401))
    sync()

    code, said = status(capsys, *allowed)

    assert code == expected
    assert "misconfigured" in said
    assert "GITHUB_TOKEN" in said


def test_the_status_names_backlog_and_rejected_with_reasons(ada: Person, capsys: pytest.CaptureFixture[str]) -> None:
    create_gists(ada, 2)
    (rejected,) = create_gists(ada, 1, push_state="rejected", push_error="Pipedrive said no")

    _, said = status(capsys, "--json")

    told: Any = json.loads(said)
    assert (told["healthy"], told["backlog"]) == (False, 2)
    assert told["rejected"] == [{"person": "ada", "gist": rejected.github_id, "reason": "Pipedrive said no"}]
    assert told["oldest_backlog_at"] is not None
