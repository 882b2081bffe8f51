"""`manage.py sync_gists` end to end, with real HTTP servers and a real database."""

from typing import Any

import pytest
from django.core.management import CommandError
from pytest_django import DjangoAssertNumQueries, Settings

from people.models import Gist, Person
from sync.models import RunLease, SyncRun
from tests.conftest import Sync
from tests.factories import create_person, track, track_people
from tests.standins import GitHubStandIn, PipedriveStandIn, respond

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]


def test_a_gist_becomes_one_activity(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    gist_id = github.publish("ada", "Notes on the Analytical Engine")

    summary = sync()

    assert summary.code == 0, summary
    assert pipedrive.gist_ids() == [gist_id]
    gist = Gist.objects.get()
    assert (gist.push_state, gist.github_id) == ("pushed", gist_id)
    assert pipedrive.activities[gist.pipedrive_activity_id or 0]["subject"] == "Notes on the Analytical Engine"


def test_a_second_sync_makes_one_free_request_per_person(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada")
    sync()
    counted = github.used[True]
    github.clear_requests()
    pipedrive.clear_requests()

    summary = sync()

    assert [(request.operation, "if-none-match" in request.headers) for request in github.requests] == [("gists", True)]
    assert github.used[True] == counted
    assert pipedrive.requests == []
    assert summary.counts["people_unchanged"] == 1


def test_an_edited_gist_gets_no_second_activity(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    gist_id = github.publish("ada", "Draft")
    sync()
    github.edit("ada", gist_id, description="Final")

    summary = sync()

    assert summary.counts["gists_edited"] == 1
    assert Gist.objects.get().description == "Final"
    assert pipedrive.gist_ids() == [gist_id]


@pytest.mark.slow("pushes 130 gists")
def test_130_gists_are_pushed_oldest_first(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    ids = [github.publish("ada", f"Gist {number}") for number in range(130)]

    sync()

    assert list(Gist.objects.order_by("id").values_list("github_id", flat=True)) == ids
    assert pipedrive.gist_ids() == ids


def test_unusual_gists_are_stored_and_pushed_correctly(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    emoji = github.publish("ada", "Ship it 🚢 𝔘𝔫𝔦𝔠𝔬𝔡𝔢")
    no_language = github.publish("ada", "data", files={"data.xyz": None})
    no_description = github.publish("ada", None, files={"only-a-name.py": "Python"})
    huge = github.publish("ada", "<script>alert(1)</script>" + "<" * 60_000)
    truncated = github.publish("ada", "many files", truncated=True)

    summary = sync()

    assert summary.code == 0, summary
    rows = {gist.github_id: gist for gist in Gist.objects.all()}
    sent = dict(zip(pipedrive.gist_ids(), pipedrive.activities.values(), strict=True))
    assert list(sent) == [emoji, no_language, no_description, huge, truncated]
    assert rows[emoji].description == sent[emoji]["subject"] == "Ship it 🚢 𝔘𝔫𝔦𝔠𝔬𝔡𝔢"
    assert rows[no_language].files[0]["language"] is None
    assert (rows[no_description].description, sent[no_description]["subject"]) == ("", "only-a-name.py")
    assert len(rows[huge].description) == 60_025
    assert "<script" not in sent[huge]["note"]
    assert "<script" not in sent[huge]["subject"]
    assert f"https://gist.github.com/{truncated}.git" in sent[truncated]["note"]


def test_people_without_gists_or_account_are_not_failures(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada")
    track(github, "ben")
    create_person("cleo")

    summary = sync()

    assert summary.code == 0
    assert dict(Person.objects.values_list("github_username", "state")) == {
        "ada": "active",
        "ben": "active",
        "cleo": "gone",
    }
    assert Person.objects.get(github_username="cleo").last_error == "GitHub has no account with this login."
    assert len(pipedrive.activities) == 1


def test_a_renamed_person_keeps_the_gists(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync) -> None:
    dora = track(github, "dora", gists=1)
    sync()
    github.rename("dora", "Dora-Renamed")
    github.publish("dora-renamed")

    sync()

    dora.refresh_from_db()
    assert (dora.github_username, dora.gists.count()) == ("Dora-Renamed", 2)
    assert len(pipedrive.activities) == 2
    assert len(pipedrive.persons) == 1


def test_the_login_s_case_and_the_profile_are_taken_from_github(github: GitHubStandIn, sync: Sync, db: None) -> None:
    account = github.add_account(
        "AdaL", name="Ada Lovelace", email="ada@example.com", company="@engines", location="London"
    )
    create_person("adal")

    sync()

    ada = Person.objects.get()
    assert (ada.github_username, ada.name, ada.email) == ("AdaL", "Ada Lovelace", "ada@example.com")
    assert (ada.company, ada.location) == ("@engines", "London")

    account.company, account.location = "Engines Ltd.", None
    Person.objects.update(full_read_at=None)
    sync()

    ada.refresh_from_db()
    assert (ada.company, ada.location) == ("Engines Ltd.", "")


ODD_TEXTS: dict[str, tuple[Any, str]] = {
    "null": (None, ""),
    "empty": ("", ""),
    "number": (7, ""),
    "flag": (True, ""),
    "list": (["Engines"], ""),
    "object": ({"name": "Engines"}, ""),
    "long": ("🚢" * 300, "🚢" * 255),
    "control characters": ("a\x00b\nc\x1b", "a\x00b\nc\x1b"),
    "half a surrogate pair": ("a\ud83d", "a?"),
}


@pytest.mark.parametrize("odd", ODD_TEXTS)
def test_no_text_of_a_profile_fails_a_poll(
    odd: str, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    given, stored = ODD_TEXTS[odd]
    account = next(iter(github.accounts.values()))
    account.name = account.email = account.company = account.location = given
    github.publish("ada")

    summary = sync()

    ada.refresh_from_db()
    assert (summary.code, summary.problems, len(pipedrive.activities)) == (0, [], 1)
    assert (ada.name, ada.email, ada.company, ada.location) == (stored,) * 4


def test_a_gist_of_another_account_with_the_same_login_is_not_stored(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada")
    sync()
    github.rename("ada", "countess")
    github.add_account("ada")
    github.publish("ada", "Of another account")

    sync()

    assert not Gist.objects.filter(description="Of another account").exists()
    assert len(pipedrive.activities) == 1


def test_a_given_pipedrive_id_is_used(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync) -> None:
    known = pipedrive.add_person("The Countess of Lovelace")
    track(github, "ada", gists=1, pipedrive_id=known)

    sync()

    assert len(pipedrive.activities_of(known)) == 1
    assert pipedrive.requests_to("search_persons") == []


@pytest.mark.parametrize(
    ("name", "email"), [("Countess", "ADA@example.com"), ("Ada L. (@ADA)", None), ("@ada", None)], ids=str
)
def test_a_pipedrive_person_is_found_by_email_or_by_our_name(
    name: str, email: str | None, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    pipedrive.add_person("@ada-b")
    existing = pipedrive.add_person(name, email=email)
    github.publish("ada")

    sync()

    assert len(pipedrive.activities_of(existing)) == 1
    assert len(pipedrive.persons) == 2


def test_a_lost_database_leads_to_no_second_person_or_activity(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    for number in range(3):
        github.publish("ada", f"Gist {number}")
    sync()
    Person.objects.all().delete()
    create_person("ada")

    summary = sync()

    assert summary.counts["gists_found"] == 3
    assert set(Gist.objects.values_list("push_state", flat=True)) == {"pushed"}
    assert len(pipedrive.persons) == 1
    assert len(pipedrive.activities) == 3


@pytest.mark.parametrize(("backfill", "pushed"), [("none", 0), ("all", 3), ("2026-01-01", 3), ("2026-01-02", 0)])
def test_backfill_decides_which_old_gists_are_pushed(
    backfill: str, pushed: int, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    Person.objects.update(backfill=backfill)
    ids = [github.publish("ada", f"Old gist {number}") for number in range(3)]
    sync()
    new_gist = github.publish("ada", "A new gist", created_at="2100-01-01T00:00:00Z")

    sync()

    assert pipedrive.gist_ids() == [*ids[3 - pushed :], new_gist]


def test_person_syncs_only_the_named_people(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    track(github, "ben")

    sync("--person", "@BEN")

    assert dict(Person.objects.values_list("github_username", "state")) == {"ada": "new", "ben": "active"}


def test_a_dry_run_writes_nothing(ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync) -> None:
    github.publish("ada")
    before = list(Person.objects.values())

    summary = sync("--dry-run")

    assert summary.json["forecast"] == ["@ada: would store 1 new gist and create 1 activity"]
    assert list(Person.objects.values()) == before
    assert not Gist.objects.exists()
    assert not SyncRun.objects.exists()
    assert pipedrive.requests == []


def test_a_failed_dry_run_is_reported(
    ada: Person, github: GitHubStandIn, sync: Sync, caplog: pytest.LogCaptureFixture
) -> None:
    github.fail("account", respond(200, "null"))
    failed = sync("--dry-run")
    github.fail("account", respond(200, "null"))
    text = sync("--dry-run", as_json=False).output
    github.fail("account", respond(401), times=2)
    rejected = sync("--dry-run")

    assert (failed.code, rejected.code) == (3, 78)
    assert "Incomplete: not every person could be read" in text
    assert failed.json["problems"][0].startswith("@ada: GitHub GET /users/{login} returned 200 with an invalid body")
    assert "GITHUB_TOKEN was refused" in caplog.text


def test_a_missing_pipedrive_token_is_a_configuration_error(
    ada: Person, sync: Sync, configured: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    configured.PIPEDRIVE_TOKEN = ""

    summary = sync()

    assert summary.code == 78
    assert "PIPEDRIVE_TOKEN is not set" in summary.errors


def test_an_unknown_person_is_a_usage_error(sync: Sync, db: None) -> None:
    with pytest.raises(CommandError, match="not tracked") as caught:
        sync("--person", "cleo")

    assert caught.value.returncode == 2


def test_a_run_stores_its_row_and_releases_the_lease(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    github.publish("ada")

    summary = sync()

    run = SyncRun.objects.get()
    assert (run.outcome, run.counts["gists_pushed"]) == ("succeeded", 1)
    assert run.finished_at
    assert summary.json["run"] == run.pk
    assert RunLease.objects.get().token == ""


def test_the_number_of_statements_does_not_grow_with_the_people(
    github: GitHubStandIn,
    sync: Sync,
    django_assert_max_num_queries: DjangoAssertNumQueries,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Only full groups are written, so that the number does not depend on the speed of the machine.
    monkeypatch.setattr("sync.poll.polling.GROUP_SECONDS", 60)
    monkeypatch.setattr("sync.run.run.TICK_SECONDS", 60)
    track_people(github, 100)
    sync("--person", "person-0")  # Opens the connection.
    sync()

    with django_assert_max_num_queries(75):
        summary = sync("--concurrency", "32")

    assert summary.counts["people_unchanged"] == 100
