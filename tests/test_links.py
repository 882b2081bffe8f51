"""The link between a tracked person and a Pipedrive person lasts, and changes only with proof."""

from collections import Counter
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from people.models import Gist, Person
from sync.crm import lists
from sync.models import GitHubIdField
from tests.conftest import DuringRequest, Sync
from tests.factories import create_person, end_pauses, let_time_pass, lose_database, track, track_people
from tests.standins import GitHubStandIn, PipedriveStandIn, reset, respond

pytestmark = pytest.mark.django_db(transaction=True)
HOUR = timedelta(hours=1)  # Then a run believes what an earlier one has seen.


def link_of(login: str) -> int | None:
    return Person.objects.get(github_username=login).pipedrive_id


# --- nothing is unlinked without proof ---
NOT_FOUND = {
    "Pipedrive's own": respond(404, '{"success": false, "error": "Entity not found"}'),
    "a gateway's": respond(404, "<html>404</html>", {"content-type": "text/html"}),
}


@pytest.mark.parametrize("response", NOT_FOUND)
def test_a_404_to_everything_drops_no_link(
    response: str, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    people = track_people(github, 8, gists=1)
    given = pipedrive.add_person("Given by a user")
    Person.objects.filter(pk=people[0].pk).update(pipedrive_id=given)
    sync()
    links = dict(Person.objects.values_list("github_username", "pipedrive_id"))
    for person in people:
        github.publish(person.github_username, "Second")
    pipedrive.fail_always("", NOT_FOUND[response])

    during = sync()
    links_during = dict(Person.objects.values_list("github_username", "pipedrive_id"))
    pipedrive.heal()
    after = sync()

    assert during.code in (3, 78)
    assert links_during == links
    assert len(pipedrive.requests) < 200
    assert (after.code, dict(Person.objects.values_list("github_username", "pipedrive_id"))) == (0, links)
    assert Counter(pipedrive.gist_ids()) == Counter(Gist.objects.values_list("github_id", flat=True))


def test_a_given_id_is_kept_when_its_person_was_deleted(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, api: APIClient
) -> None:
    given = pipedrive.add_person("Given by a user")
    api.patch("/api/v1/people/ada", {"pipedrive_id": given}, format="json")
    github.publish("ada", "First")
    sync()
    pipedrive.delete_person(given)
    github.publish("ada", "Second")

    summary = sync()

    ada.refresh_from_db()
    assert (summary.code, ada.pipedrive_id, len(pipedrive.persons)) == (3, given, 1)
    assert "The Pipedrive person was deleted" in ada.push_error
    assert "A user has given its id" in ada.push_error
    assert Gist.objects.latest("id").push_state == "pending"


@pytest.mark.parametrize("pipedrive_id", [4711, 2**62])
def test_an_id_that_was_never_confirmed_is_an_error_on_the_row(
    pipedrive_id: int, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    Person.objects.update(pipedrive_id=pipedrive_id)
    github.publish("ada")
    track(github, "ben", gists=1)

    sync()

    ada.refresh_from_db()
    assert ada.pipedrive_id == pipedrive_id
    assert "does it exist, and may the token's user see it?" in ada.push_error
    assert [row["name"] for row in pipedrive.persons.values()] == ["@ben"]
    assert Gist.objects.get(person=ada).push_state == "pending"


def test_a_corrected_id_is_used_in_the_next_run(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, api: APIClient
) -> None:
    Person.objects.update(pipedrive_id=4711)
    github.publish("ada")
    sync()
    right = pipedrive.add_person("Right")

    api.patch("/api/v1/people/ada", {"pipedrive_id": right}, format="json")
    summary = sync()

    assert summary.code == 0
    assert len(pipedrive.activities_of(right)) == 1


def test_a_person_that_became_invisible_is_not_replaced(
    linked: int, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    pipedrive.hidden.add(linked)
    github.publish("ada", "Second")

    sync()

    ada.refresh_from_db()
    assert (ada.pipedrive_id, len(pipedrive.persons)) == (linked, 1)
    assert "may the token's user see it?" in ada.push_error
    pipedrive.hidden.clear()
    assert sync().code == 0
    assert len(pipedrive.activities_of(linked)) == 2


@pytest.mark.parametrize(("count", "total"), [(6, 7), (6, 29), (8, 8)])
@pytest.mark.slow("runs with up to 30 people")
def test_many_deleted_persons_at_once_are_an_outage(
    count: int, total: int, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    people = track_people(github, total, gists=1)
    sync()
    links = dict(Person.objects.values_list("github_username", "pipedrive_id"))
    for person in people:
        github.publish(person.github_username, "Second")
    for person in people[:count]:
        pipedrive.delete_person(link_of(person.github_username) or 0)

    sync()
    let_time_pass(HOUR)
    summary = sync()

    assert summary.code == 3
    assert f"persons of {count} of {total} people as deleted" in summary.problems[-1]
    assert dict(Person.objects.values_list("github_username", "pipedrive_id")) == links
    assert set(Person.objects.values_list("push_failures", flat=True)) == {0}


@pytest.mark.parametrize(("count", "total"), [(2, 4), (5, 7), (6, 30)])
@pytest.mark.slow("runs with up to 30 people")
def test_five_deleted_persons_or_a_fifth_are_replaced(
    count: int, total: int, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    people = track_people(github, total, gists=1)
    sync()
    lost = [link_of(person.github_username) for person in people[:count]]
    for person in people:
        github.publish(person.github_username, "Second")
    for person_id in lost:
        pipedrive.delete_person(person_id or 0)

    sync()
    let_time_pass(HOUR)
    summary = sync()

    assert summary.code == 0, summary
    assert {link_of(person.github_username) for person in people[:count]}.isdisjoint(lost)
    assert Counter(pipedrive.gist_ids()) == Counter(Gist.objects.values_list("github_id", flat=True))


def test_a_deleted_pipedrive_person_is_replaced_once(
    linked: int, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    pipedrive.delete_person(linked)
    ids = [github.publish("ada", "Second"), github.publish("ada", "Third")]

    sync()
    let_time_pass(HOUR)
    summary = sync()

    ada.refresh_from_db()
    assert summary.code == 0, summary
    assert ada.pipedrive_id not in (None, linked)
    assert {row["subject"] for row in pipedrive.activities_of(ada.pipedrive_id or 0)} == {"Second", "Third"}
    assert sorted(pipedrive.gist_ids()[1:]) == sorted(ids)
    assert "The Pipedrive person was deleted or merged" in summary.problems[0]


def test_a_pipedrive_person_that_the_token_may_not_see_rejects_no_gist(
    linked: int, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada", "Second")
    for operation in ("create_activity", "get_person"):
        pipedrive.fail(operation, respond(403, '{"success": false, "error": "Forbidden"}'))

    summary = sync()

    ada.refresh_from_db()
    assert (summary.code, ada.pipedrive_id) == (3, linked)
    assert "may the token's user see it?" in ada.push_error
    assert Gist.objects.latest("id").push_state == "pending"


# --- merges ---
def test_activities_moved_by_a_merge_are_recognised(
    linked: int, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    second = github.publish("ada", "Second")
    pipedrive.fail("create_activity", reset(after=True))
    sync("--max-activities", "1")
    merged_into = pipedrive.add_person("Countess", email="ada@example.com")
    pipedrive.delete_person(linked)
    for row in pipedrive.activities.values():
        row["person_id"] = merged_into
    github.publish("ada", "Third")

    sync()

    ada.refresh_from_db()
    assert ada.pipedrive_id == merged_into
    assert pipedrive.gist_ids().count(second) == 1
    assert set(Gist.objects.values_list("push_state", flat=True)) == {"pushed"}


def test_a_merge_is_followed_through_a_known_activity(
    linked: int, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    contact = pipedrive.add_person("Countess of Lovelace")
    pipedrive.merge_person(linked, contact)
    second = github.publish("ada", "Second")

    summary = sync()

    ada.refresh_from_db()
    assert (summary.code, ada.pipedrive_id, len(pipedrive.persons)) == (0, contact, 2)
    assert "merged into another one" in summary.problems[0]
    assert second in pipedrive.gist_ids()
    assert len(pipedrive.activities_of(contact)) == 2


def test_an_unknown_push_is_resolved_after_a_merge(
    linked: int, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada", "Second")
    pipedrive.fail("create_activity", reset(after=True))
    sync()
    pipedrive.merge_person(linked, pipedrive.add_person("Countess of Lovelace"))
    github.publish("ada", "Third")

    for _ in range(2):
        summary = sync()

    assert (summary.code, summary.problems) == (0, [])
    assert Counter(pipedrive.gist_ids()) == Counter(Gist.objects.values_list("github_id", flat=True))
    assert len(pipedrive.persons) == 2


def test_a_merge_of_a_given_id_is_reported_and_not_followed(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    given = pipedrive.add_person("Given by a user")
    Person.objects.update(pipedrive_id=given)
    github.publish("ada", "First")
    sync()
    contact = pipedrive.add_person("Contact")
    pipedrive.merge_person(given, contact)
    github.publish("ada", "Second")

    sync()

    ada.refresh_from_db()
    assert ada.pipedrive_id == given
    assert f"merged into person {contact}" in ada.push_error


# --- activities that are not where they were ---
def test_an_unknown_outcome_is_resolved_at_the_pipedrive_person_of_the_post(
    linked: int, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada", "Second")
    pipedrive.fail("create_activity", reset(after=True))
    sync()
    Person.objects.update(pipedrive_id=pipedrive.add_person("Chosen by a user"))

    sync()

    assert len(pipedrive.activities) == 2
    assert set(Gist.objects.values_list("push_state", flat=True)) == {"pushed"}


@pytest.mark.parametrize("others", [0, 60])
def test_a_moved_activity_of_an_unknown_push_is_found(
    others: int, linked: int, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada", "Second")
    pipedrive.fail("create_activity", reset(after=True))
    sync()
    moved = max(pipedrive.activities)
    pipedrive.edit_activity(moved, person_id=pipedrive.add_person("Another contact"))
    if others:  # The ids of colleagues' activities are between the known one and ours.
        row = pipedrive.activities.pop(moved)
        moved += others
        pipedrive.activities |= {
            number: {**row, "id": number, "note": "call", "subject": "Call"} for number in range(moved - others, moved)
        }
        pipedrive.activities[moved] = {**row, "id": moved}

    summary = sync()

    assert summary.counts["gists_found"] == 1
    assert Gist.objects.latest("id").pipedrive_activity_id == moved
    assert len(pipedrive.activities) == 2 + others


def test_all_people_wait_for_the_list_of_all_activities(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    people = [track(github, name, gists=1) for name in ("ada", "ben", "cleo")]
    sync()
    for person in people:
        github.publish(person.github_username)
    pipedrive.fail("create_activity", reset(after=True), times=3)
    sync()
    other = pipedrive.add_person("Another contact")
    for number in sorted(pipedrive.activities)[-3:]:  # A colleague moves them; the ids in between are too many to ask.
        row = pipedrive.activities.pop(number)
        pipedrive.activities[number + 500] = {**row, "id": number + 500}
        pipedrive.edit_activity(number + 500, person_id=other)

    summary = sync()

    assert summary.counts["gists_found"] == 3
    assert len(pipedrive.activities) == 6


def test_a_moved_activity_that_is_found_by_its_id_is_not_called_deleted(
    linked: int,
    ada: Person,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lists, "MAX_SCANNED", 0)
    github.publish("ada", "Second")
    pipedrive.fail("create_activity", reset(after=True))
    sync()
    moved = max(pipedrive.activities)
    pipedrive.edit_activity(moved, person_id=pipedrive.add_person("Another contact"))

    sync()

    gist = Gist.objects.latest("id")
    assert (gist.push_state, gist.pipedrive_activity_id, gist.push_error) == ("pushed", moved, "")


def test_an_activity_deleted_while_its_push_was_unknown_is_not_made_again(
    linked: int, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada", "Second")
    pipedrive.fail("create_activity", reset(after=True))
    sync()
    deleted = max(pipedrive.activities)
    pipedrive.delete_activity(deleted)

    for _ in range(2):
        sync()

    gist = Gist.objects.latest("id")
    assert (gist.push_state, gist.pipedrive_activity_id, len(pipedrive.activities)) == ("pushed", deleted, 2)
    assert "deleted in Pipedrive" in gist.push_error


@pytest.mark.parametrize("filed_under", ["another person", "no person"])
def test_an_activity_filed_elsewhere_is_reported(
    filed_under: str, linked: int, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada", "Second")
    other = pipedrive.add_person("Another contact") if filed_under == "another person" else None
    pipedrive.files_under = other

    summary = sync()

    gist = Gist.objects.latest("id")
    assert f"filed the activity under {filed_under}" in summary.problems[0]
    assert (gist.push_state, len(pipedrive.activities)) == ("pushed", 2)
    assert filed_under in gist.push_explanation


def test_an_activity_without_a_person_at_the_end_of_the_daily_counter_is_not_made_again(
    linked: int, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    """The response names no person, and the circuit opens before the activity can be requested."""
    github.publish("ada", "Second")
    pipedrive.files_under = None
    pipedrive.daily_requests_left = 1

    sync()
    state = Gist.objects.latest("id").push_state
    pipedrive.daily_requests_left = pipedrive.files_under = None
    pipedrive.files_under = 0
    end_pauses()
    for _ in range(2):
        sync()

    assert state == "started"
    assert Counter(pipedrive.gist_ids()) == Counter(Gist.objects.values_list("github_id", flat=True))


def test_the_same_id_given_by_a_user_during_a_run_is_kept(
    linked: int,
    ada: Person,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    api: APIClient,
    during_request: DuringRequest,
) -> None:
    github.publish("ada", "Second")
    pipedrive.delete_person(linked)
    during_request(
        pipedrive, "get_person", lambda: api.patch("/api/v1/people/ada", {"pipedrive_id": linked}, format="json")
    )

    sync()

    assert link_of("ada") == linked
    assert len(pipedrive.persons) == 1


# --- the custom field ---
def test_a_renamed_contact_is_found_after_the_database_was_lost(
    linked: int, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    pipedrive.rename_person(linked, "Countess of Lovelace")
    pipedrive.persons[linked]["emails"] = []
    lose_database()
    create_person("ada")

    summary = sync()

    assert summary.code == 0, summary
    assert (link_of("ada"), len(pipedrive.persons), len(pipedrive.activities)) == (linked, 1, 1)
    assert Gist.objects.get().push_state == "pushed"
    assert list(pipedrive.fields.values()) == ["GitHub ID"]


def test_the_field_is_created_once_and_written_when_a_person_is_made_found_or_adopted(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    found = pipedrive.add_person("Grace Hopper", email="grace@example.com")
    github.add_account("grace", email="grace@example.com")
    create_person("grace")
    given = pipedrive.add_person("Given by a user")
    track(github, "ben", pipedrive_id=given)
    for login in ("ada", "grace", "ben"):
        github.publish(login)

    for _ in range(2):
        sync()

    (key,) = pipedrive.fields
    ids = {person.github_username: str(person.github_id) for person in Person.objects.all()}
    written = {link_of(login): github_id for login, github_id in ids.items()}
    assert {number: row["custom_fields"].get(key) for number, row in pipedrive.persons.items()} == written
    assert {link_of("grace"), link_of("ben")} == {found, given}
    assert pipedrive.counts["create_field"] == 1


def test_two_people_with_one_e_mail_address_get_two_persons(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    for login in ("ada", "ben"):
        github.add_account(login, email="office@example.com")
        create_person(login)
        github.publish(login)

    sync("--person", "ada")
    sync("--person", "ben")

    assert link_of("ada") != link_of("ben")


@pytest.mark.parametrize("wanted", ["GitHub user", "abc123"])
def test_an_existing_field_is_used_by_name_or_key(
    wanted: str,
    ada: Person,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    configured: Settings,
) -> None:
    pipedrive.fields = {"abc123": "GitHub user"}
    configured.PIPEDRIVE_GITHUB_FIELD = wanted
    github.publish("ada")

    sync()

    (row,) = pipedrive.persons.values()
    ada.refresh_from_db()
    assert row["custom_fields"] == {"abc123": str(ada.github_id)}
    assert pipedrive.requests_to("create_field") == []


def test_an_unknown_field_is_a_configuration_error(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> None:
    configured.PIPEDRIVE_GITHUB_FIELD = "GitHub user"
    github.publish("ada")

    summary = sync()

    assert (summary.code, pipedrive.persons) == (78, {})
    assert "PIPEDRIVE_GITHUB_FIELD is 'GitHub user'" in summary.problems[0]


def test_without_a_field_nothing_is_asked_about_fields(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> None:
    configured.PIPEDRIVE_GITHUB_FIELD = "none"
    github.publish("ada")

    assert sync().code == 0
    operations = {request.operation for request in pipedrive.requests}
    assert operations.isdisjoint({"list_fields", "create_field", "search_items", "edit_person"})


def test_a_plan_without_further_fields_works_as_before_and_says_so(
    ada: Person,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    api: APIClient,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pipedrive.max_fields = 0
    github.publish("ada")
    first = sync()
    github.publish("ada")
    second = sync()
    call_command("sync_status")

    assert (first.code, second.code, len(pipedrive.activities)) == (0, 0, 2)
    assert pipedrive.counts["create_field"] == 1
    assert "without the field for the GitHub id: Pipedrive allows no further field" in capsys.readouterr().out
    assert "custom field limit" in api.get("/api/v1/status").json()["github_field_problem"]


def test_the_field_is_tried_again_the_next_day(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, api: APIClient
) -> None:
    pipedrive.max_fields = 0
    github.publish("ada")
    sync()
    pipedrive.max_fields = 30
    GitHubIdField.objects.update(checked_at=timezone.now() - timedelta(days=2))
    github.publish("ada")

    sync()

    (row,) = pipedrive.persons.values()
    assert list(row["custom_fields"]) == list(pipedrive.fields)
    assert api.get("/api/v1/status").json()["github_field_problem"] == ""


def test_a_deleted_field_is_reported_and_not_created_again(
    linked: int, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, api: APIClient
) -> None:
    (key,) = pipedrive.fields
    pipedrive.delete_field(key)
    track(github, "ben", gists=1)

    summary = sync()

    assert (summary.code, pipedrive.fields, len(pipedrive.activities)) == (0, {}, 2)
    assert "deleted in Pipedrive" in api.get("/api/v1/status").json()["github_field_problem"]


def test_a_field_that_is_listed_again_is_used_again(
    linked: int, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, api: APIClient
) -> None:
    hidden, pipedrive.fields = pipedrive.fields, {}
    track(github, "ben", gists=1)
    sync()
    pipedrive.fields = hidden
    GitHubIdField.objects.update(checked_at=timezone.now() - timedelta(days=2))
    track(github, "cleo", gists=1)

    sync()

    assert api.get("/api/v1/status").json()["github_field_problem"] == ""
    written = pipedrive.persons[link_of("cleo") or 0]["custom_fields"]
    assert written == {key: str(Person.objects.get(github_username="cleo").github_id) for key in hidden}


def test_the_search_index_may_lag_behind_a_lost_database(
    linked: int, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    pipedrive.search_lags = True
    pipedrive.rename_person(linked, "Countess of Lovelace")
    lose_database()
    create_person("ada")

    sync()

    assert (link_of("ada"), len(pipedrive.persons)) == (linked, 1)
