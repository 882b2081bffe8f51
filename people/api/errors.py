"""Every error of a view in the same shape; gisttracker.web.errors has those that no view handles.

{"type": "validation_error", "errors": [{"code": "required", "detail": "This field is required.", "attr": "username"}]}
"""

from typing import Any

from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.http.multipartparser import MultiPartParserError
from drf_standardized_errors.formatter import ExceptionFormatter
from drf_standardized_errors.handler import ExceptionHandler
from drf_standardized_errors.types import Error, ErrorResponse
from rest_framework import status
from rest_framework.exceptions import APIException, ValidationError

from gisttracker.common.error_codes import CODES, ErrorCode
from gisttracker.web.errors import (
    BAD_REQUEST,
    DATABASE_UNAVAILABLE,
    INTERNAL_ERROR,
    RETRY_AFTER_SECONDS,
    get_request_id,
    is_database_unavailable,
)
from people.api.error_bounds import NON_FIELD_ERRORS_KEY

# Codes of the libraries for which ours has another name. One that is not here and not ours becomes `invalid`.
RENAMED = {
    "null_characters_not_allowed": ErrorCode.INVALID_CHARACTERS,
    "surrogate_characters_not_allowed": ErrorCode.INVALID_CHARACTERS,
}


class InternalError(APIException):
    default_detail = INTERNAL_ERROR
    default_code = ErrorCode.INTERNAL_ERROR


class DatabaseUnavailableError(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = DATABASE_UNAVAILABLE
    default_code = ErrorCode.DATABASE_UNAVAILABLE
    wait = RETRY_AFTER_SECONDS  # becomes Retry-After


class PersonAlreadyTrackedError(ValidationError):
    """400, with the address of the person who is tracked."""

    def __init__(self, detail: str, person_url: str) -> None:
        super().__init__({"username": [detail]}, code=ErrorCode.ALREADY_TRACKED)
        self.person_url = person_url


class BadRequestError(APIException):
    status_code = status.HTTP_400_BAD_REQUEST
    default_detail = BAD_REQUEST
    default_code = ErrorCode.BAD_REQUEST


class BodyTooLargeError(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = "The form is too large."
    default_code = ErrorCode.BODY_TOO_LARGE


class ApiExceptionHandler(ExceptionHandler):
    """Also when the database fails in the middle of a view, or in authentication or throttling."""

    def convert_known_exceptions(self, exc: Exception) -> Exception:
        """Django's own errors about a request, such as a form with too many fields, are no faults of the service."""
        if isinstance(exc, RequestDataTooBig):
            return BodyTooLargeError()
        if isinstance(exc, SuspiciousOperation | BadRequest | MultiPartParserError):
            return BadRequestError()
        return super().convert_known_exceptions(exc)

    def convert_unhandled_exceptions(self, exc: Exception) -> APIException:
        if isinstance(exc, APIException):
            return exc
        return DatabaseUnavailableError() if is_database_unavailable(exc) else InternalError()


class ApiExceptionFormatter(ExceptionFormatter):
    def get_errors(self) -> list[Error]:
        return [
            Error(to_code(error.code), error.detail, None if error.attr == NON_FIELD_ERRORS_KEY else error.attr)
            for error in super().get_errors()
        ]

    def format_error_response(self, error_response: ErrorResponse) -> dict[str, Any]:
        body: dict[str, Any] = super().format_error_response(error_response)
        if isinstance(self.exc, PersonAlreadyTrackedError):
            body["errors"][0]["person_url"] = self.exc.person_url
        if status.is_server_error(self.exc.status_code):
            request = self.context["request"]
            body["request_id"] = get_request_id(request._request) if request else ""
        return body


def to_code(code: str) -> ErrorCode:
    """Return our code for one of a library."""
    return RENAMED.get(code) or CODES.get(code, ErrorCode.INVALID)
