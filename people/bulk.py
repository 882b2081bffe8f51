"""Tracking many people from a JSON list or CSV. Each row has its own result; a bad row does not affect the others."""

import csv
import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from heapq import nsmallest
from typing import Any, TypeVar

from django.db import IntegrityError, InterfaceError, OperationalError, transaction

from gisttracker.common.database import retried_on_conflict
from gisttracker.common.error_codes import CodedError, ErrorCode
from gisttracker.common.strict_json import load_json
from gisttracker.common.texts import show, to_sentence
from people.models import Person, Suppressed
from people.models.github_names import login_key
from people.models.suppressed import suppressed_reason
from people.person_fields import parse_backfill, parse_pipedrive_id, parse_username
from people.spreadsheets import unescape_formula
from people.tracking import AlreadyTrackedError

MAX_ROWS = 5000
BATCH_SIZE = 500  # rows per statement
FIELD_CODES = {
    "username": ErrorCode.INVALID_LOGIN,
    "pipedrive_id": ErrorCode.INVALID_PIPEDRIVE_ID,
    "backfill": ErrorCode.INVALID_BACKFILL,
}
COLUMNS = tuple(FIELD_CODES)
MAX_NAMES = 3  # unknown fields in the reason of a row
T = TypeVar("T")


class RowOutcome(StrEnum):
    CREATED = "created"
    ALREADY_TRACKED = "already_tracked"
    REJECTED = "rejected"


@dataclass
class RowResult:
    row: int  # counts from 1; the header of a CSV is not counted
    username: str
    result: RowOutcome
    code: ErrorCode | None = None  # of the reason
    reason: str = ""

    def reject(self, code: ErrorCode, reason: str) -> None:
        self.result, self.code, self.reason = RowOutcome.REJECTED, code, reason

    def mark_tracked(self, code: ErrorCode, reason: str) -> None:
        self.result, self.code, self.reason = RowOutcome.ALREADY_TRACKED, code, reason


@dataclass(frozen=True)
class BulkReport:
    """The results of all rows, in their order."""

    results: list[RowResult]

    @property
    def created(self) -> int:
        return self._count(RowOutcome.CREATED)

    @property
    def already_tracked(self) -> int:
        return self._count(RowOutcome.ALREADY_TRACKED)

    @property
    def rejected(self) -> int:
        return self._count(RowOutcome.REJECTED)

    def _count(self, outcome: RowOutcome) -> int:
        return sum(result.result == outcome for result in self.results)


@dataclass(frozen=True)
class MalformedRow:
    """A line of a CSV with the wrong number of fields."""

    reason: str
    username: str


