"""Trouble of single people and gists: it stays theirs, is listed by reason, and does not grow."""

import json
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from people import tracking
from people.models import Gist, Person
from sync.backoff import next_attempt
from tests.conftest import DuringRequest, Sync
from tests.factories import create_person, let_time_pass, track, track_people
from tests.standins import GitHubStandIn, PipedriveStandIn, respond
from tests.standins.faults import cut_body

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.slow("runs for 500 people")
def test_five_people_broken_in_five_ways_do_not_affect_495_others(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, capsys: pytest.CaptureFixture[str]
) -> None:
    track_people(github, 494)
    for login in ("blocked", "failing", "invalid", "twin", "cut"):
        track(github, login, gists=1)
    github.fail_always("/blocked/gists", respond(403, '{"message": "blocked", "block": {"reason": "dmca"}}'))
    github.fail_always("/failing/gists", respond(502, "<html>"))
    github.fail_always("/invalid/gists", respond(200, '{"data": []}'))
    github.fail_always("/cut/gists", cut_body())
    original = github.publish("ada")
    sync("--person", "ada")
    github.publish("twin", id=original)  # GitHub lists the same gist for two accounts: storing it fails.

    summaries = [sync() for _ in range(3)]
    call_command("sync_status", "--json")
    status = json.loads(capsys.readouterr().out)

    assert [(summary.code, summary.json["outcome"]) for summary in summaries] == [(0, "succeeded")] * 3
    assert summaries[0].counts["people_polled"] == 495
    assert summaries[0].people_in_trouble == {"blocked", "cut", "failing", "invalid", "twin"}
    assert summaries[2].counts["people_failed"] == 5
    assert (status["healthy"], status["in_trouble"]) == (True, 5)
    assert sorted(row["person"] for row in status["people_in_trouble"]) == [
        "blocked",
        "cut",
        "failing",
        "invalid",
        "twin",
    ]
    assert all(row["last_error"] for row in status["people_in_trouble"])


