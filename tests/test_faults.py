"""Remote calls with faults: the run reports it, no other person is affected, no gist is lost or doubled.

`make test` runs each class of error with each call, and each fault with one call; `make proof` runs every fault with
every call. What the clients make of each fault is in `test_client_faults.py`. `pytest -k "create_activity and reset"`
runs a part of the cases.
"""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.core import serializers
from pytest_django import Settings
from rest_framework.test import APIClient

from people.models import Gist, Person
from sync.clients.errors import (
    CapReachedError,
    CircuitOpenError,
    ConfigurationError,
    CredentialsError,
    InvalidResponseError,
    LeaseLostError,
    NotFoundError,
    NotSentError,
    OutageError,
    OutcomeUnknownError,
    RateLimitedError,
    RejectedError,
    RepeatedServerError,
    RetryNextRunError,
    RunStoppedError,
    SyncError,
)
from sync.clients.transport import Timing
from sync.management.commands.sync_gists import Command
from sync.models import ApiState, PushAttempt, SyncRun
from tests.conftest import GITHUB_TOKEN, PIPEDRIVE_TOKEN, Summary, Sync
from tests.factories import end_pauses, let_time_pass, track
from tests.faults import FAULTS
from tests.standins import Fault, GitHubStandIn, PipedriveStandIn, reset, respond, respond_after
from tests.standins.wire import StandIn
from tests.test_client_faults import AFTER_FAULT

pytestmark = pytest.mark.django_db(transaction=True)
TOKENS = {"github": GITHUB_TOKEN, "pipedrive": PIPEDRIVE_TOKEN}
TIMING = Timing(retry=0.001, burst_pause=0.001, secondary_pause=0.001)


@dataclass
class Scenario:
    """The fixtures that prepare a test case."""

    github: GitHubStandIn
    pipedrive: PipedriveStandIn
    sync: Sync
    settings: Settings


# --- the remote calls, each with its preparation ---
def prepare_new_person(scenario: Scenario) -> None:
    scenario.github.publish("ada", "Notes")


def prepare_two_pages(scenario: Scenario) -> None:
    for number in range(99):
        scenario.github.publish("ada", f"Old gist {number}", created_at="2025-06-01T00:00:00Z")
    for number in range(2):
        scenario.github.publish("ada", f"Gist {number}")
    Person.objects.filter(github_username="ada").update(backfill="2026-01-01")


def prepare_renamed_person(scenario: Scenario) -> None:
    scenario.github.publish("ada")
    scenario.sync()
    scenario.github.rename("ada", "Countess")
    scenario.github.publish("countess")


def prepare_unknown_person(scenario: Scenario) -> None:
    scenario.github.publish("ada")
    scenario.pipedrive.search_lags = True
    scenario.pipedrive.fail("create_person", reset(after=True))
    scenario.sync("--person", "ada")


def prepare_existing_person(scenario: Scenario) -> None:
    scenario.github.publish("ada")
    scenario.pipedrive.add_person("Ada (@ada)")


def prepare_deleted_person(scenario: Scenario) -> None:
    scenario.github.publish("ada")
    scenario.sync()
    scenario.pipedrive.delete_person(Person.objects.get(github_username="ada").pipedrive_id or 0)
    scenario.github.publish("ada")


def prepare_merged_person(scenario: Scenario) -> None:
    """Where the known activity is now shows into which person Ada's was merged."""
    scenario.github.publish("ada", "First")
    scenario.sync("--person", "ada")
    contact = scenario.pipedrive.add_person("Countess")
    scenario.pipedrive.merge_person(Person.objects.get(github_username="ada").pipedrive_id or 0, contact)
    scenario.github.publish("ada", "Second")


def prepare_edited_gist(scenario: Scenario) -> None:
    scenario.settings.PUSH_EDITS = True
    gist_id = scenario.github.publish("ada")
    scenario.sync()
    scenario.github.edit("ada", gist_id, description="Final")


