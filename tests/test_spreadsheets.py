"""CSV files in spreadsheets: whichever separator they use, no cell begins a formula."""

import csv
import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from people.models import Person
from people.spreadsheets import FORMULA, escape_formulas, unescape_formula
from tests.factories import create_person

RUN = re.compile(rf"[\s\"]*[{FORMULA}]")
CELLS = st.text(alphabet="=+-@＝＋－＠−;,|\t\r\n\"' a1", max_size=12)
NAMES = [
    "=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", " =1", "＝1", "－1", "＠x", "\ufeff=1", "\u00a0=1",
    "a;=1", "a; =1", "a\t=1", 'a";=1', 'a;"=1', "a\n=1", "a\r\n@x", "a,=1", "a;;=1", "a;'=1", "';=1", "a;\u00a0＝1",
]  # fmt: skip


def read(text: str, separator: str) -> list[str]:
    return [cell for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) for cell in row]


def write(*cells: str) -> str:
    file = io.StringIO(newline="")
    csv.writer(file).writerow(cells)
    return file.getvalue()


@given(CELLS, CELLS)
@settings(max_examples=300, deadline=None)
def test_no_cell_begins_a_formula_with_any_separator(first: str, second: str) -> None:
    line = write("ada", escape_formulas(first), escape_formulas(second))

    for separator in ",;\t|":
        assert not [cell for cell in read(line, separator) if RUN.match(cell)]
    assert not [cell for cell in re.split(r"[,;\t|\r\n\"]", line) if RUN.match(cell)]  # without quoting


@pytest.mark.parametrize(
    "text", ["ada", "Ada - Lovelace", "a-b", "ada@x.test", "1=1", "C++", "2026-01-31T10:00:00+00:00"]
)
def test_a_text_that_begins_no_formula_stays(text: str) -> None:
    assert escape_formulas(text) == text


@pytest.mark.django_db
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_is_no_formula_in_the_export(name: str, api: APIClient) -> None:
    create_person("ada", name=name)
    create_person("-ben")

    content = b"".join(api.get("/api/v1/people?format=csv")).decode()

    for separator in ",;\t|":
        assert not [cell for cell in read(content, separator) if RUN.match(cell)]
    rows = list(csv.DictReader(io.StringIO(content, newline="")))
    assert [row["github_username"] for row in rows] == ["'-ben", "ada"]


@pytest.mark.django_db
@pytest.mark.parametrize("login", ["-ben", "--", "ben"])
def test_an_exported_login_can_be_imported(login: str, api: APIClient) -> None:
    text = write("username") + write(escape_formulas(login))

    response = api.post("/api/v1/people/bulk", text, content_type="text/csv")

    assert response.json()["created"] == 1
    assert Person.objects.get().github_username == login
    assert unescape_formula("'ben") == "'ben"
