"""Errors are pages in the admin and JSON below /api/; every page of the admin names the installation."""

from typing import NoReturn

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db.utils import InterfaceError, OperationalError, ProgrammingError
from django.http import Http404, HttpRequest
from django.test import Client
from django.urls import path
from pytest_django import Settings
from rest_framework.request import Request
from rest_framework.views import APIView

from gisttracker import __version__
from gisttracker.common.error_codes import ErrorCode
from gisttracker.web import urls
from gisttracker.web.urls import handler400, handler403, handler404, handler500  # noqa: F401  # found by Django
from tests.conftest import fail_statements, get_error

ERRORS = {
    "bad-request": (SuspiciousOperation("at db.internal"), ErrorCode.BAD_REQUEST),
    "not-allowed": (PermissionDenied("at db.internal"), ErrorCode.PERMISSION_DENIED),
    "not-found": (Http404("at db.internal"), ErrorCode.NOT_FOUND),
    "bug": (ValueError("at db.internal"), ErrorCode.INTERNAL_ERROR),
    "refused-statement": (OperationalError(1054, "at db.internal"), ErrorCode.INTERNAL_ERROR),
    "missing-table": (ProgrammingError(1146, "at db.internal"), ErrorCode.INTERNAL_ERROR),
    "no-connection": (OperationalError(2003, "at db.internal"), ErrorCode.DATABASE_UNAVAILABLE),
    "unknown-host": (OperationalError(2005, "at db.internal"), ErrorCode.DATABASE_UNAVAILABLE),
    "changed-password": (OperationalError(1045, "at db.internal"), ErrorCode.DATABASE_UNAVAILABLE),
    "lost-connection": (InterfaceError(0, "at db.internal"), ErrorCode.DATABASE_UNAVAILABLE),
    "locked-row": (OperationalError(1205, "at db.internal"), ErrorCode.DATABASE_UNAVAILABLE),
}


def fail(request: HttpRequest, kind: str) -> NoReturn:
    raise ERRORS[kind][0]


class FailingView(APIView):
    def get(self, request: Request, kind: str) -> NoReturn:
        fail(request._request, kind)


urlpatterns = [
    path("api/v1/fail-in-view/<str:kind>", FailingView.as_view()),
    path("admin/fail/<str:kind>", fail),
    path("api/v1/fail/<str:kind>", fail),
    *urls.urlpatterns,
]
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]


@pytest.fixture
def visitor(admin_client: Client) -> Client:
    """Logged in to the admin; gets the error response instead of the exception."""
    admin_client.raise_request_exception = False
    return admin_client


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize(
    ("prefix", "media_type"),
    [("/admin/fail/", "text/html; charset=utf-8"), ("/api/v1/fail/", "application/json")],
)
def test_an_error_is_a_page_in_the_admin_and_json_in_the_api(
    prefix: str, media_type: str, kind: str, visitor: Client
) -> None:
    response = visitor.get(prefix + kind)

    assert (response.status_code, response["Content-Type"]) == (ERRORS[kind][1].status, media_type)
    assert "db.internal" not in response.content.decode()
    assert ("gisttracker/admin.css" in response.content.decode()) == prefix.startswith("/admin/")
    assert ("Retry-After" in response) == (response.status_code == 503)


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("prefix", ["/api/v1/fail/", "/api/v1/fail-in-view/"])
def test_an_error_in_the_api_has_the_shape_of_all_errors(prefix: str, kind: str, visitor: Client) -> None:
    response, code = visitor.get(prefix + kind, headers={"X-Request-ID": "look-for-this"}), ERRORS[kind][1]

    body = response.json()
    assert (response.status_code, body["type"], get_error(response)["code"]) == (code.status, code.type, code)
    assert set(get_error(response)) == {"code", "detail", "attr"}
    assert body.get("request_id") == ("look-for-this" if code.status >= 500 else None)


@pytest.mark.parametrize("kind", ["bug", "no-connection"])
def test_the_page_of_a_failure_has_the_request_id(kind: str, visitor: Client) -> None:
    response = visitor.get(f"/admin/fail/{kind}", headers={"X-Request-ID": "look-for-this"})

    assert "<code>look-for-this</code>" in response.content.decode()


