"""What is answered where no view is."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.defaults import page_not_found


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """JSON for the API, a page for people."""
    if request.path.startswith("/api/"):
        return JsonResponse({"detail": "There is nothing at this address; see /documentation/."}, status=404)
    return page_not_found(request, exception)
