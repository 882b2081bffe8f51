"""How many statements the most frequent requests of the API take, with the check of the key."""

import pytest
from pytest_django import DjangoAssertNumQueries, Settings
from rest_framework.test import APIClient

from tests.factories import create_gists, create_key, create_people

pytestmark = [pytest.mark.django_db, pytest.mark.both]


@pytest.mark.parametrize(
    ("path", "statements"),
    [
        ("/api/v1/people/person-0", 4),  # key, person with marker, gists, and the new time of the visit
        ("/api/v1/people/person-0?getAllGists=true", 3),
        ("/api/v1/people/person-0?since=0", 3),
        ("/api/v1/people?page_size=100", 5),  # key, number of people, keys of the page, rows, counts
        ("/api/v1/people?after=0&page_size=100", 4),
        ("/api/v1/people/person-0/gists", 4),
        ("/api/v1/gists?after=0&page_size=100", 3),
        ("/api/v1/me", 2),
    ],
)
def test_a_request_takes_a_fixed_number_of_statements(
    path: str, statements: int, settings: Settings, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    settings.API_AUTH, settings.API_REQUESTS_PER_MINUTE = "key", 1000
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Api-Key {create_key('team')}")
    for person in create_people(20):
        create_gists(person, 5)
    client.get(path)  # creates the marker, and records the use of the key
    client.get(path)

    with django_assert_num_queries(statements):
        response = client.get(path)

    assert response.status_code == 200
