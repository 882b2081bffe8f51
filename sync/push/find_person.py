"""Find the Pipedrive person of a tracked person: by GitHub id, else by exact e-mail, else by our naming.

That there is none is concluded only from searches and lists that show the persons that are known to exist.
The search index may lag behind, so the newest persons are looked through as well.
"""

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

from gisttracker.common.database import retried
from people.models import Person
from sync.clients.errors import InvalidResponseError, RejectedError, RetryNextRunError
from sync.clients.pipedrive_records import PipedrivePerson
from sync.crm.activity import has_email, has_our_name
from sync.run.context import RunContext

MAX_CLOCK_DIFFERENCE = timedelta(hours=1)  # between Pipedrive's clock and ours
MAX_CANDIDATES = 10  # found persons that are looked at
MAX_NEWEST = 1000  # persons, two pages, that are read once a run
SEARCH_INDEX_DELAY = timedelta(days=1)  # after which the search must find what was written
NO_PERSONS = "Pipedrive lists no persons at all. Whether one was created is checked again in the next run."


class PersonFinder:
    """The searches of one run. Thread-safe."""

    def __init__(self, context: RunContext) -> None:
        self._context, self._pipedrive = context, context.pipedrive
        self._lock = threading.Lock()
        self._newest: list[PipedrivePerson] | None = None

    def find(self, person: Person, key: str, lost: int = 0) -> int | None:
        """The id of an existing Pipedrive person, the oldest if there are several. None if there is certainly none.

        `key`: of the custom field, if there is one. `lost`: the id of a deleted Pipedrive person.
        """
        newest = self._read_newest(key)
        for is_same, search in self._criteria(person, key):
            found = search() + [row.id for row in newest if is_same(row)]
            for candidate in self._existing(set(found) - {lost}):
                if is_same(candidate):
                    return candidate.id
        return None

    def find_created(self, person: Person, key: str) -> int | None:
        """The Pipedrive person of a POST with unknown outcome, after the settle delay."""
        now = self._context.clock()
        started = person.pipedrive_create_started_at or now
        if now < started + self._context.options.settle_delay:
            raise RetryNextRunError("Whether the Pipedrive person was created is checked in the next run.")
        is_empty = True
        for row in self._pipedrive.iter_newest_persons():
            is_empty = False
            if _was_created_as(row, person, key):
                return row.id
            if row.add_time and row.add_time < started - MAX_CLOCK_DIFFERENCE:
                return None
        if is_empty and retried(Person.objects.filter(pipedrive_confirmed_at__isnull=False).exists)():
            raise InvalidResponseError("Pipedrive lists no persons at all, although it has some")
        if is_empty and person.push_error != NO_PERSONS:  # Believed when two runs have seen it.
            raise RetryNextRunError(NO_PERSONS)
        return None

    Criterion = tuple[Callable[[PipedrivePerson], bool], Callable[[], list[int]]]

    def _criteria(self, person: Person, key: str) -> Iterator[Criterion]:
        """How a person is recognised, and the search for such persons; the surest criterion first."""
        pipedrive, github_id, login = self._pipedrive, str(person.github_id), person.github_username
        if key and person.github_id:
            yield (
                lambda row: not row.is_deleted and github_id_of(row, key) == github_id,
                lambda: pipedrive.search_persons_by_field(key, github_id),
            )
        if person.email:
            yield (
                lambda row: has_email(row, person.email) and may_be(row, person, key),
                lambda: [row.id for row in pipedrive.search_persons_by_email(person.email)],
            )
        yield (
            lambda row: has_our_name(row, login) and may_be(row, person, key),
            lambda: [row.id for row in pipedrive.search_persons_by_name(f"@{login}") if has_our_name(row, login)],
        )

    def _existing(self, ids: set[int]) -> Iterator[PipedrivePerson]:
        """The records of found persons. RetryNextRunError at the end if one of them is not shown: it may exist."""
        not_shown = None
        for pipedrive_id in sorted(ids)[:MAX_CANDIDATES]:
            try:
                yield self._pipedrive.get_person(pipedrive_id)
            except RejectedError as error:
                not_shown = error
        if not_shown:
            raise RetryNextRunError(f"Pipedrive finds a person, but does not show it: {not_shown}")

    # --- what exists certainly ---
    def _read_newest(self, key: str) -> list[PipedrivePerson]:
        """The newest persons, read once a run. InvalidResponseError if the search does not find what they show."""
        with self._lock:  # The other threads wait for the result.
            if self._newest is None:
                rows = itertools.islice(self._pipedrive.iter_newest_persons(), MAX_NEWEST)
                newest = [replace(row, custom_fields={key: github_id_of(row, key)}) for row in rows]
                if key:
                    self._check_search(key, newest)
                self._newest = newest
            return self._newest

    def _check_search(self, key: str, newest: list[PipedrivePerson]) -> None:
        """InvalidResponseError if the search lacks a person whose GitHub id was written long ago."""
        before = self._context.clock() - SEARCH_INDEX_DELAY
        shown = [row for row in newest if github_id_of(row, key) and row.add_time and row.add_time < before]
        linked = Person.objects.filter(pipedrive_field_key=key, pipedrive_linked_at__lt=before, github_id__isnull=False)
        known = retried(linked.order_by("-pipedrive_linked_at").first)()
        if shown:
            pipedrive_id, github_id = shown[0].id, github_id_of(shown[0], key)
        elif known and self._has_github_id(known, key):
            pipedrive_id, github_id = known.pipedrive_id or 0, str(known.github_id)
        else:
            return
        if pipedrive_id not in self._pipedrive.search_persons_by_field(key, github_id):
            raise InvalidResponseError(
                f"Pipedrive's search does not find person {pipedrive_id}, although it exists; no person is created"
            )

    def _has_github_id(self, known: Person, key: str) -> bool:
        try:
            found = self._pipedrive.get_person(known.pipedrive_id or 0)
        except RejectedError:
            return False
        return not found.is_deleted and github_id_of(found, key) == str(known.github_id)


def github_id_of(found: PipedrivePerson, key: str) -> str:
    """The GitHub id in the custom field; empty if there is none."""
    value = (found.custom_fields or {}).get(key) if key else None
    if isinstance(value, dict):
        value = value.get("value")
    return str(value).strip() if isinstance(value, int | str) else ""


def may_be(found: PipedrivePerson, person: Person, key: str) -> bool:
    """Is it not the Pipedrive person of another GitHub account?"""
    return github_id_of(found, key) in ("", str(person.github_id))


def _was_created_as(row: PipedrivePerson, person: Person, key: str) -> bool:
    if row.is_deleted:
        return False
    if person.github_id and github_id_of(row, key) == str(person.github_id):
        return True
    has_sent_name = row.name == person.pipedrive_create_name
    return may_be(row, person, key) and (has_sent_name or has_our_name(row, person.github_username))
