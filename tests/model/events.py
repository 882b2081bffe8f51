"""Events of the outbox protocol, in the words of the model. `read_story` reads what the model prints."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.model.check import TICK_SECONDS, Constants


@dataclass(frozen=True)
class TakeLease:
    at: float  # seconds, of one clock for all events
    run: str  # its token


@dataclass(frozen=True)
class RenewLease:
    at: float
    run: str


@dataclass(frozen=True)
class LoseLease:
    """It is released, or its process is known to be dead."""

    at: float
    run: str


@dataclass(frozen=True)
class Stored:
    """A run stored a gist that was not there."""

    at: float
    run: str
    gist: str
    person: str
    state: str = "pending"  # or started, pushed, skipped
    started_at: float | None = None  # if it is started, or was


@dataclass(frozen=True)
class Started:
    """`started` is committed. `at` is push_started_at."""

    at: float
    run: str
    gist: str


@dataclass(frozen=True)
class Sent:
    """The POST leaves."""

    at: float
    run: str
    gist: str


@dataclass(frozen=True)
class Refused:
    """Pipedrive said that it created nothing."""

    at: float
    run: str
    gist: str


@dataclass(frozen=True)
class Landed:
    """Pipedrive created an activity."""

    at: float
    gist: str
    activity: int


@dataclass(frozen=True)
class Removed:
    """An activity was deleted in Pipedrive, by an undo or a colleague."""

    at: float
    activity: int


@dataclass(frozen=True)
class Outcome:
    """The outcome of a POST is written: pushed, with the activity; pending; or unknown, and the gist stays started."""

    at: float
    run: str
    gist: str
    result: str
    activity: int | None = None


@dataclass(frozen=True)
class LookedUp:
    """A started gist was looked up, at this time, and then written: pushed if found, else pending."""

    at: float
    run: str
    gist: str
    activity: int | None = None


@dataclass(frozen=True)
class Compared:
    """A list of activities, read for another reason, shows that of the gist, which is written as pushed."""

    at: float
    run: str
    gist: str
    activity: int | None


@dataclass(frozen=True)
class Undone:
    """The gist is written as skipped."""

    at: float
    run: str
    gist: str


@dataclass(frozen=True)
class Skipped:
    """A user keeps the gist from being pushed."""

    at: float
    gist: str


@dataclass(frozen=True)
class PushedAgain:
    """A user makes a skipped gist pending."""

    at: float
    gist: str


@dataclass(frozen=True)
class Deleted:
    """A user deleted the person, with all its gists."""

    at: float
    person: str


Write = Stored | Started | Outcome | LookedUp | Compared | Undone
OfUser = Skipped | PushedAgain | Deleted
Event = TakeLease | RenewLease | LoseLease | Write | Sent | Refused | Landed | Removed | OfUser


def read_story(lines: Iterable[str], limits: Constants) -> Iterator[Event]:
    """The events of the model's one gist. Its activities have no ids, so they are numbered."""
    at, started_at, landed = 0.0, 0.0, 0
    yield from (TakeLease(at, "first"), Stored(at, "first", "gist", "person"), LoseLease(at, "first"))
    for line in lines:
        name, run, result = (*line.split(), "", "")[:3]
        if name == "tick":
            at += TICK_SECONDS
            continue
        started_at = at if name == "started" else at - limits.send if result == "unknown" else started_at
        landed += name == "landed"
        events: dict[str, Event] = {
            "take_lease": TakeLease(at, run),
            "renew_lease": RenewLease(at, run),
            "lose_lease": LoseLease(at, run),
            "stored": Stored(at, run, "gist", "person", result, started_at),
            "started": Started(at, run, "gist"),
            "sent": Sent(at, run, "gist"),
            "landed": Landed(at, "gist", landed),
            "outcome": Outcome(at, run, "gist", result, landed if result == "pushed" else None),
            "looked_up": LookedUp(at, run, "gist", landed if result == "found" else None),
            "removed": Removed(at, landed),
            "undone": Undone(at, run, "gist"),
            "deleted": Deleted(at, "person"),
        }
        yield events[name]
