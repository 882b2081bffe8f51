"""Pipedrive's custom field of persons that holds the numeric GitHub id, so that a link outlasts renames and a lost
database.

It is created once, and found again by its stored key, or by its name after the database was lost. Without it (the
setting is `none`, or the plan allows no further field), people are found by e-mail and name only.
"""

import threading
from datetime import datetime, timedelta

from django.db.models import Q

from gisttracker.common.database import retried
from sync.clients.errors import (
    CircuitOpenError,
    ConfigurationError,
    InvalidResponseError,
    NotSentError,
    OutcomeUnknownError,
    RejectedError,
    RunStoppedError,
)
from sync.clients.pipedrive_records import PersonField
from sync.models import GitHubIdField
from sync.run.context import RunContext

NAME = "GitHub ID"
OFF = "none"  # the value of PIPEDRIVE_GITHUB_FIELD that switches it off
RECHECK_EVERY = timedelta(days=1)  # whether there can be a field now
CREATE_TIMEOUT = timedelta(minutes=5)  # after which another run may create it


class GitHubField:
    """The field in one run. Thread-safe."""

    def __init__(self, context: RunContext) -> None:
        self._context, self._pipedrive = context, context.pipedrive
        self._wanted = context.options.github_field
        self._lock = threading.Lock()
        self._key: str | None = None  # None: not looked up yet

    def is_written(self, key: str) -> bool:
        """Is this key, with which a GitHub id was written, still the field's? Answered without a request."""
        if self._wanted == OFF:
            return True
        return bool(key) and not self._wanted and key == _get_row().key

    def get_key(self) -> str:
        """The field's key; empty if there is none. Raises RetryNextRunError if that cannot be known now."""
        if self._wanted == OFF:
            _update(problem="")
            return ""
        with self._lock:  # The other threads wait for the result.
            if self._key is None:
                self._key = self._look_up()
            return self._key

    def _look_up(self) -> str:
        row, now = _get_row(), self._context.clock()
        is_recent = row.checked_at is not None and row.checked_at > now - RECHECK_EVERY
        if row.problem and is_recent and not self._wanted:
            return ""
        fields = self._pipedrive.get_person_fields()
        if not fields:
            raise InvalidResponseError("Pipedrive lists no fields of persons, not even its own ones")
        if self._wanted:
            return self._find_wanted(fields)
        if row.key:
            if row.key in {field.field_code for field in fields}:
                return _store_key(row.key, now)
            return self._do_without(
                "The field was deleted in Pipedrive. PIPEDRIVE_GITHUB_FIELD names another one, or none."
            )
        named = [field.field_code for field in fields if field.field_name == NAME]
        return _store_key(named[0], now) if named else self._create(now)

    def _find_wanted(self, fields: list[PersonField]) -> str:
        found = [field.field_code for field in fields if self._wanted in (field.field_code, field.field_name)]
        if not found:
            self._pipedrive.api.open_circuit(
                ConfigurationError(
                    f"PIPEDRIVE_GITHUB_FIELD is {self._wanted!r}, which is neither the key nor the name of a field of "
                    "persons at Pipedrive. Create it there, name another one, or set it to none."
                )
            )
        return _store_key(found[0], self._context.clock())

    def _create(self, now: datetime) -> str:
        """Create the field. While that is not certain there is none: it holds no GitHub id yet."""
        free = Q(create_started_at=None) | Q(create_started_at__lt=now - CREATE_TIMEOUT)
        row = GitHubIdField.objects.filter(free, pk=1, key="")
        if not retried(row.update)(create_started_at=now):
            return ""  # Another run is creating it.
        try:
            field = self._pipedrive.create_person_field(NAME)
        except OutcomeUnknownError as error:
            self._context.summary.problem(f"Whether the field {NAME!r} was created is checked later: {error}")
            return ""
        except RejectedError as error:
            _update(create_started_at=None)
            return self._do_without(f"Pipedrive allows no further field: {error}")
        except (CircuitOpenError, NotSentError, RunStoppedError) as error:
            _update(create_started_at=None)
            if not isinstance(error, NotSentError):
                raise
            self._context.summary.problem(f"The field {NAME!r} could not be created: {error}")
            return ""
        return _store_key(field.field_code, now)

    def _do_without(self, reason: str) -> str:
        _update(problem=reason[:500], checked_at=self._context.clock())
        return ""


@retried
def _get_row() -> GitHubIdField:
    return GitHubIdField.objects.get_or_create(pk=1)[0]


@retried
def _update(**columns: object) -> None:
    GitHubIdField.objects.filter(pk=1).update(**columns)


def _store_key(key: str, now: datetime) -> str:
    _update(key=key, problem="", checked_at=now, create_started_at=None)
    return key
