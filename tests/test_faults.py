"""Every remote call, failing in every way: the run ends and says so, nobody else suffers, and nothing is lost.

`pytest -k "create_activity and reset"` runs a part of the table.
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
from sync.models import ActivityDay, SyncRun
from tests.conftest import GITHUB_TOKEN, PIPEDRIVE_TOKEN, Summary, Sync
from tests.standins import Fault, GitHubStandIn, PipedriveStandIn, cut_body, reply, reset, silence, trickle

pytestmark = pytest.mark.django_db(transaction=True)
TOKENS = {"github": GITHUB_TOKEN, "pipedrive": PIPEDRIVE_TOKEN}
HTML = {"content-type": "text/html"}
# Longer than any test: until the run is over.
FOR_GOOD = 30.0


@dataclass
class Scenario:
    """What a scene is set with."""

    github: GitHubStandIn
    pipedrive: PipedriveStandIn
    sync: Sync
    settings: Settings


# --- the calls, each with what has to happen before it is made ---
def a_new_person(scenario: Scenario) -> None:
    scenario.github.publish("ada", "Notes")


def more_than_a_page(scenario: Scenario) -> None:
    for number in range(101):
        scenario.github.publish("ada", f"Gist {number}")
    Person.objects.filter(github_username="ada").update(backfill="2")


def a_renamed_person(scenario: Scenario) -> None:
    scenario.github.publish("ada")
    scenario.sync()
    scenario.github.rename("ada", "Countess")
    scenario.github.publish("countess")


def a_cut_off_person(scenario: Scenario) -> None:
    scenario.github.publish("ada")
    scenario.pipedrive.search_lags = True
    scenario.pipedrive.fail("create_person", reset(after=True))
    scenario.sync("--person", "ada")


def a_person_who_is_there(scenario: Scenario) -> None:
    scenario.github.publish("ada")
    scenario.pipedrive.add_person("Ada (@ada)")


def a_lost_person(scenario: Scenario) -> None:
    scenario.github.publish("ada")
    scenario.sync()
    scenario.pipedrive.delete_person(Person.objects.get(github_username="ada").pipedrive_id or 0)
    scenario.github.publish("ada")


def an_edited_gist(scenario: Scenario) -> None:
    scenario.settings.PUSH_EDITS = True
    gist_id = scenario.github.publish("ada")
    scenario.sync()
    scenario.github.edit("ada", gist_id, description="Final")


CALLS: dict[str, tuple[str, str, Callable[[Scenario], None]]] = {
    # name: (which API, act, what comes before)
    "account": ("github", "account", a_new_person),
    "page 1": ("github", "gists", a_new_person),
    "page 2": ("github", "gists", more_than_a_page),
    "account by id": ("github", "account_by_id", a_renamed_person),
    "activity types": ("pipedrive", "activity_types", a_new_person),
    "search persons": ("pipedrive", "search_persons", a_new_person),
    "create person": ("pipedrive", "create_person", a_new_person),
    "list persons": ("pipedrive", "list_persons", a_cut_off_person),
    "get person": ("pipedrive", "get_person", a_lost_person),
    "list activities": ("pipedrive", "list_activities", a_person_who_is_there),
    "create activity": ("pipedrive", "create_activity", a_new_person),
    "edit activity": ("pipedrive", "edit_activity", an_edited_gist),
}
FAULTS: dict[str, Callable[[str], Fault]] = {
    # name: the fault, given a body that repeats the token it was sent
    "reset before": lambda echo: reset(),
    "reset after": lambda echo: reset(after=True),
    "timeout before": lambda echo: silence(FOR_GOOD),
    "timeout after": lambda echo: silence(FOR_GOOD, after=True),
    "trickle": lambda echo: trickle(0.02),
    "500": lambda echo: reply(500, echo),
    "502 html": lambda echo: reply(502, "<html>Bad gateway", HTML),
    "502 after": lambda echo: reply(502, "<html>Bad gateway", HTML, after=True),
    "503 retry-after": lambda echo: reply(503, echo, {"retry-after": "600"}),
    "429 retry-after": lambda echo: reply(429, echo, {"retry-after": "600"}),
    "429 bare": lambda echo: reply(429, echo),
    "403 primary": lambda echo: reply(
        403, echo, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) + 1800)}
    ),
    "403 secondary": lambda echo: reply(403, '{"message": "You have exceeded a secondary rate limit. Wait."}'),
    "403 cloudflare": lambda echo: reply(403, "<html>This error is produced by Cloudflare", HTML),
    "401": lambda echo: reply(401, echo),
    "402": lambda echo: reply(402, echo),
    "404": lambda echo: reply(404, echo),
    "410": lambda echo: reply(410, echo),
    "422": lambda echo: reply(422, echo),
    "empty": lambda echo: reply(200, "", after=True),
    "null": lambda echo: reply(200, "null", after=True),
    "wrong shape": lambda echo: reply(200, '{"data": "surprise"}', after=True),
    "not json": lambda echo: reply(200, "<html>Hello", HTML, after=True),
    "cut body": lambda echo: cut_body(),
    "redirect": lambda echo: reply(302, "", {"location": "https://elsewhere.test/"}),
    "10 MB": lambda echo: reply(200, "x" * 10_000_000, after=True),
}
# By everything but a POST.
TRIED_AGAIN = {
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
    ada: Person,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    configured: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> Scenario:
    """Ada comes first in every run, Ben second."""
    monkeypatch.setattr("sync.clients.transport.READ_TIMEOUT", 0.1)
    monkeypatch.setattr("sync.clients.transport.TOTAL_TIMEOUT", 0.2)
    monkeypatch.setattr("sync.clients.pipedrive.BURST_PAUSE", 0.001)
    github.add_account("ben")
    github.publish("ben", "Ben's only gist")
    Person.objects.create(github_username="ben")
    return Scenario(github, pipedrive, sync, configured)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", CALLS)
def test_a_fault_costs_nobody_anything_for_good(
    call: str, fault: str, scenario: Scenario, api: APIClient, caplog: pytest.LogCaptureFixture
) -> None:
    which, act, before = CALLS[call]
    before(scenario)
    standin = scenario.github if which == "github" else scenario.pipedrive
    echo = json.dumps({"message" if which == "github" else "error": f"no, {TOKENS[which]}!"})
    tries = 4 if fault in TRIED_AGAIN and not act.startswith("create") else 1
    standin.fail(act, FAULTS[fault](echo), nth=2 if call == "page 2" else 1, times=tries)

    during = scenario.sync("--concurrency", "1", "--person", current_name(), "--person", "ben")
    standin.heal()
    trouble = SyncRun.objects.latest("id")
    spoken_for = during.said + during.errors + caplog.text + dump(api)
    if which == "pipedrive" and not trouble.limits["pipedrive"]["ended"]:
        assert any("Ben" in row["subject"] for row in scenario.pipedrive.activities.values()), during
    recover(scenario)

    assert trouble.outcome != "running"
    assert fault_was_told(during), during
    assert not leaked(spoken_for)
    expected = {row.github_id for row in Gist.objects.exclude(push_state="skipped")}
    assert sorted(scenario.pipedrive.gist_ids()) == sorted(expected)
    assert set(Gist.objects.values_list("push_state", flat=True)) <= {"pushed", "skipped"}
    assert Gist.objects.count() == sum(len(one.gists) for one in scenario.github.accounts.values())
    assert len([one for one in scenario.pipedrive.persons.values() if not one["is_deleted"]]) == 2


def current_name() -> str:
    return Person.objects.exclude(github_username="ben").get().github_username


def recover(scenario: Scenario) -> None:
    """The fault is gone: somebody pushes again what was rejected, and the next runs come."""
    Gist.objects.filter(push_state="rejected").push_again()
    for _ in range(2):
        summary = scenario.sync("--full", "--person", current_name(), "--person", "ben")
    assert (summary.code, summary.json["problems"]) == (0, [])


def fault_was_told(during: Summary) -> bool:
    """A fault that left work undone is in the summary, and a failure also in the exit code."""
    undone = Gist.objects.filter(push_state__in=["pending", "started", "rejected"]).exists()
    return bool(during.json["problems"]) or (during.code == 0 and not undone)


def dump(api: APIClient) -> str:
    """All that a person could read: every row of ours, and the API's answers."""
    rows = [*Person.objects.all(), *Gist.objects.all(), *SyncRun.objects.all(), *ActivityDay.objects.all()]
    addresses = ("/api/v1/people", f"/api/v1/people/{current_name()}?getAllGists=true")
    return serializers.serialize("json", rows) + "".join(api.get(address).content.decode() for address in addresses)


def leaked(text: str) -> list[str]:
    return [token for token in TOKENS.values() if token in text]
