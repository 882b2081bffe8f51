"""The checker of traces reports what the model forbids, rule by rule, and nothing else."""

import pytest

from tests.model.check import Constants
from tests.model.events import (
    Compared,
    Deleted,
    Event,
    Landed,
    LookedUp,
    LoseLease,
    Outcome,
    PushedAgain,
    Refused,
    Removed,
    RenewLease,
    Sent,
    Skipped,
    Started,
    Stored,
    TakeLease,
    Undone,
)
from tests.model.trace import find_violations

LIMITS = Constants(send=60, settle=120, lease=120)
STORED: list[Event] = [TakeLease(0, "a"), Stored(0, "a", "g", "ada")]
STARTED = [*STORED, Started(10, "a", "g")]
SENT = [*STARTED, Sent(70, "a", "g")]
LANDED = [*SENT, Landed(71, "g", 1)]
PUSHED = [*LANDED, Outcome(72, "a", "g", "pushed", 1)]
UNKNOWN = [*LANDED, Outcome(72, "a", "g", "unknown")]
SENT_TWICE = [*SENT, LookedUp(190, "a", "g"), Started(191, "a", "g"), Sent(191, "a", "g")]
UNDONE = [*PUSHED, Removed(80, 1), Undone(81, "a", "g")]
TAKEN_OVER = [TakeLease(130, "b")]

ALLOWED: dict[str, list[Event]] = {
    "pushed": PUSHED,
    "renewed": [*STORED, RenewLease(100, "a"), Started(190, "a", "g")],
    "not sent": [*STARTED, Outcome(80, "a", "g", "pending"), Started(81, "a", "g"), Sent(81, "a", "g")],
    "refused, then sent otherwise": [*SENT, Refused(70, "a", "g"), Sent(70, "a", "g"), Landed(71, "g", 1)],
    "refused": [*SENT, Refused(70, "a", "g"), Outcome(71, "a", "g", "pending")],
    "found": [*LANDED, LookedUp(190, "a", "g", 1)],
    "found after its response was lost": [*UNKNOWN, LookedUp(192, "a", "g", 1)],
    "compared": [*UNKNOWN, Compared(73, "a", "g", 1)],
    "skipped, and pushed again": [*STORED, Skipped(1, "g"), PushedAgain(2, "g"), Started(3, "a", "g")],
    "undone, and pushed again": [
        *UNDONE,
        PushedAgain(90, "g"),
        Started(91, "a", "g"),
        Sent(91, "a", "g"),
        Landed(92, "g", 2),
    ],
    "lost, and pushed again": [*SENT_TWICE, Landed(191, "g", 1)],
    "not sent after it was lost": [
        *SENT,
        LookedUp(190, "a", "g"),
        Started(191, "a", "g"),
        Outcome(260, "a", "g", "pending"),
    ],
    "found by a successor": [*LANDED, *TAKEN_OVER, LookedUp(190, "b", "g", 1)],
    "taken over at once": [*STORED, LoseLease(5, "a"), TakeLease(5, "b"), Started(6, "b", "g")],
    "sent by a process that was taken over": [*STORED, Started(100, "a", "g"), *TAKEN_OVER, Sent(160, "a", "g")],
    "deleted by a colleague": [*PUSHED, Removed(80, 1)],
    "undone": UNDONE,
    "deleted and added again": [*PUSHED, Deleted(80, "ada"), Stored(90, "a", "g", "ada", "pushed")],
    "deleted while started": [
        *LANDED,
        Deleted(80, "ada"),
        Stored(90, "a", "g", "ada", "started", started_at=10),
        LookedUp(190, "a", "g", 1),
    ],
    "deleted while pending": [*STORED, Deleted(80, "ada"), Stored(90, "a", "g", "ada"), Started(91, "a", "g")],
    "added again after an undo": [
        *UNDONE,
        Deleted(90, "ada"),
        Stored(91, "a", "g", "ada"),
        Started(92, "a", "g"),
        Sent(92, "a", "g"),
        Landed(93, "g", 2),
    ],
}

