"""Hostile values, by every way in: a clear 400 that names the field or the row, and never a 500 or a huge response."""

import argparse
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from gisttracker.common.strict_json import load_json
from gisttracker.management.command_line import whole_number
from people.models import Person
from sync.management.commands.undo_run import run_id
from sync.models import SyncRun
from tests.factories import create_gist, create_person, create_run

pytestmark = pytest.mark.django_db
MAX_ERROR_BYTES = 30_000
NOT_NUMBERS = {
    "padded with zeros": "000000100999999",
    "huge": "9" * 5000,
    "beyond 64 bits": "9" * 19,
    "a sign": "%2B1",
    "negative": "-1",
    "a space": "%201",
    "an underscore": "1_0",
    "digits of another script": "%D9%A3",
    "a superscript": "%C2%B2",
    "a fraction": "1.0",
    "an exponent": "1e2",
    "hexadecimal": "0x1",
    "NUL": "1%00",
    "infinite": "Infinity",
}
NOT_TIMES = [
    "0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00", "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z",
    "2026-13-01T00:00:00Z", "2026-01-01T00:00:00%2B99:99", "%00", "%ED%A0%80", "1e400", "9" * 5000,
]  # fmt: skip


def assert_names(response: Any, name: str) -> None:
    """A bounded 400 that names the field, the parameter or the row."""
    assert response.status_code == 400, response.content[:300]
    assert name in response.content.decode()
    assert len(response.content) < MAX_ERROR_BYTES


def post_json(api: APIClient, address: str, body: str | bytes) -> Any:
    return api.post(f"/api/v1/{address}", body, content_type="application/json")


@pytest.fixture
def ada() -> Person:
    return create_person("ada", github_id=1)


# --- numbers ---
@pytest.mark.parametrize("value", [name for name in NOT_NUMBERS if name != "padded with zeros"])
@pytest.mark.parametrize(
    "address",
    [
        "people?page_size=",
        "people?page=",
        "people/ada?since=",
        "people/ada?page_size=",
        "sync-runs?page_size=",
        "people/ada/gists?page=",
        "people?after=",
        "sync-runs?after=",
        "gists?after=",
        "gists?page_size=",
    ],
)
def test_a_parameter_that_is_no_whole_number_is_named(ada: Person, api: APIClient, address: str, value: str) -> None:
    response = api.get(f"/api/v1/{address}{NOT_NUMBERS[value]}")

    assert_names(response, address.partition("?")[2].rstrip("="))


@pytest.mark.parametrize("address", ["people", "people/ada", "people/ada/gists", "sync-runs", "gists"])
def test_zeros_do_not_hide_a_large_number(ada: Person, api: APIClient, address: str) -> None:
    assert_names(api.get(f"/api/v1/{address}?page_size=000000100999999"), "page_size")
    assert api.get(f"/api/v1/{address}?page_size=007").status_code == 200


@pytest.mark.parametrize("number", NOT_NUMBERS.values(), ids=list(NOT_NUMBERS))
def test_a_run_is_found_by_plain_digits_only(api: APIClient, number: str) -> None:
    create_run(pk=1), create_run(pk=3), create_run(pk=10)

    assert api.get(f"/api/v1/sync-runs/{number}").status_code == 404
    assert SyncRun.objects.count() == 3


@pytest.mark.parametrize("value", ["1.5", "7.0", "1e2", "1e400", "true", '"1_0"', '"٧"', '"+7"', '" 7"', '"7.0"', '""'])
@pytest.mark.parametrize("field", ["pipedrive_id", "backfill", "username"])
def test_a_json_value_that_is_no_whole_number_is_named_and_other_rows_are_done(
    api: APIClient, field: str, value: str
) -> None:
    if (field, value) in {("backfill", '""'), ("username", '"1_0"'), ("username", '" 7"'), ("backfill", '" 7"')}:
        pytest.skip("valid")
    body = f'{{"username": "ada", "{field}": {value}}}'
    one = post_json(api, "people", body)
    bulk = post_json(api, "people/bulk", f'[{body}, "ben"]').json()

    assert_names(one, field)
    assert [row["result"] for row in bulk["results"]] == ["rejected", "created"]
    assert field in bulk["results"][0]["reason"] or "GitHub user name" in bulk["results"][0]["reason"]


