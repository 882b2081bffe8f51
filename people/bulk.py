"""Many people at once, from a JSON list or CSV: one result for each row; good rows are kept whatever the others are."""

import csv
import io
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from people import backfill
from people.github_names import login_key, parse_login
from people.models import Person, SearchTerm

MAX_ROWS = 5000
BATCH_SIZE = 500  # rows in one statement
COLUMNS = ("username", "pipedrive_id", "backfill")
MAX_ID = 2**63 - 1


@dataclass
class Result:
    """What became of a row; `row` counts from 1. `result`: created, already_tracked or refused."""

    row: int
    username: str
    result: str
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class BadRow:
    """A line of a CSV that cannot be read as a row."""

    reason: str
    username: str


def read_csv(raw: bytes) -> list[Any]:
    """Rows of a CSV with the header `username[,pipedrive_id][,backfill]`, UTF-8 with or without BOM. ValueError."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"The CSV is not UTF-8 (byte {error.start}).") from None
    if "\0" in text:
        raise ValueError("The CSV has a NUL byte in it.")
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        reader.fieldnames = _header(reader.fieldnames)
        rows = [_csv_row(row) for row in itertools.islice(reader, MAX_ROWS + 1)]
    except csv.Error as error:
        raise ValueError(f"The CSV is broken at line {reader.line_num + 1}: {error}.") from None
    _check_number(rows)
    return rows


def _header(names: Sequence[str] | None) -> list[str]:
    header = [(name or "").strip().lower() for name in names or []]
    if "username" not in header or not set(header) <= set(COLUMNS) or len(set(header)) < len(header):
        raise ValueError("The CSV's first line must be username[,pipedrive_id][,backfill].")
    return header


def _csv_row(row: dict[str | Any, str | Any]) -> Any:
    """What is given of a line; an empty field is not given."""
    given = {name: (value or "").strip() for name, value in row.items() if name is not None}
    if None in row:
        return BadRow("The line has more fields than the first one.", given["username"])
    return {name: value for name, value in given.items() if value or name == "username"}


def read_json(raw: bytes) -> list[Any]:
    """A list of names, or of objects with username, pipedrive_id, backfill. ValueError."""
    try:
        rows = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Not JSON: {error}") from None
    return check_list(rows)


def check_list(rows: Any) -> list[Any]:
    if not isinstance(rows, list):
        raise ValueError("A list of people is expected.")
    _check_number(rows)
    return [{"username": row} if isinstance(row, str) else row for row in rows]


def _check_number(rows: list[Any]) -> None:
    if len(rows) > MAX_ROWS:
        raise ValueError(f"{MAX_ROWS} rows are allowed at once.")


def track(rows: list[Any]) -> list[Result]:
    """Track the people of these rows, and say what became of each."""
    results: list[Result] = []
    wanted: dict[str, tuple[Result, Person]] = {}
    for number, row in enumerate(rows, start=1):
        try:
            person = _person(row)
        except ValueError as error:
            results.append(Result(number, _shown(row), "refused", str(error)))
            continue
        result = Result(number, person.github_username, "created")
        results.append(result)
        if person.username_key in wanted:
            first = wanted[person.username_key][0].row
            result.result, result.reason = "already_tracked", f"It stands in row {first} already."
        else:
            wanted[person.username_key] = (result, person)
    keys = list(wanted)
    for start in range(0, len(keys), BATCH_SIZE):
        _create([wanted[key] for key in keys[start : start + BATCH_SIZE]])
    return results


def _person(row: Any) -> Person:
    """An unsaved person, or ValueError with what is wrong."""
    if isinstance(row, BadRow):
        raise ValueError(row.reason)
    if not isinstance(row, dict):
        raise ValueError("A name, or an object with a username, is expected.")
    unknown = set(row) - set(COLUMNS)
    if unknown:
        raise ValueError(f"Unknown: {', '.join(sorted(map(str, unknown)))[:100]}.")
    username, pipedrive_id, choice = (row.get(column) for column in COLUMNS)
    if not isinstance(username, str):
        raise ValueError("username must be text.")
    login = parse_login(username)
    return Person(
        github_username=login,
        username_key=login_key(login),
        pipedrive_id=_pipedrive_id(pipedrive_id),
        backfill=_backfill(choice),
    )


def _pipedrive_id(given: Any) -> int | None:
    if given is None:
        return None
    if isinstance(given, str) and given.isascii() and given.isdigit() and len(given) < 20:
        given = int(given)
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= MAX_ID:
        raise ValueError("pipedrive_id must be a whole number from 1.")
    return given


def _backfill(given: Any) -> str:
    if given is None:
        return str(settings.BACKFILL)
    if isinstance(given, int) and not isinstance(given, bool):
        given = str(given)
    if not isinstance(given, str):
        raise ValueError(f"backfill {backfill.RULE}.")
    try:
        return backfill.parse(given)
    except ValueError as error:
        raise ValueError(f"backfill {error}.") from None


def _create(chosen: list[tuple[Result, Person]]) -> None:
    """Together; where somebody else is quicker with one of them, one by one."""
    keys = [person.username_key for _, person in chosen]
    there = set(Person.objects.filter(username_key__in=keys).values_list("username_key", flat=True))
    new = []
    for result, person in chosen:
        if person.username_key in there:
            _already(result)
        else:
            new.append((result, person))
    try:
        with transaction.atomic():
            Person.objects.bulk_create([person for _, person in new])
            # Not every database tells the ids of what was created.
            SearchTerm.index(list(Person.objects.filter(username_key__in=[person.username_key for _, person in new])))
    except IntegrityError:
        for result, person in new:
            try:
                with transaction.atomic():
                    person.save(force_insert=True)
            except IntegrityError:
                _already(result)


def _already(result: Result) -> None:
    result.result, result.reason = "already_tracked", f"@{result.username} is already tracked."


def _shown(row: Any) -> str:
    """What a refused row calls the person, as far as that can be told."""
    if isinstance(row, BadRow):
        return row.username[:100]
    name = row.get("username", "") if isinstance(row, dict) else ""
    return name[:100] if isinstance(name, str) else ""
