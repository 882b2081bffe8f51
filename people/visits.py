"""Visits: which gists are new to a consumer.

The visit marker of a consumer for a person is the cursor of the last gist that the consumer has received.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, FilteredRelation, Q
from django.utils import timezone

from gisttracker.common.prepared import Parameter, PreparedQuery
from people.models import Consumer, Gist, Person, Visit
from people.models.github_names import login_key, parse_login
from people.representations import VISITED_COLUMNS, Row, represent_gists, select_gists


@dataclass(frozen=True)
class Marker:
    key: int | None  # of its row; None: the consumer has not visited this person yet
    cursor: int
    visited_at: datetime | None


@dataclass(frozen=True)
class GistSlice:
    """Some of a person's gists, oldest first."""

    person: Row  # see people.representations
    gists: list[Row]
    cursor: int  # the next slice starts after this gist id
    marker: Marker  # as it was before
    has_more: bool


def visit(login: str, consumer: Consumer, limit: int) -> GistSlice:
    """Return the gists that are new to this consumer and move its marker past them.

    Raises Person.DoesNotExist. The marker is moved only if it is still where it was read. So each gist is returned by
    one of several concurrent visits, and the others read again. Gists become visible in the order of their ids: see
    Gist.
    """
    while True:
        gist_slice = preview_visit(login, consumer, limit)
        if _move(gist_slice, consumer):
            return gist_slice


def preview_visit(login: str, consumer: Consumer, limit: int) -> GistSlice:
    """Return what a visit would return, without moving the marker. Raises Person.DoesNotExist."""
    person, marker = _read_person(login, consumer)
    return _read_slice(person, marker, marker.cursor, limit)


def read_since(login: str, consumer: Consumer, since: int, limit: int) -> GistSlice:
    """Return the gists after the cursor `since`, without moving the marker. Raises Person.DoesNotExist."""
    person, marker = _read_person(login, consumer)
    return _read_slice(person, marker, since, limit)


def _select_person() -> Any:
    own_visit = FilteredRelation("visits", condition=Q(visits__consumer=Parameter("consumer")))
    marker = {"marker_key": F("own_visit"), "marker_cursor": F("own_visit__cursor"), "at": F("own_visit__visited_at")}
    people = Person.objects.filter(username_key=Parameter("login")).annotate(own_visit=own_visit).order_by()
    return people.values(*VISITED_COLUMNS, **marker)


_find_person = PreparedQuery(_select_person)


@lru_cache(maxsize=32)
def _find_gists(limit: int) -> PreparedQuery:
    gists = Gist.objects.filter(person=Parameter("person"), id__gt=Parameter("cursor")).order_by("id")
    return PreparedQuery(lambda: select_gists(gists[:limit]))


def _read_person(login: str, consumer: Consumer) -> tuple[Row, Marker]:
    try:
        rows = _find_person(login=login_key(parse_login(login)), consumer=consumer.pk)
    except ValueError:  # no login
        rows = []
    if not rows:
        raise Person.DoesNotExist
    person = rows[0]
    return person, Marker(person.pop("marker_key"), person.pop("marker_cursor") or 0, person.pop("at"))


def _read_slice(person: Row, marker: Marker, cursor: int, limit: int) -> GistSlice:
    rows = represent_gists(_find_gists(limit + 1)(person=person["id"], cursor=cursor), person)
    has_more = len(rows) > limit
    rows = rows[:limit]
    return GistSlice(person, rows, rows[-1]["id"] if rows else cursor, marker, has_more)


def _move(gist_slice: GistSlice, consumer: Consumer) -> bool:
    """Returns whether the marker was still where it was read."""
    marker, columns = gist_slice.marker, {"cursor": gist_slice.cursor, "visited_at": timezone.now()}
    if marker.key:
        return bool(Visit.objects.filter(pk=marker.key, cursor=marker.cursor).update(**columns))
    try:
        with transaction.atomic():
            Visit.objects.create(person_id=gist_slice.person["id"], consumer=consumer, **columns)
    except IntegrityError:  # Another visit was the first, or the person was deleted.
        return False
    return True
