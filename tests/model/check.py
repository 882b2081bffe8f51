"""Check the model of the outbox protocol: python -m tests.model.check [NAME ...]

SPIN tries every order of events in tests/model/outbox.pml, with the constants of the code: the protocol itself must
have no error, and each mutation, which removes one of its rules, must have one. With a NAME of a mutation: print its
counterexample, which is the shortest order of events that leads to the error, or events that repeat for ever.
"""

import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

MODEL = Path(__file__).with_name("outbox.pml")
TICK_SECONDS = 30
# Assumed of Pipedrive: an activity is in its lists so long after the POST was sent, at the latest. The settle time is
# longer by a tick.
SHOWN_SECONDS = 90
MAX_MEGABYTES = 4000
MAX_DEPTH = 2_000_000
CYCLE = "<<<<<START OF CYCLE>>>>>"


class Property(Enum):
    SAFETY = "safety"  # never two activities, none after an undo
    LIVENESS = "liveness"  # pushed in the end


@dataclass(frozen=True)
class Constants:
    """Seconds."""

    send: float
    settle: float
    lease: float
    shown: float = SHOWN_SECONDS

    def in_ticks(self, checked: Property) -> dict[str, int]:
        """What does not fit into whole ticks is rounded to the side on which the protocol is weaker."""
        is_late = checked is Property.SAFETY
        return {
            "SEND": (math.ceil if is_late else math.floor)(self.send / TICK_SECONDS),
            "SETTLE": math.floor(self.settle / TICK_SECONDS),
            "LEASE": math.floor(self.lease / TICK_SECONDS),
            "SHOWN": math.ceil(self.shown / TICK_SECONDS),
        }


def read_constants() -> Constants:
    """As the code has them."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    from gisttracker.config import settings

    return Constants(send=settings.SEND_SECONDS, settle=settings.SETTLE_SECONDS, lease=settings.LEASE_SECONDS)


@dataclass(frozen=True)
class Mutation:
    """A rule that is removed, and what must fail without it."""

    name: str
    breaks: Property
    words: str
    is_found: bool = True  # Without the rule there is an error.

    def verify(self, constants: Constants) -> "Result":
        is_short = self.is_found and self.breaks is Property.SAFETY
        return verify(constants, self.breaks, self.name, shortest=is_short)


MUTATIONS = [
    Mutation("NO_STARTED", Property.SAFETY, "`started` is not committed before the POST"),
    Mutation("NO_DEADLINE", Property.SAFETY, "a POST is sent however long after `started`"),
    Mutation("DEADLINE_FROM_HANDING_OUT", Property.SAFETY, "the deadline counts from when the thread gets its step"),
    Mutation("NO_SETTLE", Property.SAFETY, "Pipedrive's lists are believed at once"),
    Mutation("SETTLE_FROM_STARTED", Property.SAFETY, "the settle time counts from `started`"),
    Mutation("UNKNOWN_IS_FAILED", Property.SAFETY, "without a clear response the gist is pending again"),
    Mutation("NO_FENCING", Property.SAFETY, "a run writes without checking its token"),
    Mutation("FORGET_ON_DELETE", Property.SAFETY, "a deleted person leaves nothing"),
    Mutation("FORGET_STARTED_ON_DELETE", Property.SAFETY, "a deleted person leaves ids, but nothing of started gists"),
    Mutation("FORGET_TIME_ON_DELETE", Property.SAFETY, "a deleted person leaves started gists without their time"),
    Mutation("UNDO_WITHOUT_LEASE", Property.SAFETY, "an undo writes without the lease"),
    Mutation("UNDO_MAKES_PENDING", Property.SAFETY, "an undone gist is pending"),
    Mutation("NO_LEASE_CHECK", Property.LIVENESS, "a run takes the lease of one that works"),
    Mutation("NO_EXPIRY", Property.LIVENESS, "a lease is never over"),
    Mutation("NEVER_LOOK_UP", Property.LIVENESS, "started gists are never looked up"),
]
# Without these the model has no error either: the code has them as a second line of defence.
SECOND_LINES = [
    Mutation("NO_OWN_LEASE", Property.SAFETY, "a step sends although the lease is over by its clock", is_found=False),
    Mutation("NO_ATTEMPT_CHECK", Property.SAFETY, "a response is stored for any push_started_at", is_found=False),
]


@dataclass(frozen=True)
class Result:
    errors: int
    is_complete: bool  # Every state was visited.
    states: int
    seconds: float
    megabytes: float
    cause: str  # of the error
    unreached: frozenset[str]  # statements of Run and Step
    story: list[str]  # the counterexample's events, as the model prints them

    def __str__(self) -> str:
        outcome = f"error: {self.cause}" if self.errors else "no error" if self.is_complete else "not completed"
        return f"{outcome}; {self.states:,} states, {self.seconds:.1f} s, {self.megabytes:.0f} MB"


def verify(constants: Constants, checked: Property, *flags: str, shortest: bool = False) -> Result:
    """Search all states of the model for an error. `flags`: names of mutations.

    `shortest`: find the shortest counterexample, in more memory; without an error there is not enough of it.
    """
    is_liveness = checked is Property.LIVENESS
    started_at = time.monotonic()
    defines = [f"-D{name}={ticks}" for name, ticks in constants.in_ticks(checked).items()]
    defines += [f"-D{flag}" for flag in (*flags, *(["LIVENESS"] if is_liveness else []))]
    options = ["-DNFAIR=3"] if is_liveness else ["-DSAFETY", *(["-DBFS"] if shortest else [])]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(MODEL, folder)
        _run(folder, "spin", "-a", *defines, MODEL.name)
        _run(folder, "gcc", "-O2", "-w", "-DCOLLAPSE", f"-DMEMLIM={MAX_MEGABYTES}", *options, "-o", "pan", "pan.c")
        output = _run(folder, "./pan", f"-m{MAX_DEPTH}", *(["-a", "-f"] if is_liveness else []))
        has_trail = (Path(folder) / f"{MODEL.name}.trail").exists()
        story = _events(_run(folder, "spin", "-t", *defines, MODEL.name)) if has_trail else []
        story = story[story.index(CYCLE) + 1 :] if CYCLE in story else story
    return _read(output, story, time.monotonic() - started_at)


def simulate(constants: Constants, seed: int, steps: int) -> list[str]:
    """Events of the protocol in a random order."""
    defines = [f"-D{name}={ticks}" for name, ticks in constants.in_ticks(Property.SAFETY).items()]
    return _events(_run(str(MODEL.parent), "spin", f"-n{seed}", f"-u{steps}", *defines, MODEL.name))


def _events(output: str) -> list[str]:
    """What the model prints, without SPIN's own lines."""
    lines = (line.strip() for line in output.split("#processes")[0].splitlines())
    return [line for line in lines if line == CYCLE or re.fullmatch(r"[a-z_]+( \d( [a-z]+)?)?", line)]