@pytest.mark.both
@pytest.mark.parametrize("digits", [20, 4299, 5000])
def test_a_number_of_any_length_is_named(ada: Person, api: APIClient, digits: int) -> None:
    body = f'{{"pipedrive_id": -{"9" * digits}}}'

    assert_names(api.patch("/api/v1/people/ada", body, content_type="application/json"), "pipedrive_id")
    assert_names(post_json(api, "people", body), "pipedrive_id")
    assert_names(post_json(api, "feed/ack", f'{{"cursor": {"9" * digits}}}'), "cursor")


@pytest.mark.parametrize("body", ['{"username": NaN}', '{"username": -Infinity}', '"ada', "[" * 100_000, "[[" * 15])
def test_a_body_that_is_not_json_is_a_parse_error(api: APIClient, body: str) -> None:
    for address in ("people", "people/bulk", "feed/ack"):
        assert_names(post_json(api, address, body), "JSON parse error")


def test_values_are_nested_up_to_20_levels() -> None:
    assert load_json(b"[" * 20 + b"]" * 20) != []
    assert load_json(b'{"a":' * 20 + b"1" + b"}" * 20)
    for body in (b"[" * 21 + b"]" * 21, b'{"a":' * 21 + b"1" + b"}" * 21, b"[" * 900 + b"]" * 900):
        with pytest.raises(ValueError, match="nested more than 20 levels deep"):
            load_json(body)


# --- times ---
@pytest.mark.both
@pytest.mark.parametrize("value", NOT_TIMES, ids=lambda value: value[:30])
@pytest.mark.parametrize(
    "address",
    ["people?added_after=", "people?polled_before=", "people/ada/gists?created_after=", "gists?created_before="],
)
def test_a_time_out_of_range_is_named(ada: Person, api: APIClient, address: str, value: str) -> None:
    assert_names(api.get(f"/api/v1/{address}{value}"), address.partition("?")[2].rstrip("="))


