"""Visits: which gists are new to a consumer (an API key, a staff member, or the anonymous consumer).

The visit marker of a consumer for a person is the cursor of the last gist that the consumer has received.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from people.models import Gist, Person, Visit


@dataclass(frozen=True)
class GistSlice:
    """Some of a person's gists, oldest first."""

    gists: list[Gist]
    cursor: int  # the next slice starts after this gist id
    has_more: bool
    last_visit: datetime | None


def visit(person_id: int, consumer: str, limit: int) -> tuple[Person, GistSlice]:
    """Return the gists that are new to this consumer and move its marker past them.

    Raises Person.DoesNotExist if the person was deleted. The person's row is locked, so that each gist is returned by
    one of several concurrent visits. The sync inserts gists under the same lock, so none can be inserted before the
    marker.
    """
    with transaction.atomic():
        person = Person.objects.select_for_update().get(pk=person_id)
        cursor, visited_at = _get_marker(person, consumer)
        gist_slice = _read_slice(person, cursor, limit, visited_at)
        marker = {"cursor": gist_slice.cursor, "visited_at": timezone.now()}
        if not Visit.objects.filter(person=person, consumer=consumer).update(**marker):
            Visit.objects.create(person=person, consumer=consumer, **marker)
        return person, gist_slice


def read_since(person: Person, consumer: str, since: int, limit: int) -> GistSlice:
    """Return the gists after the cursor `since`, without moving the marker."""
    return _read_slice(person, since, limit, _get_marker(person, consumer)[1])


def preview_visit(person: Person, consumer: str, limit: int) -> GistSlice:
    """Return what a visit would return, without moving the marker."""
    cursor, visited_at = _get_marker(person, consumer)
    return _read_slice(person, cursor, limit, visited_at)


def _get_marker(person: Person, consumer: str) -> tuple[int, datetime | None]:
    """Returns the marker's cursor, and when it was moved last."""
    marker = Visit.objects.filter(person=person, consumer=consumer).first()
    return (marker.cursor, marker.visited_at) if marker else (0, None)


def _read_slice(person: Person, cursor: int, limit: int, last_visit: datetime | None) -> GistSlice:
    gists = list(person.gists.filter(id__gt=cursor).order_by("id")[: limit + 1])
    has_more = len(gists) > limit
    gists = gists[:limit]
    return GistSlice(gists, gists[-1].id if gists else cursor, has_more, last_visit)
