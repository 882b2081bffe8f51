"""The rows that the API works on: found, locked, changed, and as a list shows them."""

from typing import Any

from rest_framework.exceptions import NotFound

from people.api.serializers import PersonSerializer
from people.models import Person


def tracked(username: str) -> Person:
    person = Person.objects.named(username).first()
    if person is None:
        raise not_tracked(username)
    return person


def locked(person: Person) -> Person:
    row = Person.objects.select_for_update().filter(pk=person.pk).first()
    if row is None:
        raise not_tracked(person.github_username)
    return row


def not_tracked(username: str) -> NotFound:
    return NotFound(f"Nobody named {username[:40]} is tracked; POST /api/v1/people tracks somebody.")


def shown(person: Person) -> Any:
    """A person as a list shows it, fresh from the database."""
    fresh = Person.objects.filter(pk=person.pk).with_counts().first()
    if fresh is None:
        raise not_tracked(person.github_username)
    return PersonSerializer(fresh).data
