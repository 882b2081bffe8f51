"""Lie, then truth: whatever is wrong in Pipedrive's responses, nothing is lost, doubled or unlinked.

`make test` tells each lie that a client cannot recognize in each call, and every other lie in one call; `make proof`
tells every lie in every call. What the client makes of each lie is in `test_client_faults.py`.
"""

import re
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.utils import timezone

from people.models import Gist, Person
from tests.conftest import Sync
from tests.factories import create_person, end_pauses, lose_database, track_people
from tests.faults import PIPEDRIVE_LIES
from tests.standins import GitHubStandIn, PipedriveStandIn, reset
from tests.standins.wire import RecordedRequest

pytestmark = pytest.mark.django_db
PEOPLE = 3
OTHER = "A contact who is not tracked"
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


EMPTY_LISTS = ["200 with a well-formed empty list", "200 with a cursor in a circle"]
MISSING_RECORDS = ["404 of Pipedrive", "200 with data null", "200 with the record of another id", "204"]
CREATED = ["200 with the record of another id", "reset after processing"]
# Well-formed responses, of which a client cannot know that they are wrong.
CREDIBLE = {
    "activity types": ["200 with data null", *EMPTY_LISTS],
    "list of all activities": EMPTY_LISTS,
    "list of a person's activities": EMPTY_LISTS,
    "activity": MISSING_RECORDS,
    "create activity": CREATED,
    "fields": EMPTY_LISTS,
    "create field": CREATED,
    "search by field": EMPTY_LISTS,
    "search by name": ["200 with an empty search"],
    "newest persons": EMPTY_LISTS,
    "create person": CREATED,
    "person": MISSING_RECORDS,
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
        "activity types",
        "list of all activities",
        "create activity",
        "fields",
        "create field",
        "search by field",
        "search by name",
        "create person",
    ],
    lost_responses: ["list of all activities", "list of a person's activities", "person"],
    lost_persons: ["newest persons"],
    lost_database: [
        "list of all activities",
        "list of a person's activities",
        "fields",
        "search by field",
        "person",
    ],
    tracked_again: ["list of a person's activities", "person"],
    restored_backup: ["list of all activities", "list of a person's activities"],
    merged_contacts: ["activity", "person"],
}


STEPS = [(scenario, call) for scenario in SCENARIOS for call in SCENARIOS[scenario]]


def is_selected(lie: str, step: int) -> bool:
    """Is this case a part of `make test`?"""
    return lie in CREDIBLE[STEPS[step][1]] or list(PIPEDRIVE_LIES).index(lie) % len(STEPS) == step


def test_the_selection_has_every_call_and_every_lie() -> None:
    selected = [(lie, call) for lie in PIPEDRIVE_LIES for step, (_, call) in enumerate(STEPS) if is_selected(lie, step)]

    assert {lie for lie, _ in selected} == set(PIPEDRIVE_LIES)
    assert {call for _, call in selected} == set(CALLS)


@pytest.mark.slow("one of many whole runs")
@pytest.mark.parametrize(
    ("lie", "prepare", "call"),
    [
        pytest.param(
            lie,
            scenario,
            call,
            id=f"{lie}-{scenario.__name__}-{call}",
            marks=[] if is_selected(lie, step) else pytest.mark.proof,
        )
        for lie in PIPEDRIVE_LIES
        for step, (scenario, call) in enumerate(STEPS)
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
    pipedrive.fail_always(CALLS[call], PIPEDRIVE_LIES[lie])

    sync()
    links_after_lie = links_of_people()
    rejected = Gist.objects.filter(push_state="rejected").count()
    sent = [request for request in pipedrive.requests[requests:] if re.search(CALLS[call], url_of(request))]
    pipedrive.heal()
    end_pauses()
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
    pipedrive.fail_always(CALLS["list of a person's activities"], PIPEDRIVE_LIES["200 with a well-formed empty list"])

    sync()

    assert Gist.objects.filter(push_state="started").count() == PEOPLE
    assert len(pipedrive.requests_to("create_activity")) == 2 * PEOPLE


def links_of_people() -> dict[str, int | None]:
    return dict(Person.objects.values_list("github_username", "pipedrive_id"))


def url_of(request: RecordedRequest) -> str:
    return f"{request.path}?{urlencode(request.query)}"
