"""Search terms that are missing are added daily."""

import pytest
from django.core.management import call_command
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from people.models import Person, SearchTerm
from tests.factories import create_person

pytestmark = [pytest.mark.django_db, pytest.mark.both]


def find(api: APIClient, term: str) -> list[str]:
    return [row["github_username"] for row in api.get(f"/api/v1/people?search={term}").json()["results"]]


def write_past_save(count: int) -> None:
    """As a release without search terms, or a manual SQL statement, does."""
    Person.objects.bulk_create(
        Person(github_username=f"Person-{number}", username_key=f"person-{number}", name="Ada Lovelace")
        for number in range(count)
    )


def test_prune_indexes_people_without_search_terms(api: APIClient, capsys: pytest.CaptureFixture[str]) -> None:
    write_past_save(3)
    assert find(api, "lovelace") == []

    call_command("prune")
    call_command("prune")

    assert find(api, "lovelace") == ["Person-2", "Person-1", "Person-0"]
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "search" in line] == [
        f"people without search terms: {count} indexed" for count in (3, 0)
    ]


def test_prune_indexes_a_person_who_was_renamed_past_save(api: APIClient) -> None:
    create_person("ada", name="Ada Lovelace")
    Person.objects.update(github_username="Countess", username_key="countess")

    call_command("prune")

    assert (find(api, "countess"), find(api, "love")) == (["Countess"], ["Countess"])
    assert find(api, "ada") == ["Countess"]  # by the name


def test_indexed_people_cost_one_query(django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    for number in range(5):
        create_person(f"person-{number}")

    with django_assert_max_num_queries(1):
        assert SearchTerm.index_missing() == 0
