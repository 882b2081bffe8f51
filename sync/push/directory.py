"""All persons of the CRM, read once in a run, when that costs less than to search for each person who waits for a link.

A search costs 20 tokens, each person needs two or three of them, and ten fit into two seconds; a page of 500 persons
costs 10 tokens. Only what identifies a person is kept: about 25 MB for 100,000 persons.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from sync.clients.errors import RejectedError, RetryNextRunError
from sync.clients.pipedrive import PAGE_SIZE, TOKENS, PipedriveClient
from sync.clients.pipedrive_records import PipedrivePerson
from sync.few import FEW
from sync.push.persons import KnownPerson, Sought, check_search, github_id_of

OUR_NAME = re.compile(r"^@([a-z\d-]+)$|\(@([a-z\d-]+)\)$")  # see sync.crm.activity.person_name
SEARCH_TOKENS = 2 * TOKENS["search"]  # at least, for each person
MAX_NEWEST = 1000  # persons, two pages, that are read in any case


@dataclass
class Directory:
    """The ids of all persons by what identifies them. `add` is called for each person that exists."""

    key: str  # of the custom field for the GitHub id; empty if there is none
    by_github_id: dict[str, int] = field(default_factory=dict)
    by_email: dict[str, tuple[int, ...]] = field(default_factory=dict)
    by_login: dict[str, tuple[int, ...]] = field(default_factory=dict)
    github_ids: dict[int, str] = field(default_factory=dict)

    def add(self, row: PipedrivePerson) -> None:
        if row.is_deleted:
            return
        github_id = github_id_of(row, self.key)
        if github_id:
            self.github_ids[row.id] = github_id
            self.by_github_id[github_id] = min(row.id, self.by_github_id.get(github_id, row.id))
        for email in row.emails:
            _add(self.by_email, email.lower(), row.id)
        name = OUR_NAME.search((row.name or "").strip().lower())
        if name:
            _add(self.by_login, name[1] or name[2], row.id)

    def find(self, sought: Sought) -> int | None:
        """The oldest person with the GitHub id, else with the e-mail, else with our name. None if there is none."""
        own = str(sought.github_id)
        if self.key and sought.github_id and own in self.by_github_id:
            return self.by_github_id[own]
        same = (self.by_email.get(sought.email.lower(), ()), self.by_login.get(sought.login.lower(), ()))
        for ids in same:
            for pipedrive_id in sorted(ids):
                if self.github_ids.get(pipedrive_id, own) == own:
                    return pipedrive_id
        return None


def _add(ids: dict[str, tuple[int, ...]], text: str, number: int) -> None:
    if text:
        ids[text] = (*ids.get(text, ()), number)


@dataclass(frozen=True)
class Persons:
    """What was read: all persons, or only the newest ones."""

    newest: tuple[PipedrivePerson, ...] = ()
    directory: Directory | None = None


def prepare_persons(
    pipedrive: PipedriveClient,
    key: str,
    waiting: int,
    known: Collection[int],
    written: KnownPerson | None,
    now: datetime,
) -> Persons:
    """A step, as `read_persons`. `written`: a person whose GitHub id searches must find, if they are needed."""
    persons = read_persons(pipedrive, key, waiting, known)
    if key and persons.directory is None:
        check_search(pipedrive, key, persons.newest, written, now)
    return persons


def read_persons(pipedrive: PipedriveClient, key: str, waiting: int, known: Collection[int]) -> Persons:
    """The newest persons; all, if `waiting` people need a link and searches for them cost more.

    `known`: persons that exist, so the list must show them, or it is not believed; then people are searched for.
    """
    directory = Directory(key)
    newest: list[PipedrivePerson] = []
    missing = set(known)
    try:
        for number, row in enumerate(pipedrive.iter_newest_persons()):
            if number == MAX_NEWEST and not pays(waiting, max(one.id for one in newest)):
                return Persons(tuple(newest))
            directory.add(row)
            missing.discard(row.id)
            if number < MAX_NEWEST:
                newest.append(_shorten(row, key))
    except (RejectedError, RetryNextRunError):
        if len(newest) < MAX_NEWEST:
            raise
        return Persons(tuple(newest))
    is_wanted = pays(waiting, len(newest))
    if is_wanted and not any(_exists(pipedrive, number) for number in sorted(missing)[:3]):
        return Persons(tuple(newest), directory)
    return Persons(tuple(newest))


def pays(waiting: int, persons: int) -> bool:
    """Does it cost less to read this many persons than to search for those who wait? A few are searched for.

    The greatest id is at least the number of persons.
    """
    return waiting > FEW and persons <= max_persons(waiting)


def max_persons(waiting: int) -> int:
    """Up to how many persons cost no more than the searches for those who wait."""
    return waiting * SEARCH_TOKENS // TOKENS["list"] * PAGE_SIZE


def _shorten(row: PipedrivePerson, key: str) -> PipedrivePerson:
    fields = {key: github_id_of(row, key)}
    return PipedrivePerson(row.id, row.name, row.emails, row.add_time, row.is_deleted, custom_fields=fields)


def _exists(pipedrive: PipedriveClient, pipedrive_id: int) -> bool:
    try:
        return not pipedrive.get_person(pipedrive_id).is_deleted
    except RejectedError:
        return False