def test_a_run_in_which_no_poll_succeeds_has_failed(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    github.fail_always("/ada/gists", respond(403, '{"message": "no"}'))

    assert sync().code == 3


def test_a_person_who_fails_repeatedly_is_tried_after_growing_pauses(
    ada: Person, github: GitHubStandIn, sync: Sync
) -> None:
    track(github, "ben", gists=1)
    github.fail_always("/ada/gists", respond(403, '{"message": "no"}'))
    for _ in range(3):
        sync()
    paused_until = Person.objects.get(github_username="ada").next_attempt_at
    github.heal()

    paused = sync()
    Person.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    after_pause = sync()

    assert paused_until is not None
    assert (paused.counts["people_polled"], after_pause.counts["people_polled"]) == (1, 2)
    ada.refresh_from_db()
    assert (ada.failures, ada.next_attempt_at) == (0, None)


def test_a_requested_sync_ends_the_pause(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    Person.objects.update(failures=9, next_attempt_at=timezone.now() + timedelta(days=1))

    tracking.sync_soon(Person.objects.all())

    assert sync().counts["people_polled"] == 1


@pytest.mark.parametrize(("failures", "hours"), [(0, None), (2, None), (3, 6), (4, 12), (5, 24), (6, 24), (10**6, 24)])
def test_pauses_grow_to_a_day(failures: int, hours: int | None) -> None:
    now = timezone.now()

    assert next_attempt(failures, now) == (now + timedelta(hours=hours) if hours else None)


@pytest.mark.parametrize("count", [3, 99, 101, 230])
@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_page_that_always_fails_is_read_as_smaller_pages(
    status: int, count: int, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    for number in range(count):
        github.publish("ada", f"Gist {number}")
    github.fail_always(f"per_page=100{'&page=2' if count > 200 else ''}", respond(status, "<html>"))

    summary = sync("--max-activities", "1")

    ada.refresh_from_db()
    assert summary.counts["gists_new"] == Gist.objects.count() == count
    assert ada.full_read_at is not None
    assert summary.counts["people_failed"] == 0


@pytest.mark.slow("stores 200 gists with 300 files each")
@pytest.mark.both
def test_gists_with_many_files_are_stored_in_small_statements(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    """200 gists with 300 files each are more than MariaDB accepts in one packet."""
    files = {f"{number}-{'x' * 200}.md": "Markdown" for number in range(300)}  # The names are in the URLs, too.
    Person.objects.update(backfill="none")
    for number in range(200):
        github.publish("ada", f"Gist {number}", files=files)

    stored = sync()
    for gist_id in github.gist_ids("ada"):
        github.edit("ada", gist_id, description="Edited")
    edited = sync("--full")

    assert (stored.code, stored.counts["gists_new"], edited.counts["gists_edited"]) == (0, 200, 200)


def test_the_trouble_of_a_push_is_kept_while_polls_succeed(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    create_person("ben")
    github.add_account("ben")
    github.publish("ada")
    pipedrive.fail("search_persons", respond(403, '{"success": false, "error": "no"}'), times=100)
    for _ in range(3):
        sync()

    ada.refresh_from_db()
    assert (ada.failures, ada.push_failures, ada.last_error) == (0, 3, "")
    assert "403" in ada.push_error
    assert ada.next_push_at is not None


# --- twice in a row, and over ---
def test_a_trouble_keeps_its_beginning_and_ends_with_a_success(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    github.fail("gists", respond(502, "<html>"), times=20)
    sync()
    first = Person.objects.get()
    sync("--person", "ada")
    second = Person.objects.get()
    github.heal()
    summary = sync("--person", "ada")
    ended = Person.objects.get()

    assert (first.failures, second.failures, ended.failures) == (1, 2, 0)
    assert first.failing_since == second.failing_since
    assert (ended.failing_since, ended.last_error, ended.next_attempt_at) == (None, "", None)
    assert (summary.code, summary.problems, summary.people_in_trouble) == (0, [], set())


def test_the_trouble_of_a_push_keeps_its_beginning_and_ends_with_a_success(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada")
    pipedrive.fail("search_persons", respond(403, '{"success": false, "error": "no"}'), times=100)
    sync()
    first = Person.objects.get()
    sync("--person", "ada")
    second = Person.objects.get()
    pipedrive.heal()
    sync("--person", "ada")
    ended = Person.objects.get()

    assert (first.push_failures, second.push_failures) == (1, 2)
    assert first.push_failing_since == second.push_failing_since
    assert (ended.push_failures, ended.push_failing_since, ended.push_error, ended.next_push_at) == (0, None, "", None)
    assert Gist.objects.get().push_state == "pushed"


@pytest.mark.parametrize(("failing", "code"), [(1, 0), (5, 0), (6, 3)])
def test_unchanged_people_count_as_polled_when_others_fail(
    failing: int, code: int, github: GitHubStandIn, sync: Sync
) -> None:
    track_people(github, 12)
    sync()
    for number in range(failing):
        github.fail_always(f"/person-{number}/gists", respond(502, "<html>"))

    assert sync().code == code


def test_one_run_has_each_kind_of_result(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync) -> None:
    for login in ("ada", "ben", "cleo", "dora", "eve"):
        track(github, login, gists=1)
    sync()
    github.publish("ada", "New")
    github.rename("dora", "theodora")
    github.delete_account("cleo")
    sync("--person", "cleo")
    let_time_pass(timedelta(hours=2))
    github.fail_always("/eve/gists", respond(502, "<html>"))

    summary = sync()

    states = dict(Person.objects.values_list("github_username", "state"))
    assert states == {"ada": "active", "ben": "active", "cleo": "gone", "theodora": "active", "eve": "active"}
    assert (summary.counts["people_polled"], summary.counts["people_unchanged"], summary.counts["people_gone"]) == (
        4,
        1,
        1,
    )
    assert summary.counts["gists_pushed"] == 1
    assert summary.people_in_trouble == {"eve"}


# --- a row that changes during the request ---
def test_a_person_paused_during_the_poll_stays_paused(
    ada: Person, github: GitHubStandIn, sync: Sync, during_request: DuringRequest
) -> None:
    github.publish("ada")
    during_request(github, "gists", lambda: tracking.pause(Person.objects.all()))

    sync()

    assert Person.objects.get().state == "paused"


def test_a_gist_skipped_before_its_push_is_not_pushed(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, during_request: DuringRequest
) -> None:
    github.publish("ada")
    during_request(pipedrive, "create_person", lambda: Gist.objects.all().skip("Skipped by hand."))

    sync()

    assert (Gist.objects.get().push_state, pipedrive.activities) == ("skipped", {})


def test_a_gist_skipped_during_its_push_is_pushed_once(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, during_request: DuringRequest
) -> None:
    github.publish("ada")
    during_request(pipedrive, "create_activity", lambda: Gist.objects.all().skip("Skipped by hand."))

    sync()
    sync()

    assert (Gist.objects.get().push_state, len(pipedrive.activities)) == ("pushed", 1)


def test_a_person_deleted_during_the_poll_stays_deleted(
    ada: Person, github: GitHubStandIn, sync: Sync, during_request: DuringRequest
) -> None:
    github.publish("ada")
    during_request(github, "gists", lambda: Person.objects.all().delete())

    assert sync().code == 0
    assert not Person.objects.exists()
    assert not Gist.objects.exists()