def _run(folder: str, *command: str) -> str:
    if missing := [name for name in ("spin", "gcc") if not shutil.which(name)]:
        raise RuntimeError(f"The check of the model needs {' and '.join(missing)}: apt-get install spin gcc")
    completed = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if completed.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{completed.stdout}{completed.stderr}")
    return completed.stdout


def _read(output: str, story: list[str], seconds: float) -> Result:
    """The report of `pan`."""

    def number(pattern: str) -> float:
        found = re.search(pattern, output)
        if not found:
            raise RuntimeError(f"The report of pan has no {pattern!r}:\n{output}")
        return float(found[1])

    cause = re.search(r"^pan:1: (.*?) \(at depth", output, re.MULTILINE)
    unreached = re.findall(r"^unreached in proctype (?:Run|Step)\n((?:\t.*\n)+)", output, re.MULTILINE)
    return Result(
        errors=int(number(r"errors: (\d+)")),
        is_complete="not completed" not in output and "depth too small" not in output,
        states=int(number(r"(\d+) states, stored")),
        seconds=seconds,
        megabytes=number(r"([\d.]+)\ttotal actual memory usage"),
        cause=cause[1] if cause else "",
        unreached=frozenset(re.findall(r'state \d+, "(.*)"', "".join(unreached))),
        story=story,
    )


def main(names: list[str]) -> int:
    """Print a line for each check. Returns the number of surprises."""
    constants = read_constants()
    print(f"{constants}; a tick is {TICK_SECONDS} s")
    surprises = 0
    for checked in [] if names else Property:
        result = verify(constants, checked)
        surprises += result.errors or not result.is_complete
        print(f"the protocol, {checked.value}: {result}", flush=True)
    for mutation in MUTATIONS + SECOND_LINES:
        if names and mutation.name not in names:
            continue
        result = mutation.verify(constants)
        surprises += bool(result.errors) is not mutation.is_found
        print(f"{mutation.name} ({mutation.words}), {mutation.breaks.value}: {result}", flush=True)
        print(*(f"    {line}" for line in result.story if names), sep="\n", end="\n" if names else "")
    return surprises


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
