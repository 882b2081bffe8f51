"""Pipedrive's custom field of persons that holds the numeric GitHub id, so that a link outlasts renames and a lost
database.

It is created once, and found again by its stored key, or by its name after the database was lost. Without it (the
setting is `none`, or the plan allows no further field), people are found by e-mail and name only.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sync.clients.errors import (
    CircuitOpenError,
    ConfigurationError,
    InvalidResponseError,
    OutcomeUnknownError,
    RejectedError,
    RunStoppedError,
)
from sync.clients.pipedrive import PipedriveClient
from sync.models import GitHubIdField

NAME = "GitHub ID"
OFF = "none"  # the value of PIPEDRIVE_GITHUB_FIELD that switches it off
RECHECK_EVERY = timedelta(days=1)  # whether there can be a field now
CREATE_TIMEOUT = timedelta(minutes=5)  # after which it may be created again


@dataclass(frozen=True)
class Field:
    """What a step has found out. `key`: empty if there is no field, for the reason `problem`, or none yet."""

    key: str = ""
    problem: str = ""
    must_be_created: bool = False


def get_row() -> GitHubIdField:
    return GitHubIdField.objects.filter(pk=1).first() or GitHubIdField(pk=1)


def is_written(key: str, row: GitHubIdField, wanted: str) -> bool:
    """Is this key, with which a GitHub id was written, still the field's? Answered without a request."""
    return wanted == OFF or (bool(key) and not wanted and key == row.key)


def known_field(row: GitHubIdField, wanted: str, now: datetime) -> Field | None:
    """What is known without a request. None: it has to be looked up."""
    if wanted == OFF:
        return Field()
    is_recent = row.checked_at is not None and row.checked_at > now - RECHECK_EVERY
    return Field(problem=row.problem) if row.problem and is_recent and not wanted else None


def look_up_field(pipedrive: PipedriveClient, known_key: str, wanted: str) -> Field:
    """A step. InvalidResponseError if that cannot be known now."""
    fields = pipedrive.get_person_fields()
    if not fields:
        raise InvalidResponseError("Pipedrive lists no fields of persons, not even its own ones")
    if wanted:
        found = [field.field_code for field in fields if wanted in (field.field_code, field.field_name)]
        if not found:
            pipedrive.api.open_circuit(
                ConfigurationError(
                    f"PIPEDRIVE_GITHUB_FIELD is {wanted!r}, which is neither the key nor the name of a field of "
                    "persons at Pipedrive. Create it there, name another one, or set it to none."
                )
            )
        return Field(found[0])
    if known_key:
        if known_key in {field.field_code for field in fields}:
            return Field(known_key)
        return Field(problem="The field was deleted in Pipedrive. PIPEDRIVE_GITHUB_FIELD names another one, or none.")
    named = [field.field_code for field in fields if field.field_name == NAME]
    return Field(named[0]) if named else Field(must_be_created=True)


def create_field(pipedrive: PipedriveClient) -> Field:
    """A step. While it is not certain that there is a field, there is none: it holds no GitHub id yet."""
    return Field(pipedrive.create_person_field(NAME).field_code)


# --- storing: in the main thread, in a transaction ---
def store_field(field: Field, now: datetime) -> None:
    columns = {"problem": field.problem[:500], "checked_at": now, "create_started_at": None}
    GitHubIdField.objects.update_or_create(pk=1, defaults=columns | ({"key": field.key} if field.key else {}))


def begin_to_create(row: GitHubIdField, now: datetime) -> bool:
    """Write that it is created from now on. False if an earlier POST may still be creating it."""
    if row.create_started_at and row.create_started_at > now - CREATE_TIMEOUT:
        return False
    GitHubIdField.objects.update_or_create(pk=1, defaults={"create_started_at": now})
    return True


def store_failure(error: Exception, now: datetime) -> str:
    """What came of a POST that did not create it. Returns a problem of the run, if it is one."""
    if isinstance(error, OutcomeUnknownError):
        return f"Whether the field {NAME!r} was created is checked later: {error}"
    if isinstance(error, RejectedError):
        store_field(Field(problem=f"Pipedrive allows no further field: {error}"), now)
        return ""
    GitHubIdField.objects.filter(pk=1).update(create_started_at=None)
    is_reported = not isinstance(error, CircuitOpenError | RunStoppedError)
    return f"The field {NAME!r} could not be created: {error}" if is_reported else ""
