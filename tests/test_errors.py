"""Every error of the API has one shape and a stable code, also if the database is lost in the middle of a request."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.backends.utils import CursorWrapper
from django.db.utils import OperationalError
from pytest_django import Settings
from rest_framework import serializers
from rest_framework.test import APIClient

from gisttracker.common.error_codes import ErrorCode, ErrorType
from gisttracker.web.middleware import BODY_PROBLEM
from people.api.errors import to_code
from people.api.serializers import NewPersonSerializer, PersonChangesSerializer, VisitQuerySerializer
from people.models import Person
from tests.conftest import ROOT, get_error
from tests.factories import create_gist, create_key, create_person, create_run

ORIGIN = "https://app.example.com"


def test_each_code_is_documented_with_its_status_and_meaning() -> None:
    lines = (ROOT / "docs/api.md").read_text().splitlines()

    expected = [
        f"| `{code}` | {'rows of `bulk`' if code.type == ErrorType.ROW else code.status} | {code.meaning} |"
        for code in ErrorCode
    ]
    assert [line for line in lines if line in expected] == expected


@pytest.mark.parametrize("serializer", [NewPersonSerializer, PersonChangesSerializer, VisitQuerySerializer])
def test_each_code_of_a_librarys_field_has_a_name_of_ours(serializer: type[serializers.Serializer[Any]]) -> None:
    codes = {code for field in serializer().fields.values() for code in field.error_messages}

    assert {"required", "null", "invalid"} <= codes
    assert {to_code(code) for code in codes} <= set(ErrorCode)
    assert to_code("something_new") == ErrorCode.INVALID


# --- whoever makes the error ---
def with_key(api: APIClient, **fields: Any) -> APIClient:
    api.credentials(HTTP_AUTHORIZATION=f"Api-Key {create_key(**fields)}")
    return api


def with_session(api: APIClient, **fields: Any) -> APIClient:
    client = APIClient(enforce_csrf_checks=True, **api.defaults)
    client.force_login(User.objects.create_user("mallory", **fields))
    return client


SLOW_BODY: Any = {BODY_PROBLEM: 408}
OVERLOAD: Any = {BODY_PROBLEM: 503}
ERRORS: dict[ErrorCode, Callable[[APIClient], Any]] = {
    ErrorCode.NOT_AUTHENTICATED: lambda api: api.get("/api/v1/people"),
    ErrorCode.MALFORMED_AUTHORIZATION: lambda api: api.get("/api/v1/people", HTTP_AUTHORIZATION="Api-Key a b"),
    ErrorCode.INVALID_KEY: lambda api: api.get("/api/v1/people", HTTP_AUTHORIZATION="Api-Key a.b"),
    ErrorCode.READ_ONLY_KEY: lambda api: with_key(api, read_only=True).delete("/api/v1/people/ada"),
    ErrorCode.NOT_STAFF: lambda api: with_session(api).get("/api/v1/people"),
    ErrorCode.CSRF_FAILED: lambda api: with_session(api, is_staff=True).post("/api/v1/people/ada/sync"),
    ErrorCode.NOT_FOUND: lambda api: with_key(api).get("/api/v1/nothing"),
    ErrorCode.NOT_TRACKED: lambda api: with_key(api).get("/api/v1/people/bob"),
    ErrorCode.GIST_NOT_FOUND: lambda api: with_key(api).post("/api/v1/people/ada/gists/x/push"),
    ErrorCode.RUN_NOT_FOUND: lambda api: with_key(api).get("/api/v1/sync-runs/7"),
    ErrorCode.PAGE_NOT_FOUND: lambda api: with_key(api).get("/api/v1/people?page=9"),
    ErrorCode.METHOD_NOT_ALLOWED: lambda api: with_key(api).put("/api/v1/people/ada"),
    ErrorCode.NOT_ACCEPTABLE: lambda api: with_key(api).get("/api/v1/status", HTTP_ACCEPT="image/png"),
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: lambda api: with_key(api).post("/api/v1/people", b"x", content_type="x/y"),
    ErrorCode.PARSE_ERROR: lambda api: with_key(api).post("/api/v1/people", b"{", content_type="application/json"),
    ErrorCode.NOT_A_LIST: lambda api: with_key(api).post("/api/v1/people/bulk", {}, format="json"),
    ErrorCode.INVALID_CSV: lambda api: with_key(api).post("/api/v1/people/bulk", b"x", content_type="text/csv"),
    ErrorCode.TOO_MANY_ROWS: lambda api: with_key(api).post("/api/v1/people/bulk", ["x"] * 5001, format="json"),
    ErrorCode.BODY_TOO_LARGE: lambda api: with_key(api).post("/api/v1/people", {"username": "x" * 6_000_000}),
    # As the web server passes them; tests/test_web_server.py sends such bodies.
    ErrorCode.BODY_TOO_SLOW: lambda api: with_key(api).post("/api/v1/people", {}, **SLOW_BODY),
    ErrorCode.OVERLOADED: lambda api: with_key(api).post("/api/v1/people", {}, **OVERLOAD),
    ErrorCode.BAD_REQUEST: lambda api: with_key(api).post("/api/v1/people", {f"f{n}": "" for n in range(1001)}),
    ErrorCode.INVALID_HOST: lambda api: api.get("/api/v1/people", HTTP_HOST="evil.example"),
    ErrorCode.UNKNOWN_PARAMETER: lambda api: with_key(api).get("/api/v1/status?x=1"),
    ErrorCode.NOTHING_TO_CHANGE: lambda api: with_key(api).patch("/api/v1/people/ada", {}, format="json"),
    ErrorCode.PAUSED: lambda api: with_key(api).post("/api/v1/people/ada/sync"),
    ErrorCode.GIST_NOT_PUSHABLE: lambda api: with_key(api).post("/api/v1/people/ada/gists/GIST/push"),
    ErrorCode.PRECONDITION_FAILED: lambda api: with_key(api).patch(
        "/api/v1/people/ada", {"state": "active"}, format="json", HTTP_IF_MATCH='"old"'
    ),
    ErrorCode.CURSOR_BEYOND_END: lambda api: with_key(api).post("/api/v1/feed/ack", {"cursor": 10**9}, format="json"),
}


@pytest.mark.django_db
@pytest.mark.parametrize("code", ERRORS)
def test_an_error_has_its_code_and_can_be_read_by_pages_of_other_origins(
    code: ErrorCode, api: APIClient, settings: Settings
) -> None:
    settings.API_AUTH, settings.CORS_ALLOWED_ORIGINS = "key", [ORIGIN]
    person = create_person("ada", state="paused")
    create_gist(person, github_id="GIST", push_state="pushed")
    api.defaults["HTTP_ORIGIN"] = ORIGIN

    response = ERRORS[code](api)

    assert (response.status_code, response["Content-Type"]) == (code.status, "application/json")
    assert response.json().keys() == {"type", "errors"} | ({"request_id"} if code.status >= 500 else set())
    assert (response.json()["type"], get_error(response)["code"]) == (code.type, code)
    assert get_error(response).keys() == {"code", "detail", "attr"}
    assert response["Access-Control-Allow-Origin"] == ORIGIN
    assert "WWW-Authenticate" in response or code.status != 401


# --- a person who is tracked already ---
@pytest.mark.django_db
def test_the_error_about_a_tracked_person_has_the_address_of_the_201(api: APIClient) -> None:
    created = api.post("/api/v1/people", {"username": "Ada"}, format="json")

    refused = api.post("/api/v1/people", {"username": "https://github.com/ADA"}, format="json")

    assert (refused.status_code, get_error(refused)["person_url"]) == (400, created["Location"])
    assert api.get(get_error(refused)["person_url"]).json()["github_username"] == "Ada"


@pytest.mark.both
@pytest.mark.django_db
def test_a_person_whom_another_request_tracks_meanwhile_has_the_same_error(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_person("Ada")
    monkeypatch.setattr("people.api.serializers.parse_new_login", lambda text: text)  # committed after the check

    response = api.post("/api/v1/people", {"username": "ada"}, format="json")

    assert (response.status_code, get_error(response)["code"]) == (400, "already_tracked")
    assert get_error(response)["person_url"] == "http://testserver/api/v1/people/Ada"


@pytest.mark.django_db
def test_invalid_fields_are_reported_together(api: APIClient) -> None:
    body = {"username": "a b", "pipedrive_id": 0, "backfill": "some"}

    errors = api.post("/api/v1/people", body, format="json").json()["errors"]

    assert {error["attr"]: error["code"] for error in errors} == {
        "username": "invalid_login",
        "pipedrive_id": "min_value",
        "backfill": "invalid_backfill",
    }


# --- the database is lost ---
REQUESTS = [
    ("POST", "/api/v1/people", {"username": "ben"}),
    ("POST", "/api/v1/people/bulk", ["cleo", "dora"]),
    ("GET", "/api/v1/people?search=ada", None),
    ("GET", "/api/v1/people/ada", None),
    ("GET", "/api/v1/people/ada?getAllGists=true", None),
    ("PATCH", "/api/v1/people/ada", {"backfill": "all"}),
    ("POST", "/api/v1/people/ada/sync", None),
    ("GET", "/api/v1/people/ada/gists", None),
    ("GET", "/api/v1/people/ada/gists/GIST/attempts", None),
    ("POST", "/api/v1/people/ada/gists/GIST/push", None),
    ("GET", "/api/v1/gists", None),
    ("POST", "/api/v1/feed/ack", {"cursor": 0}),
    ("GET", "/api/v1/me", None),
    ("GET", "/api/v1/status", None),
    ("GET", "/api/v1/sync-runs", None),
    ("GET", "/metrics", None),
    ("DELETE", "/api/v1/people/ada", None),
    ("DELETE", "/api/v1/people/ada?forget=true", None),
]


class LostConnection:
    """Fails one statement, counted from now on."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.has_failed = False

    def wrap(self, execute: Callable[..., Any]) -> Callable[..., Any]:
        def fail_once(cursor: CursorWrapper, *args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                self.has_failed = True
                raise OperationalError(2013, "Lost connection to db.internal during query")
            return execute(cursor, *args, **kwargs)

        return fail_once


@pytest.mark.slow("repeats requests once for each of their statements")
@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_a_connection_lost_at_any_statement_is_503(
    api: APIClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In authentication, or in any step of a view."""
    settings.API_AUTH, settings.API_REQUESTS_PER_MINUTE = "key", 100_000
    create_gist(create_person("ada"), github_id="GIST", push_state="rejected")
    create_run(outcome="succeeded")
    api.raise_request_exception = False
    api.credentials(HTTP_AUTHORIZATION=f"Api-Key {create_key()}")

    failed = {f"{method} {path}": count_503s(api, monkeypatch, method, path, body) for method, path, body in REQUESTS}

    assert {name: count for name, count in failed.items() if count < 2} == {}
    assert sorted(Person.objects.values_list("github_username", flat=True)) == ["ben", "cleo", "dora"]


def count_503s(api: APIClient, monkeypatch: pytest.MonkeyPatch, method: str, path: str, body: Any) -> int:
    """Send a request until no statement of it has failed. Returns how many statements it has."""
    for number in range(1, 100):
        lost = LostConnection(number)
        with monkeypatch.context() as patch:
            patch.setattr(CursorWrapper, "execute", lost.wrap(CursorWrapper.execute))
            response = api.generic(method, path, *encode(body), headers={"X-Request-ID": "r7"})
        if not lost.has_failed:
            # 400, 404 or 409: a request whose response was lost had been processed before.
            assert response.status_code < 500, (method, path, response.content)
            return number - 1
        assert (response.status_code, response["Retry-After"]) == (503, "5"), (method, path, number)
        assert response.json() == {
            "type": "server_error",
            "errors": [{"code": "database_unavailable", "detail": get_error(response)["detail"], "attr": None}],
            "request_id": "r7",
        }
        assert "db.internal" not in response.content.decode()
    raise AssertionError(f"{method} {path} does not end")


def encode(body: Any) -> tuple[str, str]:
    return ("", "application/octet-stream") if body is None else (json.dumps(body), "application/json")
