"""Refusals about us end a part of the work and reject nothing; those about one gist reject it visibly."""

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from people.models import Gist, Person
from sync.models import ApiState, PushAttempt
from tests.conftest import Sync
from tests.factories import let_time_pass, track, track_people
from tests.standins import Fault, GitHubStandIn, PipedriveStandIn, reset, respond

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)  # Then a run believes what an earlier one has seen.


def refusal(reason: str, status: int = 400) -> Fault:
    return respond(status, f'{{"success": false, "error": "{reason}"}}')


def states() -> set[str]:
    return set(Gist.objects.values_list("push_state", flat=True))


# --- about us ---
@pytest.mark.slow("pushes 300 gists")
@pytest.mark.parametrize("people", [1, 30])
def test_a_required_field_rejects_no_gist(
    people: int, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    track_people(github, people, gists=300 // people)
    pipedrive.required_field = "deal_id"

    summary = sync()

    assert summary.code in (3, 78)
    assert states() == {"pending"}
    assert summary.counts["gists_rejected"] == 0
    assert len([problem for problem in summary.problems if "deal_id is required" in problem]) == 1
    assert len(pipedrive.requests_to("create_activity")) <= 5 * 10 + 8
    pipedrive.required_field = ""
    assert sync().code == 0
    assert states() == {"pushed"}


FORBIDDEN = {
    # operation: the most API tokens that a run may cost
    "create_activity": 1000,
    "create_person": 950,
    "list_activities": 300,
    "search_persons": 700,
    "search_items": 400,
    "list_fields": 300,
    "list_persons": 300,
    "get_person": 300,
}


@pytest.mark.slow("runs three times for 20 people")
@pytest.mark.parametrize("operation", FORBIDDEN)
def test_one_missing_permission_ends_the_part_with_one_message(
    operation: str, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    if operation.startswith("search"):  # Else all persons are read instead.
        monkeypatch.setattr("sync.push.directory.FEW", 1000)
    track_people(github, 20, gists=1)
    if operation == "get_person":
        given = pipedrive.add_person("Given by a user")
        Person.objects.update(pipedrive_id=given)
    pipedrive.forbidden.add(operation)

    first = sync("--concurrency", "2")
    spent = pipedrive.spent
    second = sync("--concurrency", "2")

    for summary in (first, second):
        assert (summary.code, summary.json["outcome"]) == (78, "misconfigured")
        (problem,) = summary.problems
        assert "permissions of PIPEDRIVE_TOKEN's user" in problem
    assert spent <= FORBIDDEN[operation]
    assert states() == {"pending"}
    assert set(Person.objects.values_list("push_failures", flat=True)) == {0}
    pipedrive.forbidden.clear()
    assert sync().code == 0
    assert states() == {"pushed"}


def test_linked_people_are_pushed_although_no_person_may_be_created(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    linked = track_people(github, 3, gists=1)
    sync()
    for person in linked:
        github.publish(person.github_username, "Second")
    for number in range(6):
        track(github, f"new-{number}", gists=1)
    pipedrive.forbidden.add("create_person")

    summary = sync()

    assert (summary.code, len(pipedrive.activities)) == (78, 6)


def test_refused_lists_of_single_people_are_about_us(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    """The list of all activities is allowed, and was read once at the beginning."""
    for person in track_people(github, 20, gists=1):
        Person.objects.filter(pk=person.pk).update(pipedrive_id=pipedrive.add_person(person.github_username))
    pipedrive.fail_always("activities.*person_id", refusal("Scope and URL mismatch", 403))

    summary = sync("--concurrency", "1")

    assert summary.code == 78
    assert "refused to list activities" in str(summary.problems)
    assert set(Person.objects.values_list("push_failures", flat=True)) == {0}


# --- about one gist ---
def test_a_gist_that_pipedrive_refuses_is_rejected_when_others_are_created(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    track_people(github, 6, gists=1)
    pipedrive.refused_subjects = {"Gist 0 of person-2"}

    first = sync("--concurrency", "1")
    let_time_pass(HOUR)
    second = sync("--concurrency", "1")

    (rejected,) = Gist.objects.filter(push_state="rejected")
    assert (first.code, first.counts["gists_pushed"], second.counts["gists_rejected"]) == (0, 5, 1)
    assert "subject is odd" in rejected.push_error
    assert "Pipedrive rejected it." in rejected.push_explanation
    assert Person.objects.get(pk=rejected.person_id).push_failures == 0


def test_refusals_of_three_people_between_successes_are_about_their_gists(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    track_people(github, 12, gists=1)
    pipedrive.refused_subjects = {f"Gist 0 of person-{number}" for number in (1, 2, 3)}

    first = sync("--concurrency", "1")
    let_time_pass(HOUR)
    second = sync("--concurrency", "1")

    assert (first.code, first.counts["gists_pushed"], second.counts["gists_rejected"]) == (0, 9, 3)


def test_a_run_that_is_stopped_early_rejects_nothing(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    """It is not known yet whether the refusal is about the gist."""
    for number in range(3):
        github.publish("ada", f"Gist {number}")
    pipedrive.required_field = "deal_id"
    pipedrive.fail("create_activity", BLOCKS["html"], nth=2)

    sync("--concurrency", "1")

    assert states() == {"pending"}


# --- the others do not wait ---
def test_gists_that_always_fail_come_last(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    for number in range(5):
        github.publish("ada", f"Odd {number}")
    pipedrive.fail("create_activity", reset(), times=3)
    sync("--concurrency", "1")
    github.publish("ada", "New")
    before = len(pipedrive.requests_to("create_activity"))

    sync("--concurrency", "1")

    sent = [request.json["subject"] for request in pipedrive.requests_to("create_activity")[before:]]
    assert sent[-3:] == ["Odd 0", "Odd 1", "Odd 2"]
    assert set(sent[:3]) == {"Odd 3", "Odd 4", "New"}


def test_people_who_always_fail_come_last_in_the_next_run(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    """Ten people whose gists are refused open the circuit, but only once."""
    people = track_people(github, 15, gists=1)
    refused = {f"Gist 0 of {person.github_username}" for person in people[:10]}
    pipedrive.refused_subjects = refused

    first = sync("--concurrency", "1")
    second = sync("--concurrency", "1")

    assert (first.code, first.counts["gists_pushed"], second.counts["gists_pushed"]) == (78, 0, 5)
    assert states() == {"pending", "pushed"}


@pytest.mark.slow("eight runs")
def test_a_gist_that_never_gets_a_clear_response_is_rejected_when_others_do(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    pipedrive.breaks_at = {"Odd"}
    github.publish("ada", "Odd")
    track(github, "ben")
    for _ in range(8):
        github.publish("ben")
        sync("--concurrency", "1")

    odd = Gist.objects.get(description="Odd")
    assert (odd.push_state, odd.attempts.count()) == ("rejected", 5)
    assert "no clear response to 5 attempts" in odd.push_error


def test_a_gist_without_a_clear_response_is_not_rejected_while_all_fail(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    pipedrive.breaks_at = {"Odd"}
    github.publish("ada", "Odd")
    for _ in range(8):
        sync("--concurrency", "1")

    assert states() == {"started"}
    pipedrive.breaks_at = set()
    for _ in range(2):
        sync()
    assert states() == {"pushed"}


# --- blocks ---
BLOCKS = {
    "html": respond(403, "<html>Sorry, you have been blocked</html>", {"content-type": "text/html"}),
    "text": respond(429, "error code: 1015", {"content-type": "text/plain"}),
    "json": respond(429, '{"title": "You are being rate limited", "status": 429, "retry_after": 1800}'),
}


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_stops_this_run_and_the_next_ones_until_it_is_over(
    block: str, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    track_people(github, 5, gists=1)
    pipedrive.fail_always("", BLOCKS[block])

    first = sync("--concurrency", "1")
    sent = len(pipedrive.requests)
    second = sync("--concurrency", "1")

    assert (sent, len(pipedrive.requests)) == (1, 1)
    assert (first.code, second.code, states()) == (0, 0, {"pending"})
    assert "Cloudflare blocks this token" in second.problems[0]
    until = ApiState.objects.get(api="Pipedrive").paused_until
    assert until
    left = until - timezone.now()
    expected = timedelta(minutes=30 if block == "json" else 15)
    assert expected - timedelta(minutes=2) <= left <= expected

    pipedrive.heal()
    ApiState.objects.update(paused_until=timezone.now() - timedelta(seconds=1))
    assert sync().code == 0
    assert states() == {"pushed"}


def test_a_block_of_another_token_is_no_pause(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> None:
    github.publish("ada")
    pipedrive.fail("", BLOCKS["html"])
    sync()
    pipedrive.tokens.add("new-token")
    configured.PIPEDRIVE_TOKEN = "new-token"

    assert sync().code == 0
    assert states() == {"pushed"}


def test_an_absurd_pause_is_a_mistake(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada")
    pipedrive.fail("", BLOCKS["json"])
    sync()
    ApiState.objects.update(paused_until=timezone.now() + timedelta(days=4000))

    assert sync().counts["gists_pushed"] == 1


def test_the_daily_counter_of_requests_stops_the_pushes_for_the_day(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    for _ in range(4):
        github.publish("ada")
    pipedrive.daily_requests_left = 4  # a field, a person, two activities

    first = sync("--concurrency", "1")
    second = sync("--concurrency", "1")

    assert (first.counts["gists_pushed"], second.counts["gists_pushed"]) == (2, 0)
    assert "daily number of POST and PUT requests" in first.problems[0]
    assert pipedrive.daily_requests_left == 0
    assert PushAttempt.objects.filter(outcome="unknown").count() == 0


def test_a_successful_refusal_of_a_post_is_a_refusal_with_its_reason(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada", "Odd")
    github.publish("ada", "Good")
    refused = respond(200, '{"success": false, "error": "subject is odd"}')
    pipedrive.fail("create_activity", refused)
    sync("--concurrency", "1")
    let_time_pass(HOUR)
    pipedrive.fail("create_activity", refused)

    sync("--concurrency", "1")

    assert dict(Gist.objects.values_list("description", "push_state")) == {"Odd": "rejected", "Good": "pushed"}
    assert "subject is odd" in Gist.objects.get(description="Odd").push_error