CALLS: dict[str, tuple[str, str, Callable[[Scenario], None]]] = {
    # name: (API, operation, preparation)
    "account": ("github", "account", prepare_new_person),
    "page 1": ("github", "gists", prepare_new_person),
    "page 2": ("github", "gists", prepare_two_pages),
    "account by id": ("github", "account_by_id", prepare_renamed_person),
    "activity types": ("pipedrive", "activity_types", prepare_new_person),
    "search persons": ("pipedrive", "search_persons", prepare_new_person),
    "search field": ("pipedrive", "search_items", prepare_new_person),
    "list fields": ("pipedrive", "list_fields", prepare_new_person),
    "create field": ("pipedrive", "create_field", prepare_new_person),
    "write field": ("pipedrive", "edit_person", prepare_existing_person),
    "get activity": ("pipedrive", "get_activity", prepare_merged_person),
    "create person": ("pipedrive", "create_person", prepare_new_person),
    "list persons": ("pipedrive", "list_persons", prepare_unknown_person),
    "get person": ("pipedrive", "get_person", prepare_deleted_person),
    "list activities": ("pipedrive", "list_activities", prepare_existing_person),
    "create activity": ("pipedrive", "create_activity", prepare_new_person),
    "edit activity": ("pipedrive", "edit_activity", prepare_edited_gist),
}
# What a run meets that is no fault of a client's call: the API fails from this call on, and SIGTERM arrives during it.
OUTAGE, STOP = "outage", "stop"
# A POST is not retried after these faults.
RETRIED_FAULTS = {
    "refused",
    "reset before",
    "reset after",
    "timeout before",
    "timeout after",
    "trickle",
    "cut body",
    "500",
    "502 html",
    "502 after",
    "503 retry-after",
    "429 retry-after",
    "429 bare",
}
# Each class of error that a call may end with, and a fault that raises it.
REPRESENTATIVES: dict[type[SyncError], str] = {
    CircuitOpenError: "429 retry-after",
    CredentialsError: "401",
    OutageError: OUTAGE,
    RetryNextRunError: "reset after",
    OutcomeUnknownError: "reset after",
    RepeatedServerError: "500",
    InvalidResponseError: "wrong shape",
    RejectedError: "422",
    NotFoundError: "404",
    NotSentError: "refused",
    RunStoppedError: STOP,
}
NOT_OF_ONE_CALL = {
    ConfigurationError,  # It takes refusals of several people; see test_evidence.py and test_refusals.py.
    CapReachedError,  # a limit of ours; see test_limits.py
    RateLimitedError,  # The client waits, or raises CircuitOpenError.
    LeaseLostError,  # another run; see test_crashes.py
}


def marks_of(call: str, fault: str) -> list[pytest.MarkDecorator]:
    """The selection: each fault meets one call, the n-th fault the n-th call; each class of error meets each call.

    On a server a response is lost at each call, because what happened before it has to be read from the rows.
    """
    marks = [pytest.mark.both] if fault == "reset after" else []
    if fault in FAULTS and list(FAULTS).index(fault) % len(CALLS) == list(CALLS).index(call):
        return marks
    is_selected = fault in REPRESENTATIVES.values()
    return [*marks, pytest.mark.slow("one of 190 whole runs") if is_selected else pytest.mark.proof]


CASES = [pytest.param(call, fault, marks=marks_of(call, fault)) for call in CALLS for fault in [*FAULTS, OUTAGE, STOP]]


def all_errors(parent: type[SyncError] = SyncError) -> set[type[SyncError]]:
    """The classes of clients/errors.py."""
    children = {error for error in parent.__subclasses__() if error.__module__ == SyncError.__module__}
    return children.union(*map(all_errors, children))


def test_each_class_of_error_meets_each_call_and_each_fault_meets_a_call() -> None:
    marks = {(str(case.values[0]), str(case.values[1])): {mark.name for mark in case.marks} for case in CASES}
    selected = {case for case, names in marks.items() if "proof" not in names}
    in_quick = {case for case, names in marks.items() if not names & {"proof", "slow"}}

    assert set(REPRESENTATIVES) == all_errors() - NOT_OF_ONE_CALL
    assert {(call, fault) for call in CALLS for fault in REPRESENTATIVES.values()} <= selected
    assert {fault for _, fault in in_quick} == set(FAULTS)
    assert {call for call, _ in in_quick} == set(CALLS)
    for error, fault in REPRESENTATIVES.items():
        if fault in FAULTS:
            assert error in {outcome[0] for outcome in AFTER_FAULT[fault]}, fault


