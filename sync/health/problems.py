"""What can be wrong with the service: the problems, their severity, and which of them explains which."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sync.models import Alarm
from sync.reasons import MAX_LINES, MAX_NAMES, Group, cut_lines

Severity = Alarm.Severity


class Code(StrEnum):
    """What is wrong, for programs: the label of the metric, and the code of an alarm."""

    NOT_RUNNING = "not_running"
    CANNOT_START = "cannot_start"
    RUNS_CRASH = "runs_crash"
    GITHUB_REFUSED = "github_refused"
    PIPEDRIVE_REFUSED = "pipedrive_refused"
    NO_GITHUB_TOKEN = "no_github_token"  # noqa: S105  # no secret
    POLLS_STALE = "polls_stale"
    BACKLOG_STALE = "backlog_stale"
    PEOPLE_FAILING = "people_failing"
    GISTS_FAILING = "gists_failing"
    API_SUNSET = "api_sunset"
    REJECTED_JUMP = "rejected_jump"
    GONE_JUMP = "gone_jump"
    STREAM_DEGRADED = "stream_degraded"
    GITHUB_TOKEN_EXPIRES = "github_token_expires"  # noqa: S105  # no secret
    API_KEYS_EXPIRE = "api_keys_expire"


# An alarm about these is raised again when its message changes, because then something else ends.
ENDS = {Code.GITHUB_TOKEN_EXPIRES, Code.API_KEYS_EXPIRE}
TICKETS = ENDS | {
    Code.PEOPLE_FAILING,
    Code.GISTS_FAILING,
    Code.API_SUNSET,
    Code.REJECTED_JUMP,
    Code.GONE_JUMP,
    Code.STREAM_DEGRADED,
}
# What becomes old without runs.
STALE = {
    Code.POLLS_STALE,
    Code.BACKLOG_STALE,
    Code.PEOPLE_FAILING,
    Code.GISTS_FAILING,
    Code.STREAM_DEGRADED,
}
# A problem explains those listed here, which are not reported beside it.
EXPLAINS = {
    Code.NOT_RUNNING: STALE,
    Code.CANNOT_START: STALE,
    Code.RUNS_CRASH: STALE,
    Code.GITHUB_REFUSED: {
        Code.POLLS_STALE,
        Code.PEOPLE_FAILING,
        Code.NO_GITHUB_TOKEN,
        Code.GITHUB_TOKEN_EXPIRES,
        Code.STREAM_DEGRADED,
    },
    Code.PIPEDRIVE_REFUSED: {Code.BACKLOG_STALE, Code.GISTS_FAILING},
    Code.NO_GITHUB_TOKEN: {Code.POLLS_STALE, Code.PEOPLE_FAILING},
}


class HealthState(StrEnum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"  # only tickets: single people, or something that will matter later
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True)
class HealthProblem:
    """`summary`: what is wrong, and why; `action`: what to do; `groups`: the people and gists concerned, by reason."""

    code: Code
    summary: str
    action: str
    since: datetime | None = None
    groups: tuple[Group, ...] = ()
    is_urgent: bool = False  # a page, although its code is that of a ticket

    @property
    def severity(self) -> Alarm.Severity:
        return Severity.TICKET if self.code in TICKETS and not self.is_urgent else Severity.PAGE

    @property
    def message(self) -> str:
        """The summary, a line for each reason, and what to do; without the names of `people`."""
        reasons = [f"- {line}" for line in cut_lines([group.text for group in self.groups])]
        return "\n".join(line for line in [self.summary, *reasons, self.action] if line)

    @property
    def people(self) -> list[int]:
        """The keys of the people that a message names."""
        return [key for group in self.groups[:MAX_LINES] for key in list(group.names)[:MAX_NAMES]]


@dataclass(frozen=True)
class Health:
    problems: tuple[HealthProblem, ...] = ()  # the most severe first
    explained: frozenset[Code] = frozenset()  # problems that exist, too, and follow from those

    @property
    def state(self) -> HealthState:
        if any(problem.severity == Severity.PAGE for problem in self.problems):
            return HealthState.UNHEALTHY
        return HealthState.DEGRADED if self.problems else HealthState.HEALTHY