@pytest.mark.parametrize("kind", ["bug", "no-connection", "bad-request"])
def test_the_page_needs_no_database(kind: str, visitor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_statements(monkeypatch, 2003)

    response = visitor.get(f"/admin/fail/{kind}")

    assert (response.status_code, b"</html>" in response.content) == (ERRORS[kind][1].status, True)


@pytest.mark.parametrize("kind", ["not-found", "not-allowed"])
def test_a_page_with_the_navigation_is_503_without_a_database(
    kind: str, visitor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_statements(monkeypatch, 2003)

    response = visitor.get(f"/admin/fail/{kind}")

    assert (response.status_code, b"</html>" in response.content) == (503, True)


@pytest.mark.parametrize(
    "address", ["/admin/nothing-here/", "/admin/people/nothing/", "/api/v1/nothing", "/api/", "/nothing"]
)
def test_an_unknown_address_is_404_of_the_right_kind(address: str, visitor: Client) -> None:
    response = visitor.get(address)

    is_json = response["Content-Type"] == "application/json"
    assert (response.status_code, is_json) == (404, address.startswith("/api/"))
    assert (b"gisttracker/admin.css" in response.content) == address.startswith("/admin/")


def test_a_missing_permission_is_a_page_with_the_navigation(client: Client) -> None:
    client.force_login(User.objects.create_user("ben", is_staff=True))

    response = client.get("/admin/people/person/")

    assert (response.status_code, b"Log out" in response.content) == (403, True)
    assert b"Ask an administrator" in response.content


@pytest.mark.parametrize("address", ["/admin/login/", "/admin/logout/", "/admin/people/person/add/"])
def test_a_form_without_a_csrf_token_is_a_page(address: str) -> None:
    response = Client(enforce_csrf_checks=True).post(address, {"username": "ada"})

    assert (response.status_code, b"gisttracker/admin.css" in response.content) == (403, True)
    assert b"reload the page" in response.content


def test_a_wrong_host_header_is_a_page_without_a_session(client: Client) -> None:
    response = client.get("/admin/", headers={"Host": "evil.example"})

    assert (response.status_code, b"gisttracker/admin.css" in response.content) == (400, True)
    assert b"evil" not in response.content


@pytest.mark.parametrize(("address", "is_page"), [("/admin/login/", True), ("/api/v1/people", False)])
def test_a_request_that_is_too_large_is_413(address: str, is_page: bool, client: Client, settings: Settings) -> None:
    settings.MAX_BODY_BYTES = 10

    response = client.post(address, {"username": "ada lovelace"})

    assert (response.status_code, b"</html>" in response.content) == (413, is_page)


# --- the frame ---
PAGES = ["/admin/", "/admin/people/", "/admin/people/person/", "/admin/people/person/add/", "/admin/password_change/"]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("production", "production: real data"),
        ("Prod EU", "Prod EU: real data"),
        ("staging", ">staging<"),
        ("<b>", "&lt;b&gt;"),
    ],
)
@pytest.mark.parametrize("address", [*PAGES, "/admin/nothing/", "/admin/fail/bug", "/admin/fail/bad-request"])
def test_each_page_names_environment_and_version(
    address: str, name: str, label: str, visitor: Client, settings: Settings
) -> None:
    settings.ENVIRONMENT_NAME = name

    text = visitor.get(address).content.decode()

    assert label in text.partition("<body")[2]
    assert f"gisttracker {__version__}, environment" in text
    assert "gisttracker " + name.replace("<b>", "&lt;b&gt;") in text.partition("</title>")[0]


def test_the_login_page_names_environment_and_version(client: Client, settings: Settings) -> None:
    settings.ENVIRONMENT_NAME = "production"

    text = client.get("/admin/login/").content.decode()

    assert "production: real data" in text
    assert f"gisttracker {__version__}" in text


def test_without_a_name_only_the_version_is_shown(client: Client, settings: Settings) -> None:
    settings.ENVIRONMENT_NAME = ""

    text = client.get("/admin/login/").content.decode()

    assert f"gisttracker {__version__}<" in text
    assert 'class="environment' not in text


@pytest.mark.parametrize("address", [*PAGES, "/admin/nothing/", "/admin/fail/bug"])
def test_no_page_has_an_inline_script(address: str, visitor: Client) -> None:
    """The Content-Security-Policy forbids them."""
    text = visitor.get(address).content.decode()

    scripts = [tag.partition(">")[0] for tag in text.split("<script")[1:]]
    assert [tag for tag in scripts if "src=" not in tag and "application/json" not in tag] == []
