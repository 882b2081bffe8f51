"""Middleware for all requests: request ids, conditional requests, and bodies that are refused."""

import re
import uuid
from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.http import ConditionalGetMiddleware

from gisttracker.config import logs
from gisttracker.web.errors import body_refused, precondition_failed

GetResponse = Callable[[HttpRequest], HttpResponse]
BODY_PROBLEM = "gisttracker.body_problem"  # in the environ, set by bridge.py: a status code, or 0
VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestIdMiddleware:
    """Takes the client's X-Request-ID if it is valid, or generates one, and adds it to the response and the logs.

    Records logged while a response is streamed (the CSV export) have no request id.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if VALID_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        request.request_id = request_id  # type: ignore[attr-defined]  # for records that Django logs after this returns
        with logs.bind_request(request_id):
            response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response


class ConditionalMiddleware(ConditionalGetMiddleware):
    """ETags, 304 and 412 for GET. The library's 304 loses the rate limit, and its 412 is an empty page."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        conditional: HttpResponseBase = super().process_response(request, response)
        if conditional is response:
            return response
        if conditional.status_code == HTTPStatus.PRECONDITION_FAILED:
            conditional = precondition_failed(request)
        for name in ("RateLimit", "RateLimit-Policy"):
            if response.has_header(name):
                conditional[name] = response[name]
        return conditional


class BodyLimitMiddleware:
    """Rejects a request whose body is too large, or could not be received."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            length = int(request.META.get("CONTENT_LENGTH") or 0)
        except ValueError:
            length = 0
        problem = 413 if length > settings.MAX_BODY_BYTES else request.META.get(BODY_PROBLEM)
        return body_refused(request, problem) if problem else self.get_response(request)
