"""What all views of the API share: the base class and the lookup of a person."""

from typing import Any

from django.conf import settings
from django.core.exceptions import TooManyFieldsSent
from rest_framework import status
from rest_framework.exceptions import (
    APIException,
    AuthenticationFailed,
    NotAuthenticated,
    NotFound,
    ParseError,
    PermissionDenied,
)
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from gisttracker.common.error_codes import ErrorCode
from gisttracker.common.texts import show
from people.api.error_bounds import bound
from people.api.renderers import JsonRenderer
from people.api.throttling import RateLimit
from people.models import Person
from people.models.github_names import parse_login

NO_STORE = "private, no-store"
REVALIDATE = "private, no-cache"


class ApiView(APIView):
    """Counts requests before rejecting them, so that keys cannot be guessed, or permissions probed, at high rates."""

    rate_limit: RateLimit | None = None  # of this request, when it is counted

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        try:
            super().initial(request, *args, **kwargs)
        except (AuthenticationFailed, NotAuthenticated, PermissionDenied):  # raised before requests are counted
            self.check_throttles(request)
            raise

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, TooManyFieldsSent):
            detail = f"At most {settings.DATA_UPLOAD_MAX_NUMBER_FIELDS} fields or parameters are allowed."
            exc = ParseError(detail, ErrorCode.BAD_REQUEST)
        if isinstance(exc, APIException):
            exc.detail = bound(exc.detail)
        return super().handle_exception(exc)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Add the headers about caching and the rate limit. Errors are always JSON."""
        if getattr(response, "exception", False):
            request.accepted_renderer, request.accepted_media_type = JsonRenderer(), JsonRenderer.media_type
        response = super().finalize_response(request, response, *args, **kwargs)
        if not response.has_header("Cache-Control"):
            may_be_stored = request.method in SAFE_METHODS and response.status_code == status.HTTP_200_OK
            response["Cache-Control"] = REVALIDATE if may_be_stored else NO_STORE
        if self.rate_limit:
            self.rate_limit.set_headers(response)
        return response


class PreconditionFailedError(APIException):
    status_code = status.HTTP_412_PRECONDITION_FAILED
    default_code = ErrorCode.PRECONDITION_FAILED

    def __init__(self, username: str) -> None:
        address = f"/api/v1/people?username={username}"
        super().__init__(f"@{username} was changed meanwhile. Read it again with GET {address}, and send its etag.")


class PersonNotTrackedError(NotFound):
    default_code = ErrorCode.NOT_TRACKED

    def __init__(self, username: str) -> None:
        super().__init__(f"`{show(username, 40)}` is not tracked. Add it with POST /api/v1/people.")


class GistNotFoundError(NotFound):
    default_code = ErrorCode.GIST_NOT_FOUND

    def __init__(self, username: str, github_id: str) -> None:
        super().__init__(f"@{show(username, 40)} has no gist {show(github_id, 64)}.")


class PersonPausedError(APIException):
    status_code = status.HTTP_400_BAD_REQUEST
    default_code = ErrorCode.PAUSED


def get_tracked_person(username: str) -> Person:
    """Return the person with this login, in any case. Raises PersonNotTrackedError (404)."""
    person = Person.objects.named(username).first()
    if person is None:
        raise PersonNotTrackedError(username)
    return person


def lock_tracked_person(username: str) -> Person:
    """Return the person with this login, locked until the transaction ends. Raises PersonNotTrackedError (404)."""
    person = Person.objects.named(username).select_for_update().first()
    if person is None:
        raise PersonNotTrackedError(username)
    return person


def parse_tracked_login(username: str) -> str:
    """Return the login in a path. Raises PersonNotTrackedError (404) if it cannot be one."""
    try:
        return parse_login(username)
    except ValueError:
        raise PersonNotTrackedError(username) from None
