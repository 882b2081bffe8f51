"""Error responses for requests that no view handles."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.defaults import page_not_found


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Return 404 as JSON below /api/, as an HTML page elsewhere."""
    if request.path.startswith("/api/"):
        return JsonResponse({"detail": "This address does not exist. See /documentation/."}, status=404)
    return page_not_found(request, exception)
