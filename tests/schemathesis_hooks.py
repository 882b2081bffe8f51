"""Hostile values for schemathesis: half of the generated requests get one, in a place that the description names.

A place is a parameter, a field, a row of a list, or fields that do not exist. The checks below hold for all responses,
besides those of schemathesis, such as "no 500" and "what does not match the description is rejected".
"""

import csv
import io
import json
import os
import re
from typing import Any
from urllib.parse import urlencode

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, CheckContext, HookContext, Response
from schemathesis.core import NOT_SET
from schemathesis.generation import GenerationMode

EXAMPLES = int(os.environ.get("EXAMPLES") or 5)
# A request that is valid before one value of it is replaced.
PATH = {"username": "ada", "github_id": "1", "id": "1"}
BODIES: dict[str, Any] = {
    "track_person": {"username": "ben", "pipedrive_id": 7, "backfill": "all"},
    "change_person": {"pipedrive_id": 7, "backfill": "all", "state": "active"},
    "acknowledge_feed": {"cursor": 0, "force": False},
    "track_people": ["cleo"],
}
MAX_QUERY_BYTES = 3500
MAX_ERROR_BYTES = 30_000
MAX_ROW_BYTES = 1000
NUMBERS = [
    "000000100999999", "0" * 30 + "1", "9" * 19, "9" * 1000, "+1", "-0", " 1", "1 ", "1_0", "1.0", "1e2", "0x1",
    "\u0663", "\u00b2", "NaN", "Infinity", "1\0",
]  # fmt: skip
TIMES = [
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z",
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2026-02-30T00:00:00Z", "0001-01-01", "9999-12-31",
]  # fmt: skip
TEXTS = ["\0", "a\0", "\u202e", "=1+1", "a;=1+1", "\r\nX: 1", "'\"\\", "%ED%A0%80", "a" * 300, "." * 1000, "\U0001f600"]
# Schemathesis drops what it cannot write as JSON itself, so these are replaced when a body is written.
WRITTEN_AS = {"{surrogate}": r"\ud800", '"{huge}"': "9" * 5000, '"{overflow}"': "1e400", '"{nan}"': "NaN"}
SURROGATES = ["{surrogate}", "https://github.com/{surrogate}", "http://{surrogate}.com/x"]
LONG_TEXTS = ["." * 100_000, "https://" + "a." * 50_000, "x" * 200_000]


