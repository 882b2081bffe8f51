"""A person can be added in six ways: all of them accept the same values, with the same messages."""

import html
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client
from rest_framework.test import APIClient

from people.models import Person, Suppressed
from tests.factories import create_person

pytestmark = [pytest.mark.django_db, pytest.mark.both]
OTHERS = {"username": "ada"}  # fields that a row has besides the one in question
TEXTS = {
    "username": [
        "ben", "@Ben", "https://github.com/ben", "github.com/ben/", "https://github.com/ben?tab=x", "-ben", "123",
        "", " ", "a b", "a" * 39, "a" * 40, "a" * 201, ".." * 200, "https://gitlab.com/ben", "ben/notes",
        "https://github.com/ben/notes", "bén", "ｂen", "\ud800", "<b>", "=1+1", "null", "grace", "GRACE", "zoe",
    ],
    "pipedrive_id": [
        "7", "007", "0", "-1", "+7", "1_0", "٧", "7.0", "1e2", "0x7", "x", "NaN", "null", "true",
        "9223372036854775807", "9223372036854775808", "0" * 19 + "7", "9" * 5000,
    ],
    "backfill": [
        "all", "ALL", "none", "10", "007", "0", "9999999", "10000000", "-1", "1.0", "1e2", "٧", "some", "²",
        "2026-01-31", "2026-02-30", "0001-01-01", "0000-01-01", "10000-01-01", "2026-1-1", "\ud800", "9" * 5000,
    ],
}  # fmt: skip
OTHER_VALUES: list[Any] = [123, -1, 0, 7, 1.5, 7.0, True, None, [], ["ben"], {}, {"a": 1}, 10**30, float(10**30)]
Result = str | None  # the message; None: accepted
Way = Callable[[dict[str, Any]], Result]


def by_json(row: dict[str, Any]) -> Result:
    response = APIClient().post("/api/v1/people", json.dumps(row), content_type="application/json")
    return None if response.status_code == 201 else read_message(response.json())


def by_form(row: dict[str, Any]) -> Result:
    response = APIClient().post("/api/v1/people", row)
    return None if response.status_code == 201 else read_message(response.json())


def by_bulk(row: dict[str, Any]) -> Result:
    response = APIClient().post("/api/v1/people/bulk", json.dumps([row]), content_type="application/json")
    return read_row(response.json())


def to_csv(row: dict[str, Any]) -> str:
    cells = ['"' + value.replace('"', '""') + '"' for value in row.values()]
    return f"{','.join(row)}\n{','.join(cells)}\n"


def by_csv(row: dict[str, Any]) -> Result:
    return read_row(APIClient().post("/api/v1/people/bulk", to_csv(row).encode(), content_type="text/csv").json())


def by_admin(row: dict[str, Any]) -> Result:
    form = {"github_username" if name == "username" else name: value for name, value in row.items()}
    response = log_in().post("/admin/people/person/add/", form)
    errors = re.search(r'<ul class="errorlist" id.*?><li>(.*?)</li>', response.content.decode(), re.DOTALL)
    return html.unescape(errors[1]) if errors else None


def by_admin_import(row: dict[str, Any]) -> Result:
    client, file = log_in(), SimpleUploadedFile("people.csv", to_csv(row).encode())
    page = client.post("/admin/people/person/import/", {"file": file}).content.decode()
    rows = re.search(r'name="rows" value="(.*?)"', page)
    client.post("/admin/people/person/import/", {"rows": html.unescape(rows[1]) if rows else ""})
    return None if Person.objects.count() > 1 else by_csv(row)


def log_in() -> Client:
    from django.contrib.auth.models import User

    client = Client()
    client.force_login(User.objects.filter(username="root").first() or User.objects.create_superuser("root"))
    return client


def read_message(body: Any) -> str:
    """The message of the only error, in either shape of an error."""
    if "errors" in body:
        return str(body["errors"][0]["detail"])
    [message] = body.values()
    return str(message if isinstance(message, str) else message[0])


def read_row(report: dict[str, Any]) -> Result:
    [result] = report["results"]
    return None if result["result"] == "created" else result["reason"]


def normalize(message: Result, field: str) -> Result:
    """The reason of a row begins with the name of the field."""
    return message and message.removeprefix(f"{field} ").lower()


@pytest.fixture(autouse=True)
def _known_people(db: None) -> None:
    create_person("grace")
    Suppressed.objects.suppress(logins=["zoe"], by="test")


def try_all(ways: list[Way], row: dict[str, Any]) -> dict[str, Result]:
    """What each way makes of the row, and what it stored; each begins without the person."""
    results: dict[str, Result] = {}
    for way in ways:
        message = way(row)
        stored = Person.objects.exclude(username_key="grace").values_list("username_key", "pipedrive_id", "backfill")
        results[way.__name__] = normalize(message, "".join(set(row) - {"username"}) or "username") or str(list(stored))
        Person.objects.exclude(username_key="grace").delete()
    return results


CASES = [(field, text) for field, texts in TEXTS.items() for text in texts]


@pytest.mark.parametrize(("field", "text"), CASES, ids=lambda value: ascii(value)[:30])
def test_a_text_has_the_same_result_by_all_ways(field: str, text: str) -> None:
    ways: list[Way] = [by_json, by_bulk]
    if text.strip() and "\ud800" not in text:  # An empty field of a form or a CSV counts as absent.
        ways += [by_form, by_csv, by_admin, by_admin_import]

    results = try_all(ways, {**OTHERS, field: text})

    assert len(set(results.values())) == 1, results


@pytest.mark.parametrize("value", OTHER_VALUES, ids=repr)
@pytest.mark.parametrize("field", TEXTS)
def test_another_json_value_has_the_same_result_by_both_ways(field: str, value: Any) -> None:
    results = try_all([by_json, by_bulk], {**OTHERS, field: value})

    assert len(set(results.values())) == 1, results
    if field == "username":
        assert results["by_json"] == "must be a string."


def test_the_command_reads_json_as_the_api_does(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    rows = '["ada", "\\ud800", {"username": 123}, {"username": "b", "pipedrive_id": %s}, "ben"]' % ("9" * 5000)
    (tmp_path / "people.json").write_text(rows)

    with pytest.raises(SystemExit):
        call_command("import_people", str(tmp_path / "people.json"))

    lines = capsys.readouterr().out.encode().decode().splitlines()
    assert lines[0].startswith(r"row 2 (\ud800): A GitHub user name")
    assert lines[1] == "row 3 (): username must be a string."
    assert lines[2] == "row 4 (b): pipedrive_id must be a whole number from 1 to 9223372036854775807."
    assert lines[3] == "2 created, 0 already tracked, 3 rejected."
