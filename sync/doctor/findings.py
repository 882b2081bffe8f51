"""What `manage.py doctor` finds: a line for each thing that it looked at, with what to do."""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from gisttracker.config import logs
from gisttracker.config.environment import EX_CONFIG, EX_FAILED
from sync.clients.errors import (
    CircuitOpenError,
    ConfigurationError,
    CredentialsError,
    InvalidResponseError,
    OutageError,
    RejectedError,
    RunStoppedError,
    SyncError,
)
from sync.clients.transport import Timing

MAX_SECONDS = 15.0  # of a check; a request that is under way then gets five more
TIMING = Timing(read=10, total=12, retry=0.1)


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Finding:
    """`action`: what to do, if anything. `exit_code`: of the command; 0 unless it is a problem."""

    level: Level
    text: str
    action: str = ""
    exit_code: int = 0
    subject: str = ""  # what was checked

    def __str__(self) -> str:
        return ". ".join(
            part.rstrip(".") for part in (f"{self.level}: {self.subject}: {self.text}", self.action) if part
        )


Check = Callable[[threading.Event], Iterator[Finding]]  # It sends no request once the event is set.


@dataclass(frozen=True)
class Advice:
    """What to do when requests fail, or when their token is refused."""

    address: str = ""
    token: str = ""


def ok(text: str, action: str = "") -> Finding:
    return Finding(Level.OK, text, action)


def warning(text: str, action: str = "") -> Finding:
    return Finding(Level.WARNING, text, action)


def problem(text: str, action: str = "", exit_code: int = EX_CONFIG) -> Finding:
    return Finding(Level.PROBLEM, text, action, exit_code)


def examine(checks: Mapping[str, Check], advice: Advice) -> Iterator[Finding]:
    """What these checks find, by subject. The others need what the first one checks: its problem leaves them out."""
    for number, (subject, check) in enumerate(checks.items()):
        has_problem = False
        for finding in _contain(check, advice):
            has_problem |= finding.level == Level.PROBLEM
            text, action = (" ".join(logs.redact(part).split()) for part in (finding.text, finding.action))
            yield replace(finding, subject=subject, text=text, action=action)
        if has_problem and number == 0:
            for left_out in list(checks)[1:]:
                yield Finding(Level.NOT_CHECKED, f"it needs {subject}", subject=left_out)
            return


def _contain(check: Check, advice: Advice) -> Iterator[Finding]:
    """Whatever goes wrong in a check, or lasts too long, is one more finding."""
    stopping = threading.Event()
    timer = threading.Timer(MAX_SECONDS, stopping.set)
    timer.daemon = True
    timer.start()
    try:
        yield from check(stopping)
    except Exception as error:
        yield _explain(error, advice)
    finally:
        timer.cancel()


def _explain(error: Exception, advice: Advice) -> Finding:
    if isinstance(error, RunStoppedError):
        return problem(f"there was no complete answer within {MAX_SECONDS:g} s", advice.address, EX_FAILED)
    if isinstance(error, CredentialsError):
        return problem(str(error), advice.token)
    if isinstance(error, ConfigurationError):
        return problem(str(error))  # Its message has the action.
    if isinstance(error, RejectedError | InvalidResponseError):
        return problem(str(error), advice.address)
    if isinstance(error, CircuitOpenError) and not isinstance(error, OutageError):  # a limit is used up
        return problem(str(error), "Repeat this command then", EX_FAILED)
    if isinstance(error, SyncError):
        return problem(str(error), advice.address, EX_FAILED)
    return problem(f"the check ended with {type(error).__name__}: {error}", "Please report this defect", EX_FAILED)
