"""What a run did and its outcome, in numbers, and the problems that it met."""

import logging
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Literal

from gisttracker.config.logs import redact
from people.models import Gist, Person
from sync.clients.errors import CircuitOpenError, ConfigurationError, OutageError, SyncError
from sync.few import is_few
from sync.models import Problem, SyncRun

log = logging.getLogger(__name__)
Outcome = SyncRun.Outcome
# name: singular, plural
COUNTERS = {
    "people_hinted": ("person hinted at", "people hinted at"),
    "people_polled": ("person polled", "people polled"),
    "people_unchanged": ("unchanged", "unchanged"),
    "people_gone": ("gone", "gone"),
    "people_conflict": ("in conflict", "in conflict"),
    "people_failed": ("person failed", "people failed"),
    "gists_new": ("new gist", "new gists"),
    "gists_edited": ("edited gist", "edited gists"),
    "gists_removed": ("removed gist", "removed gists"),
    "gists_skipped": ("gist skipped", "gists skipped"),
    "gists_pushed": ("activity created", "activities created"),
    "activities_edited": ("activity updated", "activities updated"),
    "gists_found": ("activity found at Pipedrive", "activities found at Pipedrive"),
    "gists_retried": ("gist to push again", "gists to push again"),
    "gists_unknown": ("push with unknown outcome", "pushes with unknown outcome"),
    "gists_rejected": ("gist rejected", "gists rejected"),
}
Work = Literal["poll", "push", "gist"]
ProblemKey = tuple[Problem.Code, int | None, int | None, str]  # code, person, gist and reason


class Summary:
    """Counters and problems of a run. Only its main thread uses it.

    `limit_reached`: one of the run's own limits (--max-people, --max-minutes) ended it.
    """

    def __init__(self) -> None:
        self.limit_reached = self.has_problems = False
        self._counts: Counter[str] = Counter()
        self._succeeded: Counter[Work] = Counter()
        self._failed: Counter[Work] = Counter()
        self._problems: Counter[ProblemKey] = Counter()  # that are not written yet

    def add(self, counts: Mapping[str, int]) -> None:
        self._counts.update(counts)

    def count(self, counter: str) -> None:
        self.add({counter: 1})

    def note(self, work: Work, *, succeeded: int = 0, failed: int = 0) -> None:
        """Count attempts by their result; together they decide whether the run has failed."""
        self._succeeded[work] += succeeded
        self._failed[work] += failed

    def has_attempted(self, work: Work) -> bool:
        return bool(self._succeeded[work] or self._failed[work])

    def fail(self, work: Work, person: Person, reason: str) -> None:
        """The poll or the push of a person failed."""
        self.count("people_failed")
        self.note(work, failed=1)
        self.problem(reason, person=person, code=Problem.Code(work))

    def problem(
        self, reason: str, person: Person | None = None, gist: Gist | None = None, code: Problem.Code | None = None
    ) -> None:
        """Log a problem, and keep it until it is written. The reason must name no person and no gist."""
        code = code or (Problem.Code.GIST if gist else Problem.Code.PERSON if person else Problem.Code.RUN)
        extra = {"person": person and person.github_username, "gist": gist and gist.github_id}
        subject = [str(person)] if person else []
        subject += [f"gist {gist.github_id}"] if gist else []
        reason = redact(reason)[:500]
        line = ": ".join([*([", ".join(subject)] if subject else []), reason])
        log.warning("%s", line, extra={name: value for name, value in extra.items() if value})
        self.has_problems = True
        self._problems[code, person.pk if person else None, gist.pk if gist else None, reason] += 1

    def withdraw(self, people: Collection[int], codes: Collection[Problem.Code]) -> None:
        """Drop these problems of these people, as far as they are not written."""
        self._problems = Counter(
            {key: count for key, count in self._problems.items() if not (key[0] in codes and key[1] in people)}
        )

    def unwritten_problems(self) -> Counter[ProblemKey]:
        """How often each problem was met since it was written last."""
        return self._problems.copy()

    def drop_problems(self, written: Counter[ProblemKey]) -> None:
        self._problems -= written

    def counts(self) -> dict[str, int]:
        """All counters, including zeros."""
        return {name: self._counts[name] for name in COUNTERS}

    def format_counts(self) -> str:
        """ "1 person polled, 2 new gists": all counters that are not zero."""
        return format_counts(self.counts())

    def outcome(self, circuit_errors: list[CircuitOpenError], *, was_stopped: bool) -> Outcome:
        """The run's outcome; the most severe one wins."""
        if any(isinstance(error, ConfigurationError) for error in circuit_errors):
            return Outcome.MISCONFIGURED
        if was_stopped:
            return Outcome.STOPPED
        if self._has_failed() or any(isinstance(error, OutageError) for error in circuit_errors):
            return Outcome.FAILED
        if circuit_errors:
            return Outcome.RATE_LIMITED
        return Outcome.STOPPED if self.limit_reached else Outcome.SUCCEEDED

    def _has_failed(self) -> bool:
        """Has a kind of work failed for all, or for more than a few? Single people in trouble are not a failed run."""
        return any(
            failed and (not self._succeeded[work] or not is_few(failed, failed + self._succeeded[work]))
            for work, failed in self._failed.items()
        )


def format_counts(counts: Mapping[str, int]) -> str:
    """ "1 person polled, 2 new gists": all counters that are not zero."""
    known = [(counts.get(name, 0), words) for name, words in COUNTERS.items()]
    return ", ".join(f"{count} {words[count != 1]}" for count, words in known if count)


def describe_error(person: Person | None, error: Exception | None) -> str:
    """What to write on the row of a person whose poll or push failed."""
    if isinstance(error, SyncError):
        return redact(str(error))
    log.error("%s: unexpected error", person or "a run", exc_info=error)
    return f"Unexpected {type(error).__name__}; the log has the traceback."
