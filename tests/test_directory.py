"""Linking many people from one reading of the CRM's persons."""

import tracemalloc

import pytest
from pytest_django import Settings

from people.models import Person
from sync.clients.pipedrive import PipedriveClient
from sync.clients.pipedrive_records import PipedrivePerson
from sync.push.directory import Directory, pays, read_persons
from sync.push.persons import Sought
from tests.conftest import PIPEDRIVE_TOKEN, Sync
from tests.factories import track_people
from tests.standins import GitHubStandIn, PipedriveStandIn, respond

ADA = Sought("ada", 7, "Ada@Example.com", "key")


def make_directory(*rows: PipedrivePerson) -> Directory:
    directory = Directory("key")
    for row in rows:
        directory.add(row)
    return directory


def person(
    number: int, name: str = "A contact", email: str = "", github_id: str = "", **fields: object
) -> PipedrivePerson:
    emails = [email] if email else []
    return PipedrivePerson(number, name, emails, custom_fields={"key": github_id}, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([], None),
        ([person(1, github_id="7")], 1),
        ([person(1, email="ada@example.com"), person(2, github_id="7")], 2),
        ([person(1, "@ada"), person(2, email="ADA@example.com")], 2),
        ([person(1, "Ada Lovelace (@Ada)")], 1),
        ([person(1, "@ada")], 1),
        ([person(2, "@ada"), person(1, "@ada")], 1),
        ([person(1, "@ada-b"), person(2, "@ada of Example"), person(3, "x@ada")], None),
        ([person(1, "@ada", is_deleted=True)], None),
        ([person(1, "@ada", github_id="8")], None),
        ([person(1, email="ada@example.com", github_id="8"), person(2, email="ada@example.com")], 2),
        ([person(1, github_id="70")], None),
    ],
)
def test_the_surest_sign_decides(rows: list[PipedrivePerson], found: int | None) -> None:
    assert make_directory(*rows).find(ADA) == found


def test_without_a_field_a_github_id_is_no_sign() -> None:
    directory = Directory("")
    directory.add(person(1, github_id="7"))

    assert directory.find(Sought("ada", 7, "")) is None


@pytest.mark.parametrize(
    ("waiting", "persons", "result"),
    [(0, 0, False), (5, 0, False), (6, 0, True), (6, 12_000, True), (6, 12_001, False), (100, 200_000, True)],
)
def test_persons_are_read_when_that_costs_less_than_searches(waiting: int, persons: int, result: bool) -> None:
    assert pays(waiting, persons) == result


@pytest.mark.parametrize(("known", "is_believed"), [((), True), ((1,), True), ((999,), False)])
def test_a_list_without_a_person_that_exists_is_not_believed(
    known: tuple[int, ...], is_believed: bool, configured: Settings, pipedrive: PipedriveStandIn
) -> None:
    for number in range(3):
        pipedrive.add_person(f"@person-{number}")
    pipedrive.persons[999] = {**pipedrive.persons[1], "id": 999}
    client = PipedriveClient(pipedrive.url, PIPEDRIVE_TOKEN)
    rows = [row for row in client.iter_newest_persons() if row.id != 999]
    client.iter_newest_persons = lambda: iter(rows)  # type: ignore[method-assign]

    persons = read_persons(client, "key", 100, known)

    assert (persons.directory is not None) == is_believed


@pytest.mark.django_db
def test_many_new_people_are_linked_without_a_search(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    for one in track_people(github, 8):
        github.publish(one.github_username)
    existing = pipedrive.add_person("@person-3")

    sync()

    assert pipedrive.counts["search_persons"] + pipedrive.counts["search_items"] == 0
    assert Person.objects.exclude(pipedrive_id=None).count() == len(pipedrive.persons) == len(pipedrive.activities) == 8
    assert Person.objects.get(github_username="person-3").pipedrive_id == existing


@pytest.mark.django_db
def test_people_are_searched_for_when_the_list_cannot_be_read(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    for one in track_people(github, 8):
        github.publish(one.github_username)
    pipedrive.fail("list_persons", respond(500), times=4)

    sync()
    sync()

    assert len(pipedrive.persons) == len(pipedrive.activities) == 8


@pytest.mark.slow("reads 100,000 persons")
def test_a_directory_of_100000_persons_takes_less_than_60_megabytes() -> None:
    tracemalloc.start()
    directory = Directory("key")
    for number in range(1, 100_001):
        directory.add(person(number, f"Person {number}", f"person-{number}@company-{number}.example.com", str(number)))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert size < 60e6
    assert directory.find(Sought("unknown", 4711, "", "key")) == 4711
