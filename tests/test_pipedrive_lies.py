"""Lie, then truth: whatever is wrong in Pipedrive's responses, nothing is lost, doubled or unlinked."""

import re
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.utils import timezone

from people.models import Gist, Person
from sync.models import ApiPause
from tests.conftest import Sync
from tests.factories import create_person, lose_database, track_people
from tests.standins import Fault, GitHubStandIn, PipedriveStandIn, respond
from tests.standins.faults import cut_body, reset
from tests.standins.wire import RecordedRequest

pytestmark = pytest.mark.django_db(transaction=True)
HTML = {"content-type": "text/html"}
PEOPLE = 3
OTHER = "A contact who is not tracked"
LIES: dict[str, Fault] = {
    "404 of Pipedrive": respond(404, '{"success": false, "error": "Entity not found"}'),
    "404 of a gateway in HTML": respond(404, "<html>no such route</html>", HTML),
    "404 of a gateway in JSON": respond(404, '{"message": "no Route matched with those values"}'),
    "410": respond(410, '{"success": false, "error": "Gone"}'),
    "200 with an empty object": respond(200, "{}"),
    "200 with null": respond(200, "null"),
    "200 with an empty list": respond(200, "[]"),
    "200 without data": respond(200, '{"success": true}'),
    "200 with data null": respond(200, '{"success": true, "data": null}'),
    "200 with an object instead of a list": respond(200, '{"success": true, "data": {}}'),
    "200 with a well-formed empty list": respond(200, '{"success": true, "data": []}'),
    "200 with an empty search": respond(200, '{"success": true, "data": {"items": []}}'),
    "200 with unreadable rows": respond(200, '{"success": true, "data": [{"odd": 1}, null]}'),
    "200 with the record of another id": respond(200, '{"success": true, "data": {"id": 999999}}'),
    "200 with a cursor in a circle": respond(
        200, '{"success": true, "data": [], "additional_data": {"next_cursor": "c1"}}'
    ),
    "200 without success": respond(200, '{"success": false, "error": "try later"}'),
    "200 with an empty body": respond(200, ""),
    "200 with a page of HTML": respond(200, "<html>Log in</html>", HTML),
    "200 with half of a list": respond(200, '{"success": true, "data": [{"id": 1'),
    "204": respond(204),
    "301 in a circle": respond(301, "", {"location": "/api/v2/activities"}),
    "400": respond(400, '{"success": false, "error": "deal_id is required"}'),
    "403": respond(403, '{"success": false, "error": "Scope and URL mismatch"}'),
    "403 as a block": respond(403, "<html>Sorry, you have been blocked</html>", HTML),
    "429 as a block": respond(429, '{"title": "Rate limited", "retry_after": 30}'),
    "500": respond(500, "{}"),
    "body cut": cut_body(),
    "reset": reset(),
    "reset after processing": reset(after=True),
}
CALLS = {
    "activity types": r"^/api/v1/activityTypes",
    "list of all activities": r"^/api/v2/activities\?(?!.*person_id).",
    "list of a person's activities": r"^/api/v2/activities\?.*person_id",
    "activity": r"^/api/v2/activities/\d+",
    "create activity": r"^/api/v2/activities\?$",
    "fields": r"^/api/v2/personFields\?.",
    "create field": r"^/api/v2/personFields\?$",
    "search by field": r"^/api/v2/itemSearch/field",
    "search by name": r"^/api/v2/persons/search",
    "newest persons": r"^/api/v2/persons\?.",
    "create person": r"^/api/v2/persons\?$",
    "person": r"^/api/v2/persons/\d+",
}


def new_people(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync) -> None:
    pipedrive.add_person(OTHER)
    track_people(github, PEOPLE, gists=1)


def lost_responses(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync) -> None:
    """Each person has an activity, and one whose creation was not confirmed."""
    track_people(github, PEOPLE, gists=1)
    sync()
    for person in Person.objects.all():
        github.publish(person.github_username, "Second")
    pipedrive.fail("create_activity", reset(after=True), times=PEOPLE)
    sync()
    assert Gist.objects.filter(push_state="started").count() == PEOPLE
    for person in Person.objects.all():
        github.publish(person.github_username, "Third")


def lost_persons(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync) -> None:
    """The creation of each Pipedrive person was not confirmed."""
    track_people(github, PEOPLE, gists=1)
    pipedrive.fail("create_person", reset(after=True), times=PEOPLE)
    pipedrive.search_lags = True
    sync()
    assert len(pipedrive.persons) == PEOPLE


def lost_database(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync) -> None:
    """All people are added again, after their contacts were renamed in the CRM."""
    track_people(github, PEOPLE, gists=1)
    sync()
    for number, person_id in enumerate(pipedrive.persons):
        pipedrive.rename_person(person_id, f"Contact {number}")
    lose_database()
    for number in range(PEOPLE):
        create_person(f"person-{number}")