def nest(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


IN_JSON = [
    *NUMBERS, *TIMES, *TEXTS, *SURROGATES, *LONG_TEXTS, "{huge}", "{overflow}", "{nan}",
    123, 0, -1, 7.0, 1.5, 10**19, 10**30, float("1e300"), True, None, [], {}, [{}], nest(18), nest(500),
]  # fmt: skip


@schemathesis.serializer("application/json")
def write_json(context: Any, value: Any) -> bytes:
    text = json.dumps(value, default=str)
    for placeholder, written in WRITTEN_AS.items():
        text = text.replace(placeholder, written)
    return text.encode()


@schemathesis.hook
def before_add_examples(context: HookContext, examples: list[Case]) -> None:
    """Each hostile value in each place, one at a time. A run with few examples takes some of them."""
    operation = context.operation
    assert operation is not None
    places = find_places(create_valid_case(operation))
    cases = [(place, value) for place in places for value in get_values(operation, *place)]
    if get_id(operation) == "list_people":
        examples.append(replace(create_valid_case(operation), "query", "format", "csv"))
    for (location, name), value in cases[:: 1 if EXAMPLES >= 100 else 12]:
        examples.append(replace(create_valid_case(operation), location, name, value))


def create_valid_case(operation: Any) -> Case:
    body = BODIES.get(get_id(operation), NOT_SET)
    media_type = None if body is NOT_SET else "application/json"
    case: Case = operation.Case(path_parameters=dict(PATH), body=body, media_type=media_type)
    return case


@schemathesis.hook
def flatmap_case(context: HookContext, case: Case) -> st.SearchStrategy[Case]:
    """Half of the generated valid requests have a hostile value, too. (It could make an invalid one valid.)"""
    if case.meta and case.meta.generation.mode == GenerationMode.NEGATIVE:
        return st.just(case)
    places = st.sampled_from(find_places(case))
    return st.one_of(st.just(case), places.flatmap(lambda place: spoil(case, place)))


@schemathesis.hook
def filter_case(context: HookContext, case: Case) -> bool:
    """Leave out what no description of the API can say.

    The web server itself refuses a URL that is longer than 4,094 bytes, and an empty field of a form counts as absent
    in a change.
    """
    if len(urlencode(case.query or {}, doseq=True)) > MAX_QUERY_BYTES:
        return False
    body: Any = case.body
    is_form = case.media_type not in (None, "application/json") and isinstance(body, dict)
    return not (is_form and get_id(case.operation) == "change_person" and "" in map(str, body.values()))


def find_places(case: Case) -> list[tuple[str, str]]:
    """The location and the name of each value that may be replaced or added."""
    places = [("query", parameter.name) for parameter in case.operation.query]
    places += [("path", parameter.name) for parameter in case.operation.path_parameters]
    if isinstance(case.body, dict):
        fields = {*case.body, *BODIES.get(get_id(case.operation), {})}
        places += [("field", name) for name in fields] + [("fields", "")]
    if isinstance(case.body, list):
        places += [("row", ""), ("rows", "")]
    return sorted(places) or [("query", "x")]


def get_id(operation: Any) -> str:
    return str(operation.definition.raw.get("operationId"))


def get_values(operation: Any, location: str, name: str) -> list[Any]:
    if location in ("field", "row"):
        return IN_JSON
    if location == "fields":
        return TEXTS + SURROGATES
    if location == "rows":
        return ["", "\0", "{surrogate}"]
    parameter = operation.query.get(name) if location == "query" else None
    schema = parameter.definition.get("schema", {}) if parameter else {}
    if schema.get("type") == "integer":
        return NUMBERS
    return TIMES + TEXTS if schema.get("format") == "date-time" else TEXTS


def spoil(case: Case, place: tuple[str, str]) -> st.SearchStrategy[Case]:
    values = st.sampled_from(get_values(case.operation, *place))
    return values.map(lambda value: replace(case, *place, value))


def replace(case: Case, location: str, name: str, value: Any) -> Case:
    body: Any = case.body
    if location == "query":
        case.query = {**(case.query or {}), name: value}
    elif location == "path":
        case.path_parameters = {**(case.path_parameters or {}), name: value.replace("/", "").strip(".") or "\0"}
    elif location == "field":
        case.body = {**body, name: value}
    elif location == "fields":
        case.body = {**body, **{f"{value[:100]}{number}": 1 for number in range(3000)}}
    elif location == "row":
        case.body = [*body[:50], value, {"username": value}, {"username": "ada", "backfill": value, "a": value}]
    elif location == "rows":
        case.body = [{f"{value}{number}-{field}" * 60: 1 for field in range(20)} for number in range(30)]
    return case


@schemathesis.check
def errors_are_small(context: CheckContext, response: Response, case: Case) -> None:
    """300,000 unknown fields must not give an error of megabytes."""
    size = len(response.content)
    assert response.status_code < 400 or size <= MAX_ERROR_BYTES, f"An error of {size} bytes"


@schemathesis.check
def results_of_rows_are_small(context: CheckContext, response: Response, case: Case) -> None:
    if case.path.endswith("/bulk") and response.status_code == 200 and case.method.upper() == "POST":
        size = len(response.content)
        assert size <= 1000 + MAX_ROW_BYTES * len(response.json()["results"]), f"Results of {size} bytes"


@schemathesis.check
def numbers_are_plain_and_keep_their_limits(context: CheckContext, response: Response, case: Case) -> None:
    """A number in a notation that some readers take for another number, or beyond its limit, is refused."""
    for parameter in case.operation.query:
        schema, given = parameter.definition.get("schema", {}), (case.query or {}).get(parameter.name)
        if schema.get("type") == "integer" and given is not None:
            is_plain = re.fullmatch(r"[0-9]{1,19}", str(given)) and int(given) <= schema.get("maximum", 2**63 - 1)
            assert is_plain or response.status_code >= 400, f"{parameter.name}={str(given)[:40]} was accepted"


@schemathesis.check
def fields_keep_their_types(context: CheckContext, response: Response, case: Case) -> None:
    """A number is no login, and no text or fraction is an id."""
    if get_id(case.operation) in ("track_person", "change_person") and isinstance(case.body, dict):
        login, number = case.body.get("username", ""), case.body.get("pipedrive_id", 0)
        is_id = number is None or type(number) is int or re.fullmatch(r"[0-9]{1,19}", str(number))
        is_valid = isinstance(login, str) and is_id and case.media_type == "application/json"
        assert is_valid or response.status_code >= 400 or case.media_type != "application/json", "was accepted"


@schemathesis.check
def files_have_no_formulas(context: CheckContext, response: Response, case: Case) -> None:
    if response.headers.get("content-type", [""])[0].startswith("text/csv"):
        text = response.content.decode()
        for separator in ",;\t|":
            for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
                assert not [cell for cell in row if re.match(r"[\s\"]*[=+\-@\uff1d]", cell)], row