FORBIDDEN: dict[str, tuple[list[Event], str]] = {
    "a lease that is not over": ([*STORED, RenewLease(20, "a"), TakeLease(139, "b")], "takes the lease of run a"),
    "a lost lease is renewed": ([*STORED, *TAKEN_OVER, RenewLease(131, "a")], "renews a lease"),
    "`started` without the lease": ([*STORED, *TAKEN_OVER, Started(131, "a", "g")], "without the lease"),
    "an outcome without the lease": ([*LANDED, *TAKEN_OVER, Outcome(131, "a", "g", "pushed", 1)], "without the lease"),
    "a look-up without the lease": ([*LANDED, *TAKEN_OVER, LookedUp(190, "a", "g", 1)], "without the lease"),
    "an undo without the lease": ([*PUSHED, Removed(80, 1), *TAKEN_OVER, Undone(131, "a", "g")], "without the lease"),
    "stored without the lease": ([Stored(0, "a", "g", "ada")], "without the lease"),
    "started twice": ([*STARTED, Started(11, "a", "g")], "is started, not pending"),
    "a pushed gist is started": ([*PUSHED, Started(80, "a", "g")], "is pushed, not pending"),
    "an undone gist is started": ([*UNDONE, Started(90, "a", "g")], "is skipped, not pending"),
    "a POST without `started`": ([*STORED, Sent(10, "a", "g")], "without a committed `started`"),
    "a POST of another run": ([*STARTED, Sent(10, "b", "g")], "without a committed `started`"),
    "a second POST": ([*SENT, Sent(70, "a", "g")], "without a committed `started`"),
    "a POST after it was not sent": (
        [*STARTED, Outcome(20, "a", "g", "pending"), Sent(21, "a", "g")],
        "without a committed `started`",
    ),
    "a late POST": ([*STARTED, Sent(71, "a", "g")], "leaves 61 s after `started`"),
    "an activity without a POST": ([*STARTED, Landed(11, "g", 1)], "created without a POST"),
    "two activities": (
        [*SENT_TWICE, Landed(192, "g", 1), Landed(193, "g", 2)],
        "has the activities [1, 2]",
    ),
    "the activity of another gist": (
        [*LANDED, Stored(72, "a", "h", "ada"), Started(73, "a", "h"), Outcome(74, "a", "h", "pushed", 1)],
        "is not that of gist h",
    ),
    "pending after a lost response": ([*SENT, Outcome(80, "a", "g", "pending")], "its POST may have arrived"),
    "an early look-up": ([*LANDED, LookedUp(189, "a", "g", 1)], "is looked up 1 s too soon"),
    "an early look-up after a lost response": ([*UNKNOWN, LookedUp(191, "a", "g", 1)], "is looked up 1 s too soon"),
    "an early look-up after an addition": (
        [
            *LANDED,
            Deleted(80, "ada"),
            Stored(90, "a", "g", "ada", "started", started_at=10),
            LookedUp(189, "a", "g", 1),
        ],
        "is looked up 1 s too soon",
    ),
    "an activity that is overlooked": ([*LANDED, LookedUp(190, "a", "g")], "pending, although activity 1 exists"),
    "an unknown activity is found": ([*LANDED, LookedUp(190, "a", "g", 7)], "activity 7 is not that of gist g"),
    "a pending gist is looked up": ([*STORED, LookedUp(190, "a", "g")], "is pending, not started"),
    "a pushed gist is compared": ([*PUSHED, Compared(80, "a", "g", 1)], "is pushed, not pending"),
    "another activity is compared": ([*STORED, Compared(80, "a", "g", 7)], "activity 7 is not that of gist g"),
    "compared without the lease": ([*LANDED, *TAKEN_OVER, Compared(131, "a", "g", 1)], "without the lease"),
    "a started gist is skipped": ([*STARTED, Skipped(20, "g")], "is started, not pending"),
    "a pushed gist is pushed again": ([*PUSHED, PushedAgain(80, "g")], "is pushed, not skipped"),
    "a pushed gist is forgotten": (
        [*PUSHED, Deleted(80, "ada"), Stored(90, "a", "g", "ada")],
        "stored again as pending, but was pushed",
    ),
    "a started gist is forgotten": (
        [*LANDED, Deleted(80, "ada"), Stored(90, "a", "g", "ada")],
        "stored again as pending, but was started",
    ),
    "the time of `started` is forgotten": (
        [*LANDED, Deleted(80, "ada"), Stored(90, "a", "g", "ada", "started", started_at=90)],
        "another time of `started`",
    ),
    "stored twice": ([*STORED, Stored(1, "a", "g", "ada")], "is pending, not new"),
    "undone before the activity is deleted": ([*PUSHED, Undone(80, "a", "g")], "undone, but activity 1 exists"),
    "a started gist is undone": ([*LANDED, Removed(80, 1), Undone(81, "a", "g")], "is started, not pushed"),
    "an activity after an undo": (
        [
            *SENT_TWICE,
            Landed(192, "g", 1),
            Outcome(193, "a", "g", "pushed", 1),
            Removed(194, 1),
            Undone(195, "a", "g"),
            Landed(196, "g", 2),
        ],
        "pushed again after it was undone",
    ),
}


@pytest.mark.parametrize("events", ALLOWED.values(), ids=ALLOWED)
def test_what_the_protocol_does_is_allowed(events: list[Event]) -> None:
    assert find_violations(events, LIMITS) == []


@pytest.mark.parametrize(("events", "words"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_what_the_model_forbids_is_reported(events: list[Event], words: str) -> None:
    violations = find_violations(events, LIMITS)

    assert find_violations(events[:-1], LIMITS) == []
    assert words in " ".join(violations)
    assert all(f"event {len(events)}:" in violation for violation in violations)
