"""Lists and filters, changes of people and gists, tracking many people, invalid requests."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from gisttracker.common.error_codes import CODES
from people.models import Gist, Person
from tests.conftest import get_error
from tests.factories import create_gist, create_gists, create_person

pytestmark = pytest.mark.django_db


def list_usernames(api: APIClient, query: str) -> list[str]:
    response = api.get(f"/api/v1/people?{query}")
    assert response.status_code == 200, response.content
    return sorted(row["github_username"] for row in response.json()["results"])


def post_csv(api: APIClient, text: str | bytes) -> Any:
    return api.post("/api/v1/people/bulk", text, content_type="text/csv")


def get_results(response: Any) -> list[str]:
    return [row["result"] for row in response.json()["results"]]


# --- people ---
@pytest.mark.both
def test_people_are_filtered(api: APIClient) -> None:
    ada = create_person("ada", state="active", polled_at=timezone.now())
    create_person("ben", state="gone")
    create_person("cleo")
    create_gist(ada, push_state="rejected")
    yesterday = (timezone.now() - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")

    assert list_usernames(api, "state=active") == ["ada"]
    assert list_usernames(api, "state=active&state=gone") == ["ada", "ben"]
    assert list_usernames(api, "has_rejected=true") == list_usernames(api, "has_unvisited=true") == ["ada"]
    assert list_usernames(api, "has_rejected=false") == list_usernames(api, "has_unvisited=false") == ["ben", "cleo"]
    assert list_usernames(api, f"polled_after={yesterday}") == ["ada"]
    assert list_usernames(api, f"added_before={yesterday}") == []
    api.get("/api/v1/people/ada")
    assert list_usernames(api, "has_unvisited=true") == []


@pytest.mark.both
@pytest.mark.parametrize(
    ("name", "found"),
    [
        *((name, ["Ada"]) for name in ("ada", "ADA", "@ada", "https://github.com/ada", "ada&state=active")),
        *((name, []) for name in ("ad", "adam", "bob", "ada&state=gone")),
    ],
)
def test_one_person_is_read_by_the_login_without_a_visit(api: APIClient, name: str, found: list[str]) -> None:
    ada = create_person("Ada", state="active")
    create_person("ada-2", name="Ada", state="active")
    create_gist(ada)

    assert list_usernames(api, f"username={name}") == found
    assert list_usernames(api, "has_unvisited=true") == ["Ada"]


@pytest.mark.parametrize("query", ["username=a%20b", "username=https://example.com/ada", "username=%00"])
def test_a_username_that_is_no_login_is_named(api: APIClient, query: str) -> None:
    response = api.get(f"/api/v1/people?{query}")

    assert (response.status_code, get_error(response)["attr"]) == (400, "username")


@pytest.mark.both
def test_one_person_is_found_by_the_index_of_the_logins(api: APIClient) -> None:
    create_person("ada")
    with CaptureQueriesContext(connection) as queries:
        api.get("/api/v1/people?username=ADA")

    statement = next(query["sql"] for query in queries if "WHERE" in query["sql"] and "username_key" in query["sql"])
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {'QUERY PLAN' if connection.vendor == 'sqlite' else 'FORMAT=TRADITIONAL'} {statement}")
        plan = str(cursor.fetchall())
    assert "username_key" in plan
    assert ("SEARCH people_person USING" if connection.vendor == "sqlite" else "'const'") in plan


@pytest.mark.both
@pytest.mark.parametrize(
    "term", ["love", "VELA", "ADA", "ada@ex", "example.com", "ada love", "a-a com", "augusta-ada", "Ä"]
)
def test_people_are_found_by_parts_of_the_login_name_and_email_address(api: APIClient, term: str) -> None:
    create_person("Augusta-Ada", name="Ada Lovelace Ärger", email="ada@example.com")
    create_person("ben", name="Ben", email="ben@test.org")

    assert list_usernames(api, f"search={term}") == ["Augusta-Ada"]


@pytest.mark.both
def test_a_changed_name_is_found_and_the_old_one_is_not(api: APIClient) -> None:
    person = create_person("ada", name="Ada Byron")
    person.name = "Ada Lovelace"
    person.save()

    assert list_usernames(api, "search=lovelace") == ["ada"]
    assert list_usernames(api, "search=byron") == list_usernames(api, "search=lovelace byron") == []


def test_pages_are_linked_in_the_link_header(api: APIClient) -> None:
    for number in range(3):
        create_person(f"person-{number}")

    response = api.get("/api/v1/people?page=2&page_size=1")

    assert response["Link"] == (
        '<http://testserver/api/v1/people?page=3&page_size=1>; rel="next", '
        '<http://testserver/api/v1/people?page_size=1>; rel="prev"'
    )


def test_the_csv_of_people_contains_no_formulas(api: APIClient) -> None:
    create_person("ada", name="=HYPERLINK(1)", company="+1", location="@home")
    create_person("ben", state="gone")

    response = api.get("/api/v1/people?format=csv&state=new")
    lines = b"".join(response.streaming_content).decode().splitlines()  # type: ignore[attr-defined]

    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert lines[0].startswith("github_username,name,email,company,location,state,")
    assert [line[:32] for line in lines[1:]] == ["ada,'=HYPERLINK(1),,'+1,'@home,n"]


# --- one person ---
def test_a_person_can_be_paused_and_resumed(api: APIClient) -> None:
    create_person("ada", github_id=1, state="active")

    paused = api.patch("/api/v1/people/ada", {"state": "paused"}, format="json").json()["state"]
    sync = api.post("/api/v1/people/ada/sync")
    resumed = api.patch("/api/v1/people/ada", {"state": "active"}, format="json").json()["state"]

    assert (paused, resumed) == ("paused", "active")
    assert (sync.status_code, get_error(sync)["detail"]) == (
        400,
        "@ada is paused. Set its state to active with PATCH first.",
    )


def test_a_changed_pipedrive_person_is_matched_again(api: APIClient) -> None:
    create_person("ada", pipedrive_id=1, pipedrive_matched_at=timezone.now())

    response = api.patch("/api/v1/people/ada", {"pipedrive_id": 7}, format="json")

    person = Person.objects.get()
    assert (response.status_code, person.pipedrive_id, person.pipedrive_matched_at) == (200, 7, None)


@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded"])
def test_an_empty_field_of_a_form_changes_nothing(content_type: str, api: APIClient) -> None:
    create_person("ada", pipedrive_id=7, backfill="none")
    body = {"pipedrive_id": "", "backfill": "", "state": "paused"}
    encoded = encode_multipart("x", body) if content_type.startswith("multipart") else urlencode(body)

    response = api.patch("/api/v1/people/ada", encoded, content_type=content_type)

    ada = Person.objects.get()
    assert (response.status_code, ada.pipedrive_id, ada.backfill, ada.state) == (200, 7, "none", "paused")


@pytest.mark.both
def test_a_wider_backfill_makes_skipped_gists_pending(api: APIClient) -> None:
    person = create_person("ada", backfill="none")
    for day in (1, 2, 3):
        create_gist(person, push_state="skipped", github_created_at=datetime(2026, 1, day, tzinfo=UTC))
    create_gist(person, push_state="pushed")
    create_gist(person, push_state="skipped", push_error="Skipped by hand.")

    api.patch("/api/v1/people/ada", {"backfill": "2026-01-02"}, format="json")
    since_the_second = Gist.objects.filter(push_state="pending").count()
    api.patch("/api/v1/people/ada", {"backfill": "all"}, format="json")
    since_ever = Gist.objects.filter(push_state="pending").count()
    api.patch("/api/v1/people/ada", {"backfill": "none"}, format="json")

    assert (since_the_second, since_ever) == (2, 3)
    assert Gist.objects.filter(push_state="pending").count() == 3  # A narrower choice takes nothing back.
    assert Gist.objects.filter(push_state="skipped").count() == 1


@pytest.mark.both
def test_a_sync_can_be_requested(api: APIClient) -> None:
    create_person("ada")

    response = api.post("/api/v1/people/ADA/sync/")

    assert (response.status_code, bool(response.json()["sync_requested_at"])) == (202, True)


def test_a_person_with_the_login_bulk_can_be_visited_and_deleted(api: APIClient) -> None:
    api.post("/api/v1/people/bulk", ["bulk"], format="json")

    assert api.get("/api/v1/people/bulk").json()["github_username"] == "bulk"
    assert api.delete("/api/v1/people/bulk").status_code == 204


# --- gists ---
@pytest.mark.both
def test_gists_are_listed_and_filtered_without_moving_the_marker(
    api: APIClient, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    person = create_person("ada")
    create_gists(person, 12)
    create_gist(person, push_state="rejected", removed_at=timezone.now())

    with django_assert_max_num_queries(3):
        page = api.get("/api/v1/people/ada/gists?page_size=10").json()

    assert (page["count"], len(page["results"])) == (13, 10)
    assert api.get("/api/v1/people/ada/gists?push_state=rejected").json()["count"] == 1
    assert api.get("/api/v1/people/ada/gists?removed=true").json()["count"] == 1
    assert api.get("/api/v1/people/ada/gists?removed=false&ordering=-id").json()["count"] == 12
    assert len(api.get("/api/v1/people/ada").json()["gists"]) == 13
    assert api.get("/api/v1/people/ben/gists").status_code == 404


@pytest.mark.parametrize(
    ("state", "status"), [("rejected", 202), ("skipped", 202), ("pushed", 409), ("started", 409), ("pending", 409)]
)
def test_only_a_rejected_or_skipped_gist_can_be_pushed_again(api: APIClient, state: str, status: int) -> None:
    gist = create_gist(create_person("ada"), push_state=state)

    response = api.post(f"/api/v1/people/ada/gists/{gist.github_id}/push")

    assert response.status_code == status
    assert Gist.objects.get().push_state == ("pending" if status == 202 else state)


def test_a_gist_of_another_person_is_404(api: APIClient) -> None:
    create_person("ada")
    gist = create_gist(create_person("ben"), push_state="rejected")

    assert api.post(f"/api/v1/people/ada/gists/{gist.github_id}/push").status_code == 404


# --- many people ---
def test_a_bad_row_does_not_affect_the_others(api: APIClient) -> None:
    create_person("Grace")
    rows = ["ada", {"username": "@grace"}, {"username": "ben", "pipedrive_id": 7, "backfill": "none"}, "a b", "ADA", 7]
    rows += [{"username": "x", "pipedrive_id": True}, {"username": "x", "backfill": "some"}, {"user": "x"}, None]

    response = api.post("/api/v1/people/bulk", rows, format="json")

    assert response.status_code == 200
    assert get_results(response) == [
        "created",
        "already_tracked",
        "created",
        "rejected",
        "already_tracked",
        *["rejected"] * 5,
    ]
    assert {name: response.json()[name] for name in ("created", "already_tracked", "rejected")} == {
        "created": 2,
        "already_tracked": 2,
        "rejected": 6,
    }
    assert [row["code"] for row in response.json()["results"]] == [
        None,
        "already_tracked",
        None,
        "invalid_login",
        "duplicate_row",
        "invalid_row",
        "invalid_pipedrive_id",
        "invalid_backfill",
        "unknown_field",
        "invalid_row",
    ]
    assert all(row["reason"] for row in response.json()["results"] if row["code"])
    ben = Person.objects.get(github_username="ben")
    assert (ben.pipedrive_id, ben.backfill, Person.objects.count()) == (7, "none", 3)
    assert list_usernames(api, "search=ben") == ["ben"]


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
def test_people_are_tracked_from_csv(api: APIClient, bom: bytes) -> None:
    text = 'username,pipedrive_id,backfill\r\nada,,\r\n"@ben",7,none\r\ncleo,x,\r\ntoo,many,fields,here\r\nshort\r\n'

    response = post_csv(api, bom + text.encode())

    assert get_results(response) == ["created", "created", "rejected", "rejected", "created"]
    assert response.json()["results"][3]["username"] == "too"
    assert Person.objects.get(github_username="ben").pipedrive_id == 7


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "not_a_list"),
        (b"name\nada\n", "invalid_csv"),
        (b"username,username\nada,ada\n", "invalid_csv"),
        (b"username\n\xff\xfe\n", "invalid_csv"),
        (b"username\nada\0\n", "invalid_csv"),
        (b'username\n"ada\n', "invalid_csv"),
        ("username\n".encode("utf-16"), "invalid_csv"),
        (b"username\n" + b"ada\n" * 5001, "too_many_rows"),
    ],
    ids=["empty", "header", "twice", "latin-1", "NUL", "quote", "utf-16", "5001 rows"],
)
def test_a_broken_csv_is_rejected_as_a_whole(api: APIClient, text: bytes, code: str) -> None:
    response = post_csv(api, text)

    assert (response.status_code, get_error(response)["code"]) == (400, code)
    assert not Person.objects.exists()


def test_the_error_of_a_broken_csv_names_the_line(api: APIClient) -> None:
    assert "broken at line 3:" in get_error(post_csv(api, 'username,backfill\nada,1\n"ben"x,2\n'))["detail"]


@pytest.mark.slow("tracks 5,000 people")
@pytest.mark.both
def test_5000_people_are_tracked_in_few_queries(
    api: APIClient, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    rows = [f"person-{number}" for number in range(5000)]

    with django_assert_max_num_queries(350):  # SQLite allows few values per statement.
        response = api.post("/api/v1/people/bulk", rows, format="json")

    assert response.json()["created"] == Person.objects.count() == 5000


def test_people_are_imported_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "people.csv").write_text("username\nada\na b\n", "utf-8-sig")
    (tmp_path / "people.json").write_text(json.dumps(["ada", "ben"]))

    with pytest.raises(SystemExit) as end:
        call_command("import_people", str(tmp_path / "people.csv"))
    call_command("import_people", str(tmp_path / "people.json"))

    lines = capsys.readouterr().out.splitlines()
    assert end.value.code == 3
    assert lines[0].startswith("row 2 (a b): A GitHub user name")
    assert lines[1:] == [
        "1 created, 0 already tracked, 1 rejected.",
        "1 created, 1 already tracked, 0 rejected.",
    ]


@pytest.mark.parametrize("name", ["missing.csv", "broken.json"])
def test_an_unreadable_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "broken.json").write_text("[")

    with pytest.raises(CommandError, match=name):
        call_command("import_people", str(tmp_path / name))


# --- invalid requests ---
def test_an_unknown_parameter_is_named_with_the_allowed_ones(api: APIClient) -> None:
    response = api.get("/api/v1/sync-runs?pages=2")

    assert get_error(response) == {
        "code": "unknown_parameter",
        "detail": "Unknown parameter `pages`. Allowed: after, ordering, page, page_size.",
        "attr": "pages",
    }


def test_an_unknown_field_is_named_with_the_allowed_ones(api: APIClient) -> None:
    response = api.post("/api/v1/people", {"username": "ada", "state": "gone"}, format="json")

    assert get_error(response) == {
        "code": "unknown_field",
        "detail": "Unknown field `state`. Allowed: backfill, pipedrive_id, username.",
        "attr": "state",
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("page=0", "invalid"),
        ("page=-1", "invalid"),
        ("page=x", "invalid"),
        ("page=99999999999999999999", "invalid"),
        ("page=99", "page_not_found"),
        ("page_size=0", "invalid"),
        ("page_size=501", "invalid"),
        ("page_size=x", "invalid"),
        ("state=odd", "invalid_choice"),
        ("added_after=soon", "invalid"),
        ("has_rejected=maybe", "invalid_choice"),
        ("ordering=password", "invalid_choice"),
        ("ordering=", "blank"),
        ("format=xml", "invalid_choice"),
        ("search=%00", "invalid_characters"),
        ("search=a+b+c+d+e+f+g+h+i", "too_many_terms"),
        ("stat=new", "unknown_parameter"),
        ("getAllGists=true", "unknown_parameter"),
        ("state=", "blank"),
        ("page=1&page=2", "repeated_parameter"),
    ],
)
def test_an_invalid_query_is_rejected_with_a_reason(api: APIClient, query: str, expected: str) -> None:
    response = api.get(f"/api/v1/people?{query}")

    code, status = get_error(response)["code"], response.status_code
    assert (code, status) == (expected, 404 if expected == "page_not_found" else 400)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"null", "application/json"),
        (b'"ada"', "application/json"),
        (b'{"username": NaN}', "application/json"),
        (b'{"username": {"a": 1}}', "application/json"),
        (b'{"username": "ada", "state": "gone"}', "application/json"),
        (b'{"username": "ad\\u0000a"}', "application/json"),
        (b'{"username": "' + b"a" * 1_000_000 + b'"}', "application/json"),
        (b'{"username": "\xff"}', "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"username=ada%00", "application/x-www-form-urlencoded"),
        (b"user=ada", "application/x-www-form-urlencoded"),
        (b"garbage", "multipart/form-data; boundary=x"),
        (b"<ada/>", "application/xml"),
        (b"\xff\xfe", "text/plain"),
    ],
    ids=lambda value: repr(value)[:30],
)
@pytest.mark.parametrize("address", ["people", "people/bulk"])
def test_an_invalid_body_is_rejected_with_a_reason(api: APIClient, address: str, body: bytes, kind: str) -> None:
    response = api.post(f"/api/v1/{address}", body, content_type=kind)

    if (address, body) == ("people/bulk", b"[]"):
        assert response.status_code == 200  # an empty list is valid
    else:
        assert 400 <= response.status_code < 500
        assert all(CODES[error["code"]].status == response.status_code for error in response.json()["errors"])
    assert not Person.objects.exists()


def test_a_body_over_five_megabytes_is_rejected(api: APIClient) -> None:
    response = api.post("/api/v1/people", b"x" * (5 * 1024 * 1024 + 1), content_type="application/json")

    assert (response.status_code, "5 MB are allowed" in get_error(response)["detail"]) == (413, True)


def test_an_unknown_address_is_404_in_json(api: APIClient) -> None:
    response = api.get("/api/v1/nothing")

    assert (response.status_code, "documentation" in get_error(response)["detail"]) == (404, True)


# --- operations without a body ---
WITHOUT_BODY = [
    ("DELETE", "people/ada", "This request has no body; use ?forget=true."),
    ("DELETE", "people/ada?forget=true", "This request has no body; use ?forget=true."),
    ("POST", "people/ada/sync", "This request has no body."),
    ("POST", "people/ada/gists/GIST/push", "This request has no body."),
]
BODIES: list[tuple[str, Any]] = [
    ("application/json", '{"forget": true}'),
    ("application/json", '["forget"]'),
    ("application/json", "{"),
    ("application/x-www-form-urlencoded", "forget=true"),
    (MULTIPART_CONTENT, encode_multipart(BOUNDARY, {"forget": "true"})),
    ("text/plain", "forget"),
]
NO_BODIES: list[tuple[str, Any]] = [
    ("application/json", ""),
    ("application/json", "{}"),
    ("application/x-www-form-urlencoded", ""),
    (MULTIPART_CONTENT, encode_multipart(BOUNDARY, {})),
    ("text/plain", ""),
]


@pytest.mark.parametrize(("method", "address", "detail"), WITHOUT_BODY)
def test_a_body_of_an_operation_without_one_is_rejected(method: str, address: str, detail: str, api: APIClient) -> None:
    create_gist(create_person("ada"), github_id="GIST", push_state="rejected")

    for content_type, body in BODIES:
        response = api.generic(method, f"/api/v1/{address}", body, content_type=content_type)
        assert (response.status_code, get_error(response)) == (
            400,
            {"code": "unknown_field", "detail": detail, "attr": None},
        ), body

    assert Person.objects.get().sync_requested_at is None
    assert Gist.objects.get().push_state == "rejected"


@pytest.mark.parametrize(("content_type", "body"), NO_BODIES)
@pytest.mark.parametrize(("method", "address", "_"), WITHOUT_BODY)
def test_an_empty_body_is_accepted(
    method: str, address: str, _: str, content_type: str, body: str, api: APIClient
) -> None:
    create_gist(create_person("ada"), github_id="GIST", push_state="rejected")

    assert api.generic(method, f"/api/v1/{address}", body, content_type=content_type).status_code in (202, 204)


def test_a_small_number_of_rows_is_counted_exactly_and_a_large_one_is_kept_for_a_moment(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("people.api.pagination.MAX_EXACT_COUNT", 2)
    counts = []
    for number in range(5):
        create_person(f"person-{number}")
        counts.append(api.get("/api/v1/people").json()["count"])

    assert counts == [1, 2, 3, 3, 3]


@pytest.mark.parametrize(("size", "status"), [("0", 400), ("1", 200), ("500", 200), ("501", 400)])
def test_a_page_has_between_1_and_500_rows(size: str, status: int, api: APIClient) -> None:
    assert api.get(f"/api/v1/people?page_size={size}").status_code == status
