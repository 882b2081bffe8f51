"""What every request gets, whoever answers it: an id in answer and logs, and a limit for its body."""

import re
import uuid
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse

from gisttracker import logs

Next = Callable[[HttpRequest], HttpResponse]
FIT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestIdMiddleware:
    """Takes a fitting X-Request-ID, or makes one; it is in the answer and in every log line about the request."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if FIT_ID.fullmatch(given) else uuid.uuid4().hex
        request.request_id = request_id  # type: ignore[attr-defined]  # for the records that Django makes later
        with logs.bind_request(request_id):
            response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response


class BodyLimitMiddleware:
    """Refuses bodies that are too large before anybody reads them."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            length = int(request.META.get("CONTENT_LENGTH") or 0)
        except ValueError:
            length = 0
        if length > settings.MAX_BODY_BYTES:
            most = settings.MAX_BODY_BYTES >> 20
            return JsonResponse({"detail": f"The body has {length} bytes; {most} MB are allowed."}, status=413)
        return self.get_response(request)


def client_address(request: HttpRequest) -> str:
    """Whose request this is: what the proxies in front, and nobody before them, say in X-Forwarded-For."""
    hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
    if settings.PROXIES and hops:
        return hops[-min(settings.PROXIES, len(hops))]
    return str(request.META.get("REMOTE_ADDR", ""))
