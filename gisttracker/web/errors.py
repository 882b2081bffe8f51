"""Error responses for requests that no view handles: a page in the admin, JSON below /api/."""

import sys
from collections.abc import Mapping

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.views import csrf, defaults

from gisttracker.common.database import is_transient
from gisttracker.common.database_errors import NOT_MIGRATED, find_cause
from gisttracker.common.error_codes import ErrorCode
from gisttracker.web.context_processors import frame

RETRY_AFTER_SECONDS = 5
BAD_REQUEST = "The request is not valid."
INTERNAL_ERROR = "The service failed to process this request. The reason is in its log."
DATABASE_UNAVAILABLE = "The database is not available at the moment. Try again in a few seconds."
BODY_PROBLEMS = {
    408: ("Request too slow", ErrorCode.BODY_TOO_SLOW, "The body of the request did not arrive in time."),
    413: (
        "Request too large",
        ErrorCode.BODY_TOO_LARGE,
        f"The body is too large. At most {settings.MAX_BODY_BYTES >> 20} MB are allowed.",
    ),
    503: (
        "Temporarily not available",
        ErrorCode.OVERLOADED,
        "Too many large requests are being received. Try again in a few seconds.",
    ),
}
TO_START = {"path": "/admin/", "text": "Go to the start page"}


def is_in_admin(request: HttpRequest) -> bool:
    return request.path.startswith("/admin/")


def is_in_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def json_error(
    request: HttpRequest, code: ErrorCode, detail: str, *, headers: Mapping[str, str] | None = None
) -> JsonResponse:
    """Return an error in the shape of people.api.errors."""
    body = {"type": code.type, "errors": [{"code": code, "detail": detail, "attr": None}]}
    request_id = {"request_id": get_request_id(request)} if code.status >= 500 else {}
    no_store = {"Cache-Control": "private, no-store"}
    return JsonResponse({**body, **request_id}, status=code.status, headers={**no_store, **(headers or {})})


def is_database_unavailable(error: BaseException) -> bool:
    """Is this about the database, and not about our statement? A missing table or column is a defect."""
    return is_transient(error) or find_cause(error) not in (None, NOT_MIGRATED)


def render_page(
    status: int,
    title: str,
    detail: str,
    *,
    link: Mapping[str, str] = TO_START,
    request_id: str = "",
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """Return a page in the look of the admin. It uses neither session nor database, which may be what failed."""
    context = {**frame(None), "title": title, "detail": detail, "link": link, "request_id": request_id}
    return HttpResponse(render_to_string("admin/error.html", context), status=status, headers=headers)


def render_page_for_user(request: HttpRequest, status: int, title: str, detail: str) -> HttpResponse:
    """Return a page with the navigation that this user has."""
    context = {**admin.site.each_context(request), "title": title, "detail": detail, "link": TO_START}
    return HttpResponse(render_to_string("admin/error.html", context, request), status=status)


def server_error(request: HttpRequest) -> HttpResponse:
    """Return 503 with Retry-After while the database is not available, 500 for any other error."""
    error = sys.exc_info()[1]
    if error and is_database_unavailable(error):
        return database_not_available(request)
    if is_in_admin(request):
        return render_page(500, "Server error", INTERNAL_ERROR, request_id=get_request_id(request))
    return json_error(request, ErrorCode.INTERNAL_ERROR, INTERNAL_ERROR)


def database_not_available(request: HttpRequest) -> HttpResponse:
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    if is_in_admin(request):
        title, request_id = "Temporarily not available", get_request_id(request)
        return render_page(503, title, DATABASE_UNAVAILABLE, request_id=request_id, headers=headers)
    return json_error(request, ErrorCode.DATABASE_UNAVAILABLE, DATABASE_UNAVAILABLE, headers=headers)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_in_api(request):
        return json_error(request, ErrorCode.NOT_FOUND, "This address does not exist. See /documentation/.")
    if is_in_admin(request):
        detail = "This page does not exist. It may have been deleted, or the address is wrong."
        return render_page_for_user(request, 404, "Page not found", detail)
    return defaults.page_not_found(request, exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_in_api(request):
        return json_error(request, ErrorCode.PERMISSION_DENIED, "You may not do this.")
    if is_in_admin(request):
        detail = "Your account may not do this. Ask an administrator for the permission."
        return render_page_for_user(request, 403, "Not allowed", detail)
    return defaults.permission_denied(request, exception)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Also for a wrong Host header, which is rejected before the session is known."""
    if is_in_admin(request):
        detail = "The request is not valid. Go back, reload the page and try again."
        return render_page(400, "Bad request", detail)
    if isinstance(exception, DisallowedHost):
        return json_error(request, ErrorCode.INVALID_HOST, "This host name is not served here. See ALLOWED_HOSTS.")
    return json_error(request, ErrorCode.BAD_REQUEST, BAD_REQUEST)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The setting CSRF_FAILURE_VIEW. The usual cause is a page that was opened before a login in another tab."""
    if is_in_api(request):
        return json_error(request, ErrorCode.CSRF_FAILED, f"CSRF failed: {reason}")
    if is_in_admin(request):
        detail = (
            "The form was not accepted, because it is too old or cookies are blocked. "
            "Go back, reload the page and try again."
        )
        return render_page(403, "Form not accepted", detail)
    return csrf.csrf_failure(request, reason)


def body_refused(request: HttpRequest, status: int) -> HttpResponse:
    """Return 413, 408 or 503, see gisttracker/web/bridge.py."""
    title, code, detail = BODY_PROBLEMS[status]
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 503 else None
    if is_in_admin(request):
        return render_page(status, title, detail, headers=headers)
    return json_error(request, code, detail, headers=headers)


def precondition_failed(request: HttpRequest) -> HttpResponse:
    detail = "The resource has another ETag than those of If-Match."
    return json_error(request, ErrorCode.PRECONDITION_FAILED, detail)


def get_request_id(request: HttpRequest) -> str:
    return getattr(request, "request_id", "")