def tracked_again(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync) -> None:
    """All but one were not tracked for a while, so the newest activities show nothing about them."""
    track_people(github, PEOPLE, gists=1)
    sync("--concurrency", "1")
    newest = Gist.objects.order_by("-pipedrive_activity_id")[0].person
    for person in Person.objects.exclude(pk=newest.pk):
        person.delete()
        create_person(person.github_username)


def restored_backup(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync) -> None:
    """The database does not know that the second gists were pushed."""
    track_people(github, PEOPLE, gists=1)
    sync()
    for person in Person.objects.all():
        github.publish(person.github_username, "Second")
    sync()
    unknown = {"push_state": "pending", "pipedrive_activity_id": None, "push_attempts": 0, "pipedrive_person_id": None}
    Gist.objects.filter(description="Second").update(**unknown)


def merged_contacts(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync) -> None:
    """A colleague has merged one of our persons into a contact."""
    track_people(github, PEOPLE, gists=1)
    sync()
    person = Person.objects.order_by("pk")[0]
    pipedrive.merge_person(person.pipedrive_id or 0, pipedrive.add_person("Contact"))
    for other in Person.objects.all():
        github.publish(other.github_username, "Second")


SCENARIOS: dict[Callable[[GitHubStandIn, PipedriveStandIn, Sync], None], list[str]] = {
    new_people: [
        *("activity types", "list of all activities", "create activity", "fields", "create field"),
        *("search by field", "search by name", "create person"),
    ],
    lost_responses: ["list of all activities", "list of a person's activities", "person"],
    lost_persons: ["newest persons"],
    lost_database: [
        *("list of all activities", "list of a person's activities", "fields", "search by field", "person"),
    ],
    tracked_again: ["list of a person's activities", "person"],
    restored_backup: ["list of all activities", "list of a person's activities"],
    merged_contacts: ["activity", "person"],
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize(
    ("prepare", "call"),
    [
        pytest.param(scenario, call, id=f"{scenario.__name__}-{call}")
        for scenario in SCENARIOS
        for call in SCENARIOS[scenario]
    ],
)
def test_after_a_lie_and_the_truth_everything_is_as_without_the_lie(
    lie: str,
    call: str,
    prepare: Callable[[GitHubStandIn, PipedriveStandIn, Sync], None],
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
) -> None:
    prepare(github, pipedrive, sync)
    links = links_of_people()
    requests = len(pipedrive.requests)
    pipedrive.fail_always(CALLS[call], LIES[lie])

    sync()
    links_after_lie = links_of_people()
    rejected = Gist.objects.filter(push_state="rejected").count()
    sent = [request for request in pipedrive.requests[requests:] if re.search(CALLS[call], url_of(request))]
    pipedrive.heal()
    ApiPause.objects.all().delete()  # The block is over.
    for _ in range(3):
        after = sync()
        if not after.problems and not Gist.objects.unfinished().exists():
            break

    assert sent, "the call was not made"
    assert len(sent) <= 4 * PEOPLE
    kept = {login: links_after_lie[login] for login, link in links.items() if link}
    if prepare is not merged_contacts:
        assert kept == {login: link for login, link in links.items() if link}
    assert rejected == 0
    assert (after.code, after.problems) == (0, [])
    activities = Counter(pipedrive.gist_ids())
    assert activities == Counter(Gist.objects.values_list("github_id", flat=True))
    assert set(Gist.objects.values_list("push_state", flat=True)) == {"pushed"}
    existing = {row["id"] for row in pipedrive.persons.values() if not row["is_deleted"] and row["name"] != OTHER}
    assert set(links_of_people().values()) == existing
    assert len(existing) == PEOPLE


def test_without_a_count_a_list_that_lacks_a_known_activity_is_not_believed(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    pipedrive.counts_activities = False
    lost_responses(github, pipedrive, sync)
    Gist.objects.filter(push_state="started").update(push_started_at=timezone.now() - timedelta(hours=3))
    Gist.objects.filter(push_state="pushed").update(push_started_at=timezone.now())
    pipedrive.fail_always(CALLS["list of a person's activities"], LIES["200 with a well-formed empty list"])

    sync()

    assert Gist.objects.filter(push_state="started").count() == PEOPLE
    assert len(pipedrive.requests_to("create_activity")) == 2 * PEOPLE


def links_of_people() -> dict[str, int | None]:
    return dict(Person.objects.values_list("github_username", "pipedrive_id"))


def url_of(request: RecordedRequest) -> str:
    return f"{request.path}?{urlencode(request.query)}"
