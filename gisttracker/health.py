"""Probes: /livez (the process is alive) and /readyz (it can serve requests)."""

from collections.abc import Callable

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import ngettext


class HealthMiddleware:
    """Serves the probes before any other middleware runs: without authentication, for any Host header."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path == "/livez":
            return JsonResponse({"status": "alive"})
        if request.path == "/readyz":
            problem = find_problem()
            return JsonResponse({"status": problem or "ready"}, status=503 if problem else 200)
        return self.get_response(request)


def find_problem() -> str:
    """Return why this process cannot serve requests, or "" if it can."""
    try:
        executor = MigrationExecutor(connection)
        unapplied = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    except Error as error:
        return f"The database is not reachable ({type(error).__name__})."
    if unapplied:
        sentence = ngettext("%d migration is not applied", "%d migrations are not applied", unapplied) % unapplied
        return f"{sentence}. Run `manage.py migrate`."
    return ""
