"""What Pipedrive has, or may have, of gists that are not stored, so that none of them gets a second activity.

A gist is known by a salted hash of its id on GitHub. So no row names anybody, and those of deleted and of forgotten
people are alike. Whoever has the database can still test a gist whose id is known.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar

from django.db import models

from people.models.gist import Gist, pushed_columns
from people.models.suppressed import SuppressionSalt

BATCH_SIZE = 500  # rows in one statement
T = TypeVar("T")
State = Gist.PushState


class KnownActivityQuerySet(models.QuerySet["KnownActivity"]):
    def find(self, github_ids: Iterable[str]) -> dict[str, "KnownActivity"]:
        """The rows of these gists, by their ids on GitHub. One statement if there are no rows at all."""
        ids = list(github_ids)
        if not ids or not KnownActivity.objects.exists():
            return {}
        id_of = {key: github_id for github_id, key in _hash_ids(ids).items()}
        return {id_of[row.gist_key]: row for keys in _batches(list(id_of)) for row in self.filter(gist_key__in=keys)}

    def of(self, github_id: str) -> "KnownActivityQuerySet":
        return self.filter(gist_key__in=_hash_ids([github_id]).values())

    def settle(self, activity_id: int) -> int:
        """The POSTs of these rows have created this activity. Returns how many rows there were."""
        return self.update(activity_id=activity_id, started_at=None, pipedrive_person_id=None, person_started_at=None)

    def drop(self, rows: Iterable["KnownActivity"]) -> None:
        """Delete these rows, because their gists are stored."""
        for keys in _batches([row.pk for row in rows]):
            self.filter(pk__in=keys).delete()

    def leave(self, gists: list[Gist], creating: Mapping[int, datetime]) -> None:
        """Keep what Pipedrive has, or may have, of these gists, which are about to be deleted.

        `creating`: since when the Pipedrive persons of people are being created, by the people's primary keys.
        """
        rows = {gist.github_id: row for gist in gists if (row := _row_of(gist, creating.get(gist.person_id)))}
        key_of = _hash_ids(rows)
        for gist in gists:
            if row := rows.get(gist.github_id):
                row.gist_key = key_of[gist.github_id]
                row.version_key = "" if gist.activity_outdated else _hash_version(row.gist_key, gist)
        for keys in _batches(list(key_of.values())):
            self.filter(gist_key__in=keys).delete()  # What the gist had is newer.
        self.bulk_create(rows.values(), batch_size=BATCH_SIZE)

    def store(self, found: Mapping[str, int]) -> None:
        """Keep these activities, by the ids of their gists on GitHub."""
        rows = [KnownActivity(gist_key=key, activity_id=found[one]) for one, key in _hash_ids(found).items()]
        self.bulk_create(rows, batch_size=BATCH_SIZE, ignore_conflicts=True)


class KnownActivity(models.Model):
    """What Pipedrive has, or may have, of a gist that is not stored, or not pushed.

    `activity_id`: its activity. `started_at`: when the POST of its activity began, if the outcome is not known.
    `person_started_at`: the same of the POST that creates the Pipedrive person of its author.
    """

    gist_key = models.CharField(max_length=64, unique=True)
    activity_id = models.PositiveBigIntegerField(null=True, db_index=True)
    version_key = models.CharField(max_length=64, blank=True)  # stands for what the activity shows; empty if unknown
    started_at = models.DateTimeField(null=True)
    # Under which the activity would be filed, if the outcome is not known.
    pipedrive_person_id = models.PositiveBigIntegerField(null=True)
    person_started_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = KnownActivityQuerySet.as_manager()

    def __str__(self) -> str:
        return f"activity {self.activity_id}" if self.activity_id else f"a POST of {self.started_at}"

    def gist_columns(self, gist: Gist, now: datetime) -> dict[str, Any]:
        """What the row of this gist gets. Its activity is outdated unless the gist is certainly the same version."""
        outdated = {"activity_outdated": self.version_key != _hash_version(self.gist_key, gist)}
        if self.activity_id:
            return pushed_columns(self.activity_id, now) | outdated
        if self.started_at:
            started = {"push_started_at": self.started_at, "pipedrive_person_id": self.pipedrive_person_id}
            return {"push_state": State.STARTED, **started, **outdated}
        return {}


def _hash_ids(github_ids: Iterable[str]) -> dict[str, str]:
    """The keys of gists, by their ids on GitHub."""
    ids = list(github_ids)
    salt = SuppressionSalt.get() if ids else b""
    return {one: hashlib.sha256(salt + one.encode()).hexdigest() for one in ids}


def _hash_version(gist_key: str, gist: Gist) -> str:
    return hashlib.sha256(f"{gist_key} {gist.github_updated_at.timestamp()}".encode()).hexdigest()


def _row_of(gist: Gist, person_started_at: datetime | None) -> KnownActivity | None:
    row = KnownActivity(person_started_at=person_started_at)
    if gist.push_state == State.PUSHED:
        row.activity_id = gist.pipedrive_activity_id
    elif gist.push_state == State.STARTED:
        row.started_at, row.pipedrive_person_id = gist.push_started_at, gist.pipedrive_person_id
    return row if row.activity_id or row.started_at or person_started_at else None


def _batches(keys: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(keys), BATCH_SIZE):
        yield keys[start : start + BATCH_SIZE]
