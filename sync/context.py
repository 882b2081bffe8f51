"""What every step of a run shares: its options, clients, clock and summary."""

import threading
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from django.db import transaction

from sync.clients.errors import CircuitOpenError
from sync.clients.github import GitHubClient
from sync.clients.pipedrive import PipedriveClient
from sync.clock import Clock
from sync.models import Problem
from sync.summary import Summary


@dataclass(frozen=True)
class Options:
    """What a run does. A `max_...` of 0 means unlimited."""

    people: tuple[str, ...] = ()  # logins; empty means everyone
    requested_only: bool = False  # only new, requested and hinted people
    full: bool = False  # read every list without ETags
    max_people: int = 0
    max_activities: int = 0
    max_activities_per_day: int = 0
    max_seconds: float = 0
    concurrency: int = 8
    backfill: str = "all"  # of people without a choice of their own; see gisttracker.common.backfill
    activity_type: str = "task"
    activity_done: bool = True
    activity_owner: str = "token"  # or person, or the id of a Pipedrive user
    github_field: str = ""  # the key or name of the custom field for the GitHub id; see sync.crm.github_field
    push_edits: bool = False


@dataclass(frozen=True)
class RunContext:
    """What the main thread of a run shares; its threads use the clients only."""

    run_id: int
    options: Options
    github: GitHubClient
    pipedrive: PipedriveClient
    clock: Clock
    writing: Callable[[], AbstractContextManager[None]] = transaction.atomic  # see sync.run.lease
    stopping: threading.Event = field(default_factory=threading.Event)
    summary: Summary = field(default_factory=Summary)
    errors: list[CircuitOpenError] = field(default_factory=list)  # that ended a part of the work with an API
    stored_states: set[str] = field(default_factory=set)  # APIs whose trouble is stored already; see sync.run.api_state

    def withdraw_problems(self, people: Collection[int], *codes: Problem.Code) -> None:
        """They were not about these people. To be called in a transaction."""
        self.summary.withdraw(people, codes)
        Problem.objects.filter(run=self.run_id, person__in=people, code__in=codes).delete()

    @property
    def is_round(self) -> bool:
        """Is this a run for all people?"""
        return not self.options.people and not self.options.requested_only

    @property
    def circuit_errors(self) -> list[CircuitOpenError]:
        """Why the run stopped calling an API, or a part of it."""
        errors = (api.circuit.error for api in (self.github.api, self.pipedrive.api))
        return [error for error in [*errors, *self.errors] if error]