@pytest.mark.both
@pytest.mark.parametrize("value", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00-14:00", "9999-12-31T23:59:59.999999Z"])
def test_the_first_and_the_last_moment_are_valid(ada: Person, api: APIClient, value: str) -> None:
    create_gist(ada)

    for address in ("people?added_after=", "people?added_before=", "people/ada/gists?created_after="):
        assert api.get(f"/api/v1/{address}{value}").status_code == 200


# --- characters ---
@pytest.mark.both
@pytest.mark.parametrize("character", [r"\ud800", r"\udfff", r"\ud800\ud800", r"\u0000"])
@pytest.mark.parametrize("template", ['"%s"', '"http://%s.com/x"', '"https://github.com/ada%s"'])
def test_characters_that_cannot_be_stored_are_refused_and_other_rows_are_done(
    api: APIClient, template: str, character: str
) -> None:
    name = template % character
    bulk = post_json(api, "people/bulk", f'["ada", {name}, {{"username": "cleo", {name}: 1}}, "ben"]')

    assert bulk.status_code == 200
    assert [row["result"] for row in bulk.json()["results"]] == ["created", "rejected", "rejected", "created"]
    assert_names(post_json(api, "people", f'{{"username": {name}}}'), "username")
    assert_names(post_json(api, "people", f'{{"username": "dora", {name}: 1}}'), "Unknown field")
    assert set(Person.objects.values_list("github_username", flat=True)) == {"ada", "ben"}


@pytest.mark.both
@pytest.mark.parametrize("field", ["state", "backfill", "pipedrive_id"])
@pytest.mark.parametrize("value", ['"\\ud800"', '"\\u0000"', '"' + "x" * 1_000_000 + '"', "[[[[[1]]]]]", '{"a": {}}'])
def test_a_value_of_a_change_that_is_not_valid_is_named(ada: Person, api: APIClient, field: str, value: str) -> None:
    response = api.patch("/api/v1/people/ada", f'{{"{field}": {value}}}', content_type="application/json")

    assert_names(response, field)
    assert len(response.content) < 2000


@pytest.mark.parametrize("text", ["%ED%A0%80", "%00", "%FF", "%F0%9F%98%80", "%0D%0AX:%201", "." * 3000])
def test_a_path_or_parameter_of_any_characters_is_answered(ada: Person, api: APIClient, text: str) -> None:
    addresses = ["people/%s", "people/%s/gists", "people/ada/gists/%s/attempts", "sync-runs/%s", "%s"]

    assert {api.get(f"/api/v1/{address % text}").status_code for address in addresses} <= {404}
    assert api.post(f"/api/v1/people/ada/gists/{text}/push").status_code == 404
    for query in ("%s=1", "state=%s", "format=%s", "ordering=%s", "has_rejected=%s", "has_unvisited=%s"):
        assert_names(api.get(f"/api/v1/people?{query % text}"), "")
    assert api.get(f"/api/v1/people?search={text}").status_code in (200, 400)


@pytest.mark.parametrize(
    "value",
    ["\x00", "\xff", "a" * 5000, "a b", "%ED%A0%80", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")],
)
@pytest.mark.parametrize(
    "header", ["X-Request-ID", "X-Forwarded-For", "Accept", "Authorization", "Cookie", "If-Match", "Origin"]
)
def test_a_header_of_any_characters_is_answered(ada: Person, api: APIClient, header: str, value: str) -> None:
    response = api.get("/api/v1/people", headers={header: value})

    assert response.status_code in (200, 400, 401, 406)
    assert response["X-Request-ID"].isascii()


# --- sizes ---
MANY = 300_000
LARGE_BODIES = {
    "many fields": json.dumps(dict.fromkeys(map(str, range(MANY)), 1)),
    "a long name": json.dumps({"a" * 4_000_000: 1}),
    "a long login": json.dumps({"username": "." * 4_000_000}),
    "long values": json.dumps({"username": "ada", "pipedrive_id": "9" * 2_000_000, "backfill": "x" * 2_000_000}),
    "a long list": json.dumps([0] * MANY),
}


@pytest.mark.parametrize("name", LARGE_BODIES)
@pytest.mark.parametrize("address", ["people", "people/bulk", "feed/ack"])
def test_a_large_body_gets_a_small_error(api: APIClient, address: str, name: str) -> None:
    body = LARGE_BODIES[name]
    if address == "people/bulk" and name != "a long list":
        result = post_json(api, address, f"[{body}]").json()["results"][0]
        assert (result["result"], len(json.dumps(result)) < 1000) == ("rejected", True)
    else:
        assert_names(post_json(api, address, body), "")


def test_unknown_fields_are_counted(api: APIClient) -> None:
    assert_names(post_json(api, "people", LARGE_BODIES["many fields"]), f"{MANY - 20} more fields are unknown")


@pytest.mark.parametrize("count", [900, 2000])
def test_many_parameters_or_form_fields_get_a_small_error(api: APIClient, count: int) -> None:
    fields = "&".join(f"{'x' * 200}{number}=1" for number in range(count))

    assert_names(api.get(f"/api/v1/people?{fields}"), "parameter")
    assert_names(api.post("/api/v1/people", fields, content_type="application/x-www-form-urlencoded"), "field")


def test_a_long_content_type_gets_a_small_error(api: APIClient) -> None:
    response = api.post("/api/v1/people", b"{}", content_type="a/" + "b" * 50_000)

    assert (response.status_code, len(response.content) < 2000) == (415, True)


def test_5000_bad_rows_have_bounded_results(api: APIClient) -> None:
    rows = [{"username": "http://" + "é" * 300 + f".x/{number}", "x" * 300: 1} for number in range(5000)]

    response = post_json(api, "people/bulk", json.dumps(rows, ensure_ascii=False).encode())

    assert response.json()["rejected"] == 5000
    assert len(response.content) < 5000 * 600
    assert_names(post_json(api, "people/bulk", json.dumps([0] * 10_000)), "Too many rows")


def test_a_long_name_takes_no_quadratic_time(api: APIClient) -> None:
    rows = ["." * 900_000, "a." * 400_000, {"username": "https://" + "." * 900_000}]

    assert post_json(api, "people/bulk", json.dumps(rows)).json()["rejected"] == 3  # would take hours


@pytest.mark.parametrize("ordering", ["id,id", "id,-id", ",".join(["id"] * 3000)])
def test_an_order_names_each_field_once(api: APIClient, ordering: str) -> None:
    assert_names(api.get(f"/api/v1/people?ordering={ordering}"), "ordering")


# --- the admin ---
@pytest.mark.parametrize(
    "query",
    [
        "created_at__gte=0001-01-01T00:00:00%2B14:00",
        "created_at__year=0",
        "created_at__year=99999999999",
        "id__in=9999999999999999999999",
        "id__in=x",
        "attempt_time__gte=0001-01-01T00:00:00%2B14:00",
        "name__regex=(((",
        "page_etags__0__1=x",
        "pk__gt=1e400",
    ],
)
@pytest.mark.parametrize("page", ["people/person", "people/gist", "sync/syncrun", "auth/user", "axes/accessattempt"])
def test_a_list_of_the_admin_has_no_lookups_but_its_filters(admin_client: Client, page: str, query: str) -> None:
    assert admin_client.get(f"/admin/{page}/?{query}").status_code == 400


@pytest.mark.both
@pytest.mark.parametrize("query", ["state__exact=new", "condition=stale", "q=ada", "p=9", "o=1"])
def test_the_filters_of_a_list_of_the_admin_work(ada: Person, admin_client: Client, query: str) -> None:
    assert admin_client.get(f"/admin/people/person/?{query}").status_code == 200


@pytest.mark.parametrize("key", ["x", "", "9" * 22, "9" * 5000, "1.0", "\x00", "-1"])
def test_an_action_of_the_admin_on_no_key_is_refused(ada: Person, admin_client: Client, key: str) -> None:
    response = admin_client.post("/admin/people/person/", {"action": "pause", "_selected_action": key})

    assert response.status_code in (302, 400)
    assert Person.objects.get().state == "new"


@pytest.mark.parametrize("page", ["%s/change/", "%s/delete/", "%s/history/", "%s/forget/", "%s/action/pause/"])
@pytest.mark.parametrize("key", ["9" * 30, "9" * 5000, "%ED%A0%80", "%00", "٣", "_00", "x"])
def test_a_page_of_no_key_is_not_found(admin_client: Client, page: str, key: str) -> None:
    assert admin_client.get(f"/admin/people/person/{page % key}").status_code in (302, 404, 405)
    assert User.objects.count() == 1


# --- the commands ---
@pytest.mark.parametrize(
    "text", ["0" * 20 + "7", "1" + "0" * 17 + "999", "9" * 5000, "٣", "1_0", "+1", "-1", " 1", "1.0"]
)
@pytest.mark.parametrize("parse", [whole_number(1, 100), run_id])
def test_an_argument_that_is_no_whole_number_is_refused(parse: Callable[[str], int], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be"):
        parse(text)


@pytest.mark.both
@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "10000-01-01", "x"])
def test_a_last_day_out_of_range_is_refused(admin_client: Client, day: str) -> None:
    page = admin_client.post("/admin/people/consumer/add/", {"name": "team", "expires": day})

    assert (page.status_code, b"errorlist" in page.content) == (200, True)
