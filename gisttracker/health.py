"""Answers for probes: is the process alive, and may it get traffic?"""

from collections.abc import Callable

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse


class HealthMiddleware:
    """Serves /livez and /readyz before any other middleware: no authentication, any Host header."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path == "/livez":
            return JsonResponse({"status": "alive"})
        if request.path == "/readyz":
            reason = why_not_ready()
            return JsonResponse({"status": reason or "ready"}, status=503 if reason else 200)
        return self.get_response(request)


def why_not_ready() -> str:
    """What keeps this process from serving, as a sentence; empty when nothing does."""
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except Error as error:
        return f"The database does not answer ({type(error).__name__})."
    if missing:
        return f"{len(missing)} migrations are not applied: run `manage.py migrate`."
    return ""
