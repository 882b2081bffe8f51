"""Failures grouped by reason, so that one cause is one line however many people and gists it is about."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.utils.translation import ngettext

MAX_NAMES = 5  # people named in a line
# Ids, times and quoted values differ between responses about the same thing.
VARIABLE_PART = re.compile(r"\d[\d:.,-]*\d|\d+|'[^']*'|\"[^\"]*\"")
STATUS = re.compile(r"returned (\d{3})\b")


@dataclass(frozen=True)
class Failure:
    """A failed poll or push of a person; `gists` is the number of gists that wait because of it."""

    login: str
    reason: str
    first: datetime | None = None
    last: datetime | None = None
    gists: int = 0


@dataclass
class Group:
    """Failures with the same reason. `reason` is that of the first of them, with LOGIN for the logins of several."""

    reason: str
    logins: list[str] = field(default_factory=list)
    gists: int = 0
    first: datetime | None = None
    last: datetime | None = None

    def add(self, failure: Failure) -> None:
        if self.logins and failure.login not in self.logins:
            self.reason = without_login(self.reason, self.logins[0])
        if failure.login not in self.logins:
            self.logins.append(failure.login)
        self.gists += failure.gists
        self.first = min((moment for moment in (self.first, failure.first) if moment), default=None)
        self.last = max((moment for moment in (self.last, failure.last) if moment), default=None)

    @property
    def people(self) -> int:
        return len(self.logins)

    def __str__(self) -> str:
        """ "25 gists of 8 people since 2026-11-26 18:08 UTC, last tried 21:00: reason (@ada, @ben and 6 more)" """
        people = ngettext("%d person", "%d people", self.people) % self.people
        gists = f"{ngettext('%d gist', '%d gists', self.gists) % self.gists} of " if self.gists else ""
        since = f" since {format_time(self.first)}" if self.first else ""
        last = f", last tried {format_time(self.last)}" if self.last and self.last != self.first else ""
        return f"{gists}{people}{since}{last}: {self.reason} ({self._format_names()})"

    def _format_names(self) -> str:
        named = [f"@{login}" for login in self.logins[:MAX_NAMES]]
        more = self.people - len(named)
        return ", ".join(named) + (f" and {more} more" if more else "")


def group_failures(failures: Iterable[Failure]) -> list[Group]:
    """The failures by reason, the reason of most people first."""
    groups: dict[tuple[str, str], Group] = {}
    for failure in failures:
        groups.setdefault(_key(failure), Group(failure.reason)).add(failure)
    return sorted(groups.values(), key=lambda group: (-group.people, -group.gists))


def _key(failure: Failure) -> tuple[str, str]:
    """Equal for failures with the same status and words, whatever login, ids and times they name."""
    return reason_key(without_login(failure.reason, failure.login))


def without_login(reason: str, login: str) -> str:
    """The reason with LOGIN in the place of this login, where it is a word of its own."""
    return re.sub(rf"(?<![\w-]){re.escape(login)}(?![\w-])", "LOGIN", reason)


def reason_key(reason: str) -> tuple[str, str]:
    status = STATUS.search(reason)
    return status[1] if status else "", VARIABLE_PART.sub("…", reason)


def format_time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def format_duration(time: timedelta) -> str:
    """ "2 days 3 h", "6 h 30 min", "5 min" """
    minutes = max(round(time.total_seconds() / 60), 0)
    if minutes >= 48 * 60:
        return f"{minutes // 1440} days {minutes % 1440 // 60} h"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
