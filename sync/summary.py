"""What a run did and how it ended, in numbers and words."""

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from people.models import Gist, Person
from sync.clients.errors import CircuitOpenError, ConfigurationError, OutageError
from sync.models import SyncRun

log = logging.getLogger(__name__)
MAX_PROBLEMS = 100
Outcome = SyncRun.Outcome
TOLD = (
    ("people_polled", "people polled"),
    ("people_unchanged", "unchanged"),
    ("people_gone", "gone"),
    ("people_conflict", "in conflict"),
    ("people_failed", "failed"),
    ("gists_new", "gists new"),
    ("gists_edited", "edited"),
    ("gists_removed", "removed"),
    ("gists_skipped", "skipped"),
    ("gists_pushed", "activities made"),
    ("activities_edited", "activities edited"),
    ("gists_found", "found at Pipedrive"),
    ("gists_again", "to be pushed again"),
    ("gists_unclear", "unclear"),
    ("gists_rejected", "rejected"),
)
FAILURES = ("people_failed", "gists_rejected", "gists_unclear")


@dataclass
class Report:
    """`problems`: at most a hundred lines about what went wrong. `cut_short`: a limit of its own ended the run."""

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    cut_short: bool = False

    def problem(self, what: str, person: Person | None = None, gist: Gist | None = None) -> None:
        extra = {"person": person and person.github_username, "gist": gist and gist.github_id}
        about = [str(person)] if person else []
        about += [f"gist {gist.github_id}"] if gist else []
        line = ": ".join([*([", ".join(about)] if about else []), what])
        log.warning("%s", line, extra={name: value for name, value in extra.items() if value})
        if len(self.problems) < MAX_PROBLEMS and line not in self.problems:
            self.problems.append(line)

    def told(self) -> dict[str, int]:
        """Every count, also those that are nought."""
        return {name: self.counts[name] for name, _ in TOLD}

    def sentence(self) -> str:
        return ", ".join(f"{self.counts[name]} {words}" for name, words in TOLD if self.counts[name])

    def outcome(self, ended: list[CircuitOpenError], *, told_to_stop: bool) -> Outcome:
        """How the run ended, the gravest first."""
        if any(isinstance(error, ConfigurationError) for error in ended):
            return Outcome.MISCONFIGURED
        if told_to_stop:
            return Outcome.STOPPED
        if any(isinstance(error, OutageError) for error in ended) or any(self.counts[name] for name in FAILURES):
            return Outcome.FAILED
        if ended:
            return Outcome.RATE_LIMITED
        return Outcome.STOPPED if self.cut_short else Outcome.SUCCEEDED


def remaining(told: dict[str, Any], requests: int, error: CircuitOpenError | None) -> dict[str, Any]:
    """What a run's row keeps about one API."""
    free_at = error.free_at.isoformat() if error and error.free_at else None
    return {**told, "requests": requests, "ended": str(error) if error else "", "free_at": free_at}
