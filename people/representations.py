"""People and gists as the API returns them, read as plain dicts.

Most requests only copy columns into the response. Building model objects and running serializers over them takes
several times as long as the rest of such a request. The serializers describe the same fields, and a test compares.
"""

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import Count, Q

from people.models import Gist, GistQuerySet, Person
from people.models.gist import explain_push

PushState = Gist.PushState

Row = dict[str, Any]

_PROFILE = ("github_username", "name", "email", "company", "location")
_SHARED = ("id", *_PROFILE, "state", "last_error", "push_error", "pipedrive_id")
_TIMES = ("created_at", "updated_at")
PERSON_COLUMNS = (*_SHARED, "unreadable_gists", "backfill", "polled_at", "sync_requested_at", *_TIMES)
VISITED_COLUMNS = (*_SHARED, "backfill", *_TIMES)
GIST_COLUMNS = (
    "id",
    "github_id",
    "description",
    "html_url",
    "pull_url",
    "truncated",
    "files",
    "github_created_at",
    "github_updated_at",
    "created_at",
    "updated_at",
    "removed_at",
    "push_state",
    "push_error",
    "pipedrive_activity_id",
)
_REASONS = ("push_started_at", "pushed_at", "activity_outdated")  # what else explain_push needs
COUNTS = {
    "gist_count": Count("pk"),
    "pending_count": Count("pk", filter=Q(push_state__in=[PushState.PENDING, PushState.STARTED])),
    "rejected_count": Count("pk", filter=Q(push_state=PushState.REJECTED)),
}


def read_people(keys: Iterable[int]) -> list[Row]:
    """Return the people with these keys, in their order, with the counts of their gists. Two statements."""
    keys = list(keys)
    if not keys:
        return []
    found = {row["id"]: row for row in Person.objects.filter(pk__in=keys).order_by().values(*PERSON_COLUMNS)}
    counted: Any = Gist.objects.filter(person__in=keys).order_by().values("person").annotate(**COUNTS)
    counts = {row.pop("person"): row for row in counted}
    none = dict.fromkeys(COUNTS, 0)
    # Others were deleted meanwhile.
    return [_represent_person(found[key], counts.get(key, none)) for key in keys if key in found]


def _represent_person(person: Row, counts: Row) -> Row:
    return {
        **person,
        **counts,
        "unreadable_gists": person["unreadable_gists"] or [],
        "etag": person_etag(person),
    }


def select_gists(gists: GistQuerySet, *others: str) -> Any:
    """Select what represent_gists needs, and `others`."""
    return gists.values(*GIST_COLUMNS, *_REASONS, *others)


def represent_gists(rows: Iterable[Row], person: Mapping[str, Any]) -> list[Row]:
    """`rows`: of select_gists, of one person, who is given with at least `backfill` and `push_error`."""
    return [_represent_gist(row, person["backfill"], person["push_error"]) for row in rows]


def represent_feed(rows: list[Row]) -> list[Row]:
    """`rows`: of select_gists with `person`, of several people. One statement, which reads the people."""
    owners = Person.objects.filter(pk__in={row["person"] for row in rows}).order_by()
    people = {row["id"]: row for row in owners.values("id", "github_username", "backfill", "push_error")}
    known = [row for row in rows if row["person"] in people]  # Others were deleted meanwhile.
    for row in known:
        owner = people[row["person"]]
        row["person"] = owner["github_username"]
        _represent_gist(row, owner["backfill"], owner["push_error"])
    return known


def _represent_gist(row: Row, backfill: str, person_error: str) -> Row:
    row["push_explanation"] = explain_push(
        row["push_state"],
        row["push_error"],
        activity_id=row["pipedrive_activity_id"],
        pushed_at=row.pop("pushed_at"),
        push_started_at=row.pop("push_started_at"),
        activity_outdated=row.pop("activity_outdated"),
        backfill=backfill,
        person_error=person_error,
    )
    return row


def person_etag(person: Mapping[str, Any]) -> str:
    """The version of what consumers can change about a person, for If-Match.

    A poll changes it only with the state, or when it decides the backfill choice.
    """
    changeable = (person["id"], person["state"], person["pipedrive_id"], person["backfill"])
    return f'"{zlib.crc32(repr(changeable).encode()):08x}-{person["id"]}"'