@pytest.fixture
def scenario(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> Scenario:
    """Ada comes first in every run, Ben second."""
    track(github, "ben")
    github.publish("ben", "Ben's only gist")
    return Scenario(github, pipedrive, sync, configured)


@pytest.mark.parametrize(("call", "fault"), CASES)
def test_after_a_fault_no_gist_is_lost_or_doubled(
    call: str,
    fault: str,
    scenario: Scenario,
    api: APIClient,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api_name, _, prepare = CALLS[call]
    monkeypatch.setattr(Command, "timing", TIMING)
    prepare(scenario)

    during = run_with_fault(call, fault, scenario)
    faulty_run = SyncRun.objects.latest("id")
    visible = during.output + during.errors + caplog.text + dump(api)
    if fault not in (OUTAGE, STOP) and api_name == "pipedrive" and not faulty_run.limits["pipedrive"]["stopped"]:
        assert len(during.people_in_trouble) <= 1
        assert "ben" in during.people_in_trouble or has_activity_of("Ben", scenario.pipedrive), during
    recover(scenario)

    assert faulty_run.outcome != "running"
    assert is_reported(during), during
    assert not find_tokens(visible)
    expected = {row.github_id for row in Gist.objects.exclude(push_state="skipped")}
    assert sorted(scenario.pipedrive.gist_ids()) == sorted(expected)
    assert set(Gist.objects.values_list("push_state", flat=True)) <= {"pushed", "skipped"}
    assert Gist.objects.count() == sum(len(account.gists) for account in scenario.github.accounts.values())
    assert len([person for person in scenario.pipedrive.persons.values() if not person["is_deleted"]]) == 2


@pytest.mark.parametrize("call", ["create activity", "create person"])
def test_what_was_certainly_not_sent_leaves_nothing_in_doubt(call: str, scenario: Scenario) -> None:
    CALLS[call][2](scenario)

    run_with_fault(call, "refused", scenario)

    assert not Gist.objects.filter(push_state="started").exists()
    assert not Person.objects.exclude(pipedrive_create_started_at=None).exists()


def run_with_fault(call: str, fault: str, scenario: Scenario) -> Summary:
    """One run; the fault is gone afterwards."""
    api_name, operation, _ = CALLS[call]
    standin = scenario.github if api_name == "github" else scenario.pipedrive
    message = f"no, {TOKENS[api_name]}!"
    echo = json.dumps({"message": message} if api_name == "github" else {"success": False, "error": message})
    sent = FAULTS[fault](echo) if fault in FAULTS else during_the_call(fault, standin)
    nth = 2 if call == "page 2" else 1
    times = 4 if fault in RETRIED_FAULTS and not operation.startswith("create") else 1
    before = standin.counts[operation]
    standin.fail(operation, sent, nth=nth, times=times)
    during = scenario.sync("--concurrency", "1", "--person", current_name(), "--person", "ben")
    standin.heal()
    assert standin.counts[operation] >= before + nth, "the call was not made"
    return during


def during_the_call(event: str, standin: StandIn) -> Fault:
    if event == OUTAGE:
        return respond_after(lambda: standin.fail("", reset(), times=99), respond(500))
    return respond_after(lambda: os.kill(os.getpid(), signal.SIGTERM))


def has_activity_of(name: str, pipedrive: PipedriveStandIn) -> bool:
    return any(name in row["subject"] for row in pipedrive.activities.values())


def current_name() -> str:
    return Person.objects.exclude(github_username="ben").get().github_username


def recover(scenario: Scenario) -> None:
    """After the fault, a block by Cloudflare ends, an operator pushes rejected gists again, and three runs follow."""
    end_pauses()
    Gist.objects.filter(push_state="rejected").push_again()
    for _ in range(3):
        let_time_pass(timedelta(hours=1))
        summary = scenario.sync("--full", "--person", current_name(), "--person", "ben")
    assert (summary.code, summary.problems) == (0, [])


def is_reported(summary: Summary) -> bool:
    """Whether the summary has a problem, or else no work is left and the exit code is 0."""
    has_unfinished_gists = Gist.objects.filter(push_state__in=["pending", "started", "rejected"]).exists()
    return bool(summary.problems) or (summary.code == 0 and not has_unfinished_gists)


def dump(api: APIClient) -> str:
    """Everything a user can read: every row of ours, and the API's responses."""
    rows = [*Person.objects.all(), *Gist.objects.all(), *SyncRun.objects.all()]
    rows += [*PushAttempt.objects.all(), *ApiState.objects.all()]
    addresses = ("/api/v1/people", f"/api/v1/people/{current_name()}?getAllGists=true")
    return serializers.serialize("json", rows) + "".join(api.get(address).content.decode() for address in addresses)


def find_tokens(text: str) -> list[str]:
    return [token for token in TOKENS.values() if token in text]
