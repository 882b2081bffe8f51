"""Which step of a person's push is next: rows, and what the run has done, in a table. No database."""

from datetime import UTC, datetime
from typing import Any

import pytest

from people.models import Gist, Person
from sync.clients.pipedrive_records import Activity
from sync.crm.recognition import fingerprint_of
from sync.push.push import Found, Gists, LookUp, Next, Progress, next_step

NOW = datetime(2026, 11, 30, tzinfo=UTC)
LINKED: dict[str, Any] = {"pipedrive_id": 7, "pipedrive_confirmed_at": NOW}
COMPARED: dict[str, Any] = {**LINKED, "pipedrive_matched_at": NOW}
STARTED = Gists(started=(Gist(pk=1),), pending=(2,))
PENDING = Gists(pending=(2,))
OUTDATED = Gists(outdated=(Gist(pk=3),))
LOOK_UP = LookUp(filed_under=7, gists=(Gist(pk=1),))

TABLE: dict[str, tuple[dict[str, Any], Gists, Progress, bool, Next]] = {
    # name: columns of the person, gists, what the run has done, is the GitHub id written, the next step
    "a new person": ({}, PENDING, Progress(), True, Next.FIND),
    "an id that a user gave": ({"pipedrive_id": 7}, PENDING, Progress(), True, Next.CONFIRM),
    "no person was found": ({}, PENDING, Progress(none_found=True), True, Next.CREATE_PERSON),
    "one may have been created": ({"pipedrive_create_started_at": NOW}, PENDING, Progress(), True, Next.FIND_CREATED),
    "the one that may have been created does not exist": (
        {"pipedrive_create_started_at": NOW},
        PENDING,
        Progress(none_found=True),
        True,
        Next.CREATE_PERSON,
    ),
    "found, without the GitHub id": (LINKED, PENDING, Progress(), False, Next.WRITE_ID),
    "the GitHub id could not be written": (LINKED, PENDING, Progress(has_written_id=True), False, Next.COMPARE),
    "found, with the GitHub id": (LINKED, PENDING, Progress(), True, Next.COMPARE),
    "compared, but without the GitHub id": (COMPARED, PENDING, Progress(), False, Next.WRITE_ID),
    "a POST had no clear response": (COMPARED, STARTED, Progress(), True, Next.LOOK_UP),
    "a POST had no clear response, and nothing was compared yet": (LINKED, STARTED, Progress(), True, Next.COMPARE),
    "the person's list was read": (
        COMPARED,
        STARTED,
        Progress(look_up=LookUp(7, LOOK_UP.gists, Next.SCAN)),
        True,
        Next.SCAN,
    ),
    "all lists were read": (
        COMPARED,
        PENDING,
        Progress(look_up=LookUp(7, LOOK_UP.gists, Next.LOOK_UP_IDS)),
        True,
        Next.LOOK_UP_IDS,
    ),
    "a gist waits": (COMPARED, PENDING, Progress(), True, Next.CREATE),
    "a gist waits, another was edited": (
        COMPARED,
        Gists(pending=(2,), outdated=OUTDATED.outdated),
        Progress(has_created=True),
        True,
        Next.CREATE,
    ),
    "a gist was edited": (COMPARED, OUTDATED, Progress(), True, Next.UPDATE),
    "nothing is left": (COMPARED, Gists(), Progress(), True, Next.DONE),
    "the push has failed": (COMPARED, STARTED, Progress(failure="Pipedrive refused"), False, Next.DONE),
    "the search has failed": ({}, PENDING, Progress(failure="Pipedrive refused", none_found=True), True, Next.DONE),
    "the person was lost in this run": ({}, PENDING, Progress(is_relinked=True), True, Next.FIND),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_next_step_follows_from_the_rows(name: str) -> None:
    columns, gists, progress, is_id_written, expected = TABLE[name]

    assert next_step(Person(**columns), gists, progress, is_id_written=is_id_written) == expected


def test_the_table_has_each_step() -> None:
    assert {row[-1] for row in TABLE.values()} == set(Next)


@pytest.mark.parametrize("name", TABLE)
def test_no_activity_is_created_before_the_person_is_known_and_compared(name: str) -> None:
    columns, gists, progress, is_id_written, _ = TABLE[name]
    for missing in ("pipedrive_id", "pipedrive_confirmed_at", "pipedrive_matched_at"):
        person = Person(**{**columns, missing: None})

        step = next_step(person, gists, progress, is_id_written=is_id_written)

        assert step not in (Next.CREATE, Next.UPDATE), missing


def test_a_look_up_misses_what_was_not_found() -> None:
    first, second = Gist(pk=1), Gist(pk=2)
    found = Found(1, fingerprint_of(Activity(9)), is_current=True)

    assert LookUp(7, (first, second)).missing == [first, second]
    assert LookUp(7, (first, second), found=(found,)).missing == [second]
