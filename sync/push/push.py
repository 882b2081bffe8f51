"""A person's push: which step is next. A pure function of the person's rows, and of what the run has done for it.

1. FIND the Pipedrive person: the given id is CONFIRMed; else it is found by our custom field, e-mail or naming; else
   one is created. That one is about to be created is written first. If the outcome of that is unknown, it is looked for
   (FIND_CREATED) before another is created.
2. WRITE_ID: the GitHub id into the custom field of a Pipedrive person that was not created just now.
3. COMPARE its activities with the gists, once: a lost database may have created some of them.
4. LOOK_UP activities whose POST had no clear response, after the settle time: in the person's list, in the list of all
   activities (SCAN), and by their ids (LOOK_UP_IDS). What exists is pushed, what does not is pending again.
5. CREATE the activities of pending gists, one by one. Each is written as started first.
6. UPDATE the activities of edited gists, with PUSH_EDITS.

After a crash the next run continues from the rows.
"""

from dataclasses import dataclass, replace
from enum import Enum, auto

from people.models import Gist, Person
from sync.crm.recognition import Fingerprint

MAX_UNKNOWN = 3  # POSTs of a person in a row without a clear response: then it is the next person's turn
MAX_REFUSED = 5  # gists of a person in a row, for the same reason, and none created: then the person fails


class Next(Enum):
    CONFIRM = auto()
    FIND = auto()
    FIND_CREATED = auto()
    CREATE_PERSON = auto()
    WRITE_ID = auto()
    COMPARE = auto()
    LOOK_UP = auto()
    SCAN = auto()
    LOOK_UP_IDS = auto()
    CREATE = auto()
    UPDATE = auto()
    DONE = auto()


@dataclass(frozen=True)
class LookUp:
    """The search for the activities of started gists that were sent to the same Pipedrive person."""

    filed_under: int
    gists: tuple[Gist, ...]
    next: Next = Next.LOOK_UP
    found: tuple["Found", ...] = ()
    listed: frozenset[int] = frozenset()

    @property
    def missing(self) -> list[Gist]:
        found = {one.gist for one in self.found}
        return [gist for gist in self.gists if gist.pk not in found]


@dataclass(frozen=True)
class Found:
    """The activity of a started gist. `is_current`: it shows the gist as it is stored."""

    gist: int  # its key
    activity: Fingerprint
    is_current: bool
    is_deleted: bool = False


@dataclass(frozen=True)
class Progress:
    """What the run has done for a person. `failure`: why its push has failed; then nothing else is tried."""

    failure: str = ""
    none_found: bool = False  # The Pipedrive person is created now.
    has_written_id: bool = False  # or tried to
    look_up: LookUp | None = None
    pending: tuple[int, ...] | None = None  # the next gists to create activities for; None: not read yet
    has_more: bool = False  # gists after these
    known: tuple[int, ...] | None = None  # activities under the Pipedrive person; None: not read yet
    has_created: bool = False
    unknown: int = 0  # POSTs in a row without a clear response
    refused: tuple[str, ...] = ()  # why the last gists in a row were refused
    is_relinked: bool = False  # Its Pipedrive person was replaced; a second time is left to the next run.
    edited_up_to: int = 0  # the last gist whose activity was updated, or could not be

    @property
    def next_gist(self) -> int:
        """The key of the gist whose activity is created next; 0 if there is none."""
        return self.pending[0] if self.pending else 0

    def without_next_gist(self) -> "Progress":
        return replace(self, pending=(self.pending or ())[1:])


@dataclass(frozen=True)
class Gists:
    """The gists of the person that need something."""

    started: tuple[Gist, ...] = ()  # Their POST is long enough ago.
    pending: tuple[int, ...] = ()  # keys
    outdated: tuple[Gist, ...] = ()


def next_step(person: Person, gists: Gists, progress: Progress, *, is_id_written: bool) -> Next:
    if progress.failure:
        return Next.DONE
    if person.pipedrive_id is None:
        return _find(person, progress)
    if person.pipedrive_confirmed_at is None:
        return Next.CONFIRM
    if not is_id_written and not progress.has_written_id:
        return Next.WRITE_ID
    if person.pipedrive_matched_at is None:
        return Next.COMPARE
    if gists.started and not progress.look_up:
        return Next.LOOK_UP
    return progress.look_up.next if progress.look_up else _push(gists)


def _find(person: Person, progress: Progress) -> Next:
    if progress.none_found:
        return Next.CREATE_PERSON
    return Next.FIND_CREATED if person.pipedrive_create_started_at else Next.FIND


def _push(gists: Gists) -> Next:
    if gists.pending:
        return Next.CREATE
    return Next.UPDATE if gists.outdated else Next.DONE
