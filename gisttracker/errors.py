"""Error responses for requests that no view handles."""

import sys

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.defaults import page_not_found
from rest_framework import exceptions

from gisttracker.database import LOCK_TIMEOUT, error_code, is_transient

RETRY_AFTER_SECONDS = 5


def server_error(request: HttpRequest) -> HttpResponse:
    """Return 503 with Retry-After while the database is not available, 500 for any other error."""
    error = sys.exc_info()[1]
    if error and (is_transient(error) or error_code(error) == LOCK_TIMEOUT):
        detail = "The database is not available at the moment. Try again in a few seconds."
        return JsonResponse({"detail": detail}, status=503, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
    response: HttpResponse = exceptions.server_error(request)
    return response


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Return 404 as JSON below /api/, as an HTML page elsewhere."""
    if request.path.startswith("/api/"):
        return JsonResponse({"detail": "This address does not exist. See /documentation/."}, status=404)
    return page_not_found(request, exception)
