"""Steps that find or create the Pipedrive person of a tracked person: given, or found by GitHub id, e-mail or name.

That there is none is concluded only from searches and lists that show the persons that are known to exist. The search
index may lag behind, so the newest persons are looked through as well.

A link changes only with proof: Pipedrive shows the person as deleted, or an activity of ours shows that it was merged
into another one. An id given by a user is never changed here.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sync.clients.errors import (
    InvalidResponseError,
    NotFoundError,
    OutcomeUnknownError,
    RejectedError,
    RetryNextRunError,
)
from sync.clients.pipedrive import PipedriveClient
from sync.clients.pipedrive_records import Activity, PipedrivePerson
from sync.crm.activity import has_email, has_our_name
from sync.crm.evidence import MAX_CLOCK_DIFFERENCE

MAX_CANDIDATES = 10  # found persons that are looked at
SEARCH_INDEX_DELAY = timedelta(days=1)  # after which the search must find what was written
NO_PERSONS = "Pipedrive lists no persons at all. Whether one was created is checked again in the next run."
DECIDE = "Set another pipedrive_id, or clear it, so that a person is found or created."


@dataclass(frozen=True)
class Sought:
    """Whose Pipedrive person is sought. `key`: of the custom field for the GitHub id; empty if there is none."""

    login: str
    github_id: int | None
    email: str
    key: str = ""

    def may_be(self, found: PipedrivePerson) -> bool:
        """Is it not the Pipedrive person of another GitHub account?"""
        return github_id_of(found, self.key) in ("", str(self.github_id))


@dataclass(frozen=True)
class KnownPerson:
    """A Pipedrive person in whose custom field we have written a GitHub id long ago."""

    pipedrive_id: int
    github_id: str


@dataclass(frozen=True)
class Trouble:
    """Why a Pipedrive person cannot be used. Only `is_deleted` proves that it does not exist any more.

    `merged_into`: the person that has its activities now.
    """

    reason: str
    is_deleted: bool = False
    merged_into: int | None = None


# --- does it exist? ---
def check_person(pipedrive: PipedriveClient, pipedrive_id: int) -> Trouble | None:
    """Why this Pipedrive person cannot be used; None if Pipedrive shows that it exists."""
    try:
        found = pipedrive.get_person(pipedrive_id)
    except NotFoundError as error:
        return Trouble(f"The Pipedrive person cannot be found ({error.status})")
    except RejectedError as error:
        return Trouble(f"The Pipedrive person cannot be used ({error})")
    return Trouble("The Pipedrive person was deleted", is_deleted=True) if found.is_deleted else None


def find_trouble(pipedrive: PipedriveClient, pipedrive_id: int, activities: tuple[int, ...]) -> Trouble | None:
    """As `check_person`, and whether these activities of ours show that it was merged into another person."""
    trouble = check_person(pipedrive, pipedrive_id)
    if trouble is None:
        return None
    moved_to = {found.filed_under for found in _existing_activities(pipedrive, activities)}
    target = moved_to.pop() if len(moved_to) == 1 else None
    if target and target != pipedrive_id and not check_person(pipedrive, target):
        return replace(trouble, merged_into=target)
    return trouble


def _existing_activities(pipedrive: PipedriveClient, activities: tuple[int, ...]) -> Iterator[Activity]:
    for number in activities:
        try:
            activity = pipedrive.get_activity(number)
        except RejectedError:
            continue
        if not activity.is_deleted:
            yield activity


# --- find ---
def check_search(
    pipedrive: PipedriveClient, key: str, newest: Sequence[PipedrivePerson], known: KnownPerson | None, now: datetime
) -> None:
    """InvalidResponseError if the search lacks a person whose GitHub id was written long ago."""
    before = now - SEARCH_INDEX_DELAY
    shown = [row for row in newest if github_id_of(row, key) and row.add_time and row.add_time < before]
    if shown:
        known = KnownPerson(shown[0].id, github_id_of(shown[0], key))
    elif known is None or not _has_github_id(pipedrive, known, key):
        return
    if known.pipedrive_id not in pipedrive.search_persons_by_field(key, known.github_id):
        raise InvalidResponseError(
            f"Pipedrive's search does not find person {known.pipedrive_id}, although it exists; no person is created"
        )


def _has_github_id(pipedrive: PipedriveClient, known: KnownPerson, key: str) -> bool:
    try:
        found = pipedrive.get_person(known.pipedrive_id)
    except RejectedError:
        return False
    return not found.is_deleted and github_id_of(found, key) == known.github_id


def find_person(pipedrive: PipedriveClient, sought: Sought, newest: Sequence[PipedrivePerson]) -> int | None:
    """The id of an existing Pipedrive person, the oldest if there are several. None if there is certainly none."""
    for is_same, search in _criteria(pipedrive, sought):
        found = search() + [row.id for row in newest if is_same(row)]
        for candidate in _existing(pipedrive, set(found)):
            if is_same(candidate):
                return candidate.id
    return None


Criterion = tuple[Callable[[PipedrivePerson], bool], Callable[[], list[int]]]


def _criteria(pipedrive: PipedriveClient, sought: Sought) -> Iterator[Criterion]:
    """How a person is recognised, and the search for such persons; the surest criterion first."""
    key, github_id, login = sought.key, str(sought.github_id), sought.login
    if key and sought.github_id:
        yield (
            lambda row: not row.is_deleted and github_id_of(row, key) == github_id,
            lambda: pipedrive.search_persons_by_field(key, github_id),
        )
    if sought.email:
        yield (
            lambda row: has_email(row, sought.email) and sought.may_be(row),
            lambda: [row.id for row in pipedrive.search_persons_by_email(sought.email)],
        )
    yield (
        lambda row: has_our_name(row, login) and sought.may_be(row),
        lambda: [row.id for row in pipedrive.search_persons_by_name(f"@{login}") if has_our_name(row, login)],
    )


def _existing(pipedrive: PipedriveClient, ids: set[int]) -> Iterator[PipedrivePerson]:
    """The records of found persons. RetryNextRunError at the end if one of them is not shown: it may exist."""
    not_shown = None
    for pipedrive_id in sorted(ids)[:MAX_CANDIDATES]:
        try:
            yield pipedrive.get_person(pipedrive_id)
        except RejectedError as error:
            not_shown = error
    if not_shown:
        raise RetryNextRunError(f"Pipedrive finds a person, but does not show it: {not_shown}")


# --- a POST with unknown outcome ---
@dataclass(frozen=True)
class SentPerson:
    """A Pipedrive person that may have been created: the name that was sent, and until when it may have been."""

    sought: Sought
    name: str
    started_at: datetime
    must_list_some: bool  # Persons are known to exist.
    was_empty: bool  # An earlier run has seen no persons at all.


def find_created_person(pipedrive: PipedriveClient, sent: SentPerson) -> int | None:
    """The Pipedrive person of a POST with unknown outcome, after the settle time."""
    is_empty = True
    for row in pipedrive.iter_newest_persons():
        is_empty = False
        if _was_created_as(row, sent):
            return row.id
        if row.add_time and row.add_time < sent.started_at - MAX_CLOCK_DIFFERENCE:
            return None
    if is_empty and sent.must_list_some:
        raise InvalidResponseError("Pipedrive lists no persons at all, although it has some")
    if is_empty and not sent.was_empty:
        raise RetryNextRunError(NO_PERSONS)
    return None


def _was_created_as(row: PipedrivePerson, sent: SentPerson) -> bool:
    sought = sent.sought
    if row.is_deleted:
        return False
    if sought.github_id and github_id_of(row, sought.key) == str(sought.github_id):
        return True
    has_sent_name = bool(sent.name) and row.name == sent.name
    return sought.may_be(row) and (has_sent_name or has_our_name(row, sought.login))


# --- create ---
def create_person(pipedrive: PipedriveClient, sought: Sought, name: str, not_after: float) -> int:
    """The id of the new person. NotSentError after `not_after`, a time of `boot_clock()`."""
    fields = {sought.key: str(sought.github_id)} if sought.key and sought.github_id else {}
    created = pipedrive.create_person(
        name, sought.email, custom_fields=fields, subject=sought.login, not_after=not_after
    )
    if created.name != name and (trouble := check_person(pipedrive, created.id)):
        raise OutcomeUnknownError(f"Pipedrive returned a new person, but shows none. {trouble.reason}")
    return created.id


def write_github_id(pipedrive: PipedriveClient, pipedrive_id: int, key: str, github_id: int) -> str:
    """Write the GitHub id into the person's custom field, unless there is one. Returns a remark, or an empty text."""
    present = github_id_of(pipedrive.get_person(pipedrive_id), key)
    if not present:
        pipedrive.set_custom_field(pipedrive_id, key, str(github_id))
    if present in ("", str(github_id)):
        return ""
    return "The Pipedrive person has the GitHub id of another account; it is kept."


def github_id_of(found: PipedrivePerson, key: str) -> str:
    """The GitHub id in the custom field; empty if there is none."""
    value = (found.custom_fields or {}).get(key) if key else None
    if isinstance(value, dict):
        value = value.get("value")
    return str(value).strip() if isinstance(value, int | str) else ""
