"""Hostile values for schemathesis: half of the generated requests get one, in a place that the description names.

A place is a parameter, a field, a row of a list, or fields that do not exist. The checks below hold for all responses,
besides those of schemathesis, such as "no 500" and "what does not match the description is rejected".
"""

import csv
import io
import json
import re
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, CheckContext, HookContext, Response

MAX_ERROR_BYTES = 30_000
MAX_ROW_BYTES = 1000
NUMBERS = [
    *("000000100999999", "0" * 30 + "1", "9" * 19, "9" * 1000, "+1", "-0", " 1", "1 ", "1_0", "1.0", "1e2", "0x1"),
    *("\u0663", "\u00b2", "NaN", "Infinity", "1\0"),
]
TIMES = [
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z"),
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2026-02-30T00:00:00Z", "0001-01-01", "9999-12-31"),
]
TEXTS = ["\0", "a\0", "\u202e", "=1+1", "a;=1+1", "\r\nX: 1", "'\"\\", "%ED%A0%80", "a" * 300, "." * 1000, "\U0001f600"]
# Schemathesis drops what it cannot write as JSON itself, so these are replaced when a body is written.
WRITTEN_AS = {"{surrogate}": r"\ud800", '"{huge}"': "9" * 5000, '"{overflow}"': "1e400", '"{nan}"': "NaN"}
SURROGATES = ["{surrogate}", "https://github.com/{surrogate}", "http://{surrogate}.com/x"]
LONG_TEXTS = ["." * 100_000, "https://" + "a." * 50_000, "x" * 200_000]
IN_URLS = NUMBERS + TIMES + TEXTS


def nest(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


IN_JSON = [
    *(IN_URLS + SURROGATES + SURROGATES + LONG_TEXTS),
    "{huge}",
    "{overflow}",
    "{nan}",
    *(123, 0, -1, 7.0, 1.5, 10**19, 10**30, float("1e300"), True, None, [], {}, [{}], nest(18), nest(500)),
]


@schemathesis.serializer("application/json")
def write_json(context: Any, value: Any) -> bytes:
    text = json.dumps(value, default=str)
    for placeholder, written in WRITTEN_AS.items():
        text = text.replace(placeholder, written)
    return text.encode()


@schemathesis.hook
def flatmap_case(context: HookContext, case: Case) -> st.SearchStrategy[Case]:
    places = find_places(case)
    return st.one_of(st.just(case), st.sampled_from(places).flatmap(lambda place: spoil(case, place)))


def find_places(case: Case) -> list[tuple[str, str]]:
    """The location and the name of each value that may be replaced or added."""
    places = [("query", parameter.name) for parameter in case.operation.query]
    places += [("path", name) for name in case.path_parameters or {}]
    if isinstance(case.body, dict):
        places += [("field", name) for name in {*case.body, *get_properties(case)}] + [("fields", "")]
    if isinstance(case.body, list):
        places += [("row", ""), ("rows", "")]
    return sorted(places) or [("header", "X-Request-ID")]


def get_properties(case: Case) -> list[str]:
    """The fields of a body that is described as an object."""
    return {
        "track_person": ["username", "pipedrive_id", "backfill", "watched"],
        "change_person": ["pipedrive_id", "backfill", "watched", "state"],
        "acknowledge_feed": ["cursor", "force"],
    }.get(str(case.operation.definition.raw.get("operationId")), [])


def spoil(case: Case, place: tuple[str, str]) -> st.SearchStrategy[Case]:
    location, name = place
    values = st.sampled_from(
        IN_JSON if location in ("field", "row", "rows") else IN_URLS + SURROGATES if location == "fields" else IN_URLS
    )
    return values.map(lambda value: replace(case, location, name, value))


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
        case.body = [{f"{number}" * 100: value if len(str(value)) < 100 else 1} for number in range(300)]
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
def numbers_keep_their_limits(context: CheckContext, response: Response, case: Case) -> None:
    """Whatever a number looks like: one that any reader takes as larger than allowed is refused."""
    for parameter in case.operation.query:
        schema, digits = parameter.definition.get("schema", {}), str((case.query or {}).get(parameter.name, ""))
        if "maximum" in schema and re.fullmatch(r"[0-9]{1,4000}", digits) and int(digits) > schema["maximum"]:
            assert response.status_code >= 400, f"{parameter.name}={digits[:40]} was accepted"


@schemathesis.check
def files_have_no_formulas(context: CheckContext, response: Response, case: Case) -> None:
    if response.headers.get("content-type", [""])[0].startswith("text/csv"):
        text = response.content.decode()
        for separator in ",;\t|":
            for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
                assert not [cell for cell in row if re.match(r"[\s\"]*[=+\-@\uff1d]", cell)], row
