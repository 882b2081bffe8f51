"""Visits: which gists are new to a consumer, and the visit marker that records it."""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from people.models import Gist, Person, Visit


@dataclass(frozen=True)
class Window:
    """Some of a person's gists, oldest first."""

    gists: list[Gist]
    cursor: int  # the next window starts after this gist id
    has_more: bool
    last_visit: datetime | None


def visit(person_id: int, consumer: str, limit: int) -> tuple[Person, Window]:
    """Return the gists that are new to this consumer and move its marker past them.

    Raises Person.DoesNotExist if the person was deleted. The person's row is locked: concurrent visits share the gists
    between them, and no gist can be inserted behind the marker, because the sync inserts under the same lock.
    """
    with transaction.atomic():
        person = Person.objects.select_for_update().get(pk=person_id)
        cursor, visited_at = _last_visit(person, consumer)
        window = _after(person, cursor, limit, visited_at)
        marker = {"cursor": window.cursor, "visited_at": timezone.now()}
        if not Visit.objects.filter(person=person, consumer=consumer).update(**marker):
            Visit.objects.create(person=person, consumer=consumer, **marker)
        return person, window


def replay(person: Person, consumer: str, since: int, limit: int) -> Window:
    """Return the gists after the cursor `since`, without moving the marker."""
    return _after(person, since, limit, _last_visit(person, consumer)[1])


def peek(person: Person, consumer: str, limit: int) -> Window:
    """Return what a visit would return, without moving the marker."""
    cursor, visited_at = _last_visit(person, consumer)
    return _after(person, cursor, limit, visited_at)


def _last_visit(person: Person, consumer: str) -> tuple[int, datetime | None]:
    marker = Visit.objects.filter(person=person, consumer=consumer).first()
    return (marker.cursor, marker.visited_at) if marker else (0, None)


def _after(person: Person, cursor: int, limit: int, last_visit: datetime | None) -> Window:
    gists = list(Gist.objects.filter(person=person, id__gt=cursor).order_by("id")[: limit + 1])
    has_more = len(gists) > limit
    gists = gists[:limit]
    return Window(gists, gists[-1].id if gists else cursor, has_more, last_visit)
