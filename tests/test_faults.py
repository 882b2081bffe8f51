"""Every remote call with every fault: the run reports it, no other person is affected, no gist is lost or doubled.

`pytest -k "create_activity and reset"` runs a part of the cases.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from django.core import serializers
from pytest_django import Settings
from rest_framework.test import APIClient

from people.models import Gist, Person
from sync.clients.transport import Timing
from sync.management.commands.sync_gists import Command
from sync.models import ActivityDay, ApiPause, PushAttempt, SyncRun
from tests.conftest import GITHUB_TOKEN, PIPEDRIVE_TOKEN, Summary, Sync
from tests.factories import track
from tests.standins import Fault, GitHubStandIn, PipedriveStandIn, cut_body, reset, respond, silence, trickle

pytestmark = pytest.mark.django_db(transaction=True)
TOKENS = {"github": GITHUB_TOKEN, "pipedrive": PIPEDRIVE_TOKEN}
HTML = {"content-type": "text/html"}
FOREVER = 600.0  # seconds; longer than any run of these tests
SHORT_TIMEOUTS = Timing(read=0.5, total=0.5, retry=0.001, burst_pause=0.001, secondary_pause=0.001)
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
    for number in range(101):
        scenario.github.publish("ada", f"Gist {number}")
    Person.objects.filter(github_username="ada").update(backfill="2")


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


def prepare_moved_activity(scenario: Scenario) -> None:
    """The activity of a push with unknown outcome was moved, and has to be looked for everywhere."""
    scenario.github.publish("ada", "First")
    scenario.sync("--person", "ada")
    scenario.pipedrive.fail("create_activity", reset(after=True))
    scenario.github.publish("ada", "Second")
    scenario.sync("--person", "ada")
    contact = scenario.pipedrive.add_person("Countess")
    scenario.pipedrive.merge_person(Person.objects.get(github_username="ada").pipedrive_id or 0, contact)


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
    "get activity": ("pipedrive", "get_activity", prepare_moved_activity),
    "create person": ("pipedrive", "create_person", prepare_new_person),
    "list persons": ("pipedrive", "list_persons", prepare_unknown_person),
    "get person": ("pipedrive", "get_person", prepare_deleted_person),
    "list activities": ("pipedrive", "list_activities", prepare_existing_person),
    "create activity": ("pipedrive", "create_activity", prepare_new_person),
    "edit activity": ("pipedrive", "edit_activity", prepare_edited_gist),
}
FAULTS: dict[str, Callable[[str], Fault]] = {
    # name: the fault; `echo` is a body that repeats the token
    "reset before": lambda echo: reset(),
    "reset after": lambda echo: reset(after=True),
    "timeout before": lambda echo: silence(FOREVER),
    "timeout after": lambda echo: silence(FOREVER, after=True),
    "trickle": lambda echo: trickle(0.02),
    "500": lambda echo: respond(500, echo),
    "502 html": lambda echo: respond(502, "<html>Bad gateway", HTML),
    "502 after": lambda echo: respond(502, "<html>Bad gateway", HTML, after=True),
    "503 retry-after": lambda echo: respond(503, echo, {"retry-after": "600"}),
    "429 retry-after": lambda echo: respond(429, echo, {"retry-after": "600"}),
    "429 bare": lambda echo: respond(429, echo),
    "403 primary": lambda echo: respond(
        403, echo, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) + 1800)}
    ),
    "403 secondary": lambda echo: respond(403, '{"message": "You have exceeded a secondary rate limit. Wait."}'),
    "403 cloudflare": lambda echo: respond(403, "<html>This error is produced by Cloudflare", HTML),
    "401": lambda echo: respond(401, echo),
    "402": lambda echo: respond(402, echo),
    "404": lambda echo: respond(404, echo),
    "410": lambda echo: respond(410, echo),
    "422": lambda echo: respond(422, echo),
    "empty": lambda echo: respond(200, "", after=True),
    "null": lambda echo: respond(200, "null", after=True),
    "wrong shape": lambda echo: respond(200, '{"data": "surprise"}', after=True),
    "not json": lambda echo: respond(200, "<html>Hello", HTML, after=True),
    "cut body": lambda echo: cut_body(),
    "redirect": lambda echo: respond(302, "", {"location": "https://elsewhere.test/"}),
    "10 MB": lambda echo: respond(200, "x" * 10_000_000, after=True),
}
TIMEOUT_FAULTS = {"timeout before", "timeout after", "trickle"}
# A POST is not retried after these faults.
RETRIED_FAULTS = {
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


@pytest.fixture
def scenario(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> Scenario:
    """Ada comes first in every run, Ben second."""
    track(github, "ben")
    github.publish("ben", "Ben's only gist")
    return Scenario(github, pipedrive, sync, configured)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", CALLS)
def test_after_a_fault_no_gist_is_lost_or_doubled(
    call: str,
    fault: str,
    scenario: Scenario,
    api: APIClient,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api_name, operation, prepare = CALLS[call]
    monkeypatch.setattr(Command, "timing", TIMING)
    prepare(scenario)
    standin = scenario.github if api_name == "github" else scenario.pipedrive
    message = f"no, {TOKENS[api_name]}!"
    echo = json.dumps({"message": message} if api_name == "github" else {"success": False, "error": message})
    request_count = 4 if fault in RETRIED_FAULTS and not operation.startswith("create") else 1
    standin.fail(operation, FAULTS[fault](echo), nth=2 if call == "page 2" else 1, times=request_count)

    with monkeypatch.context() as patch:
        patch.setattr(Command, "timing", SHORT_TIMEOUTS if fault in TIMEOUT_FAULTS else TIMING)
        during = scenario.sync("--concurrency", "1", "--person", current_name(), "--person", "ben")
    standin.heal()
    faulty_run = SyncRun.objects.latest("id")
    visible = during.output + during.errors + caplog.text + dump(api)
    if api_name == "pipedrive" and not faulty_run.limits["pipedrive"]["stopped"]:
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


def has_activity_of(name: str, pipedrive: PipedriveStandIn) -> bool:
    return any(name in row["subject"] for row in pipedrive.activities.values())


def current_name() -> str:
    return Person.objects.exclude(github_username="ben").get().github_username


def recover(scenario: Scenario) -> None:
    """After the fault, a block by Cloudflare ends, an operator pushes rejected gists again, and two runs follow."""
    ApiPause.objects.all().delete()
    Gist.objects.filter(push_state="rejected").push_again()
    for _ in range(2):
        summary = scenario.sync("--full", "--person", current_name(), "--person", "ben")
    assert (summary.code, summary.problems) == (0, [])


def is_reported(summary: Summary) -> bool:
    """Whether the summary has a problem, or else no work is left and the exit code is 0."""
    has_unfinished_gists = Gist.objects.filter(push_state__in=["pending", "started", "rejected"]).exists()
    return bool(summary.problems) or (summary.code == 0 and not has_unfinished_gists)


def dump(api: APIClient) -> str:
    """Everything a user can read: every row of ours, and the API's responses."""
    rows = [*Person.objects.all(), *Gist.objects.all(), *SyncRun.objects.all(), *ActivityDay.objects.all()]
    rows += [*PushAttempt.objects.all(), *ApiPause.objects.all()]
    addresses = ("/api/v1/people", f"/api/v1/people/{current_name()}?getAllGists=true")
    return serializers.serialize("json", rows) + "".join(api.get(address).content.decode() for address in addresses)


def find_tokens(text: str) -> list[str]:
    return [token for token in TOKENS.values() if token in text]
