"""Refusals of Pipedrive in a row: are they about one person or gist, or about us?

The same refusal for ten different people, without a success in between, is about us: a missing permission, a required
field, a wrong address. Then that part of the work ends, nothing is rejected, and nothing counts against anybody.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from django.utils.translation import ngettext

from people.models import Person
from sync.clients.errors import ConfigurationError, RejectedError
from sync.few import FEW

VALUE = re.compile(r"""\d+|'[^']*'|"[^"]*\"""")
MAX_PEOPLE = 10  # in a row
COLUMNS = ["push_attempted_at", "push_failures", "push_failing_since", "push_error", "next_push_at"]


class Part(StrEnum):
    """What is refused. The values complete the sentence "Pipedrive refused to ..."."""

    LOOK_UP = "look up persons"
    CONFIRM = "show the given persons"
    CREATE_PERSON = "create persons"
    LIST = "list activities"
    CREATE = "create activities"
    UPDATE = "update activities"


@dataclass
class Streak:
    """People who were refused a part of the work for the same reason, and their columns before."""

    part: Part
    message: str
    people: dict[int, dict[str, Any]] = field(default_factory=dict)


def same_reason(error: Exception | str) -> str:
    """Equal for refusals with the same status and reason, whatever ids and values they name."""
    status = error.status if isinstance(error, RejectedError) else 0
    return f"{status} {VALUE.sub('…', str(error))}"


class Streaks:
    """The refusals of one run since the last success of each part. Called in the main thread."""

    def __init__(self) -> None:
        self._streaks: dict[tuple[Part, str], Streak] = {}
        self.blocked: dict[Part, ConfigurationError] = {}  # parts that are refused for a reason that is about us

    def refuse(self, part: Part, person: Person, error: Exception | str) -> None:
        streak = self._streaks.setdefault((part, same_reason(error)), Streak(part, str(error)))
        streak.people.setdefault(person.pk, {name: getattr(person, name) for name in COLUMNS})
        if len(streak.people) >= MAX_PEOPLE:
            self._block(streak)

    def succeed(self, part: Part) -> None:
        """The refusals of this part so far were about single people and gists."""
        self._streaks = {key: streak for key, streak in self._streaks.items() if streak.part != part}

    def end(self) -> None:
        """Nothing else is left to do: more than a few refusals in a row are about us."""
        for streak in self._streaks.values():
            if len(streak.people) > FEW:
                self._block(streak)

    def take_back(self, *, all_parts: bool) -> dict[int, dict[str, Any]]:
        """The columns, as they were before, of people whose refusals do not count against them."""
        return {
            key: columns
            for streak in self._streaks.values()
            if all_parts or streak.part in self.blocked
            for key, columns in streak.people.items()
        }

    def _block(self, streak: Streak) -> None:
        number = ngettext("%d person", "%d people", len(streak.people)) % len(streak.people)
        error = ConfigurationError(
            f"Pipedrive refused to {streak.part} for {number} in a row for the same reason; nothing was rejected. "
            f"Check the permissions of PIPEDRIVE_TOKEN's user, required fields, and PIPEDRIVE_API_URL. {streak.message}"
        )
        self.blocked.setdefault(streak.part, error)