def read_csv(raw: bytes) -> list[Any]:
    """Return the rows of a CSV with the header `username[,pipedrive_id][,backfill]`, in UTF-8 with or without BOM.

    Raises CodedError when the file as a whole cannot be read.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        detail = f"The CSV is not UTF-8 (byte {error.start}). See line {line}."
        raise CodedError(ErrorCode.INVALID_CSV, detail) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise CodedError(ErrorCode.INVALID_CSV, f"The CSV contains a NUL byte. See line {line}.")
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        reader.fieldnames = _parse_header(reader.fieldnames)
        rows = [_parse_csv_row(row) for row in itertools.islice(reader, MAX_ROWS + 1)]
    except csv.Error as error:
        raise CodedError(ErrorCode.INVALID_CSV, f"The CSV is broken at line {reader.line_num + 1}: {error}.") from None
    _check_count(rows)
    return rows


def _parse_header(names: Sequence[str] | None) -> list[str]:
    header = [(name or "").strip().lower() for name in names or []]
    if "username" not in header or not set(header) <= set(COLUMNS) or len(set(header)) < len(header):
        raise CodedError(ErrorCode.INVALID_CSV, "The CSV's first line must be username[,pipedrive_id][,backfill].")
    return header


def _parse_csv_row(row: dict[str | Any, str | Any]) -> Any:
    """Return the fields of a line without the empty ones, which count as not given.

    A cell that was copied from the export may have the quote that keeps a spreadsheet from running it.
    """
    given = {name: unescape_formula((value or "").strip()) for name, value in row.items() if name is not None}
    if None in row:
        return MalformedRow("The line has more fields than the first line.", given["username"])
    return {name: value for name, value in given.items() if value or name == "username"}


def read_json(raw: bytes) -> list[Any]:
    """Return the rows of a JSON list; see check_list. Raises CodedError."""
    try:
        rows = load_json(raw)
    except ValueError as error:
        raise CodedError(ErrorCode.PARSE_ERROR, f"Not JSON: {error}") from None
    return check_list(rows)


def check_list(rows: Any) -> list[Any]:
    """Return the rows of a list of names, or of objects with `username`, `pipedrive_id`, `backfill`.

    Raises CodedError when it is not a list, or too long.
    """
    if not isinstance(rows, list):
        raise CodedError(ErrorCode.NOT_A_LIST, "Send a list of people: logins, or objects with a username.")
    _check_count(rows)
    return [{"username": row} if isinstance(row, str) else row for row in rows]


def _check_count(rows: list[Any]) -> None:
    if len(rows) > MAX_ROWS:
        raise CodedError(ErrorCode.TOO_MANY_ROWS, f"Too many rows. At most {MAX_ROWS} are allowed.")


def track(rows: list[Any]) -> BulkReport:
    """Track the people of these rows."""
    results, new = _read(rows)
    for number, batch in enumerate(_batches(new)):
        try:
            _create(batch)
        except (OperationalError, InterfaceError):
            if number == 0:  # Nothing is stored, so the request as a whole may fail.
                raise
            for result, _ in batch:
                _mark_failed(result)
    return BulkReport(results)


def preview(rows: list[Any]) -> BulkReport:
    """Return what `track` would do with these rows. Writes nothing."""
    results, new = _read(rows)
    for batch in _batches(new):
        _select_new(batch)
    return BulkReport(results)


def _read(rows: list[Any]) -> tuple[list[RowResult], list[tuple[RowResult, Person]]]:
    """Return the results of all rows, and the people to create with theirs."""
    results: list[RowResult] = []
    new: dict[str, tuple[RowResult, Person]] = {}
    for number, row in enumerate(rows, start=1):
        try:
            person = _build_person(row)
        except CodedError as error:
            results.append(RowResult(number, _get_username(row), RowOutcome.REJECTED, error.code, str(error)))
            continue
        result = RowResult(number, person.github_username, RowOutcome.CREATED)
        results.append(result)
        if person.username_key in new:
            first = new[person.username_key][0].row
            result.mark_tracked(ErrorCode.DUPLICATE_ROW, f"Duplicate of row {first}.")
        else:
            new[person.username_key] = (result, person)
    return results, list(new.values())


def _batches(new: list[tuple[RowResult, Person]]) -> Iterator[list[tuple[RowResult, Person]]]:
    for start in range(0, len(new), BATCH_SIZE):
        yield new[start : start + BATCH_SIZE]


def _build_person(row: Any) -> Person:
    """Return an unsaved person. Raises CodedError with the reason."""
    if isinstance(row, MalformedRow):
        raise CodedError(ErrorCode.INVALID_ROW, row.reason)
    if not isinstance(row, dict):
        raise CodedError(ErrorCode.INVALID_ROW, "Must be a name, or an object with a username.")
    unknown = set(row) - set(COLUMNS)
    if unknown:
        raise CodedError(ErrorCode.UNKNOWN_FIELD, _describe_unknown(unknown))
    if "username" not in row:
        raise CodedError(ErrorCode.INVALID_ROW, "username is required.")
    login = _parse_field(row, "username", parse_username)
    return Person(
        github_username=login,
        username_key=login_key(login),
        pipedrive_id=_parse_field(row, "pipedrive_id", parse_pipedrive_id),
        backfill=_parse_field(row, "backfill", parse_backfill),
    )


def _parse_field(row: dict[str, Any], name: str, parse: Callable[[Any], T]) -> T:
    try:
        return parse(row.get(name))
    except ValueError as error:
        raise CodedError(FIELD_CODES[name], to_sentence(error, name)) from None


def _describe_unknown(names: set[str]) -> str:
    shown = ", ".join(f"`{show(name, 40)}`" for name in nsmallest(MAX_NAMES, names))
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"Unknown field {shown}{more}. Allowed: {', '.join(COLUMNS)}."


def _create(batch: list[tuple[RowResult, Person]]) -> None:
    """Create these people in one statement, or one by one if another process creates one of them meanwhile.

    Raises DatabaseError if none of them was created.
    """
    new = _select_new(batch)
    if not _create_together([person for _, person in new]):
        for result, person in new:
            _create_alone(result, person)


@retried_on_conflict
def _create_together(people: list[Person]) -> bool:
    try:
        with transaction.atomic():
            Person.objects.bulk_create(people)
    except IntegrityError:
        return False
    return True


def _create_alone(result: RowResult, person: Person) -> None:
    try:
        _insert(person)
    except IntegrityError:
        _mark_already_tracked(result)
    except (OperationalError, InterfaceError):
        _mark_failed(result)


@retried_on_conflict
def _insert(person: Person) -> None:
    with transaction.atomic():
        person.save(force_insert=True)


def _mark_failed(result: RowResult) -> None:
    result.reject(ErrorCode.DATABASE_UNAVAILABLE, "The database failed. Send this row again.")


def _select_new(batch: list[tuple[RowResult, Person]]) -> list[tuple[RowResult, Person]]:
    """Mark the rows of people who are tracked, or asked not to be, and return the others."""
    keys = {person.username_key for _, person in batch}
    existing = set(Person.objects.filter(username_key__in=keys).values_list("username_key", flat=True))
    suppressed = Suppressed.objects.find_logins(keys - existing)
    for result, person in batch:
        if person.username_key in existing:
            _mark_already_tracked(result)
        elif person.username_key in suppressed:
            result.reject(ErrorCode.SUPPRESSED, suppressed_reason(result.username))
    return [(result, person) for result, person in batch if person.username_key not in existing | suppressed]


def _mark_already_tracked(result: RowResult) -> None:
    error = AlreadyTrackedError(result.username)
    result.mark_tracked(error.code, str(error))


def _get_username(row: Any) -> str:
    """Return the user name as the rejected row gives it, or ""."""
    if isinstance(row, MalformedRow):
        return show(row.username)
    name = row.get("username", "") if isinstance(row, dict) else ""
    return show(name) if isinstance(name, str) else ""
