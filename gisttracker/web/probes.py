"""Probes: /livez (the process is alive) and /readyz (it can serve requests)."""

import functools
from collections.abc import Callable

from django.contrib.sessions.models import Session
from django.db import Error, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import ngettext

from gisttracker.common.database import error_code, is_read_only
from gisttracker.config import checks


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


@functools.cache  # Reading all files again costs most of a probe's time.
def _known_migrations() -> frozenset[tuple[str, str]]:
    """App and name of each migration of this release."""
    return frozenset(MigrationLoader(None).graph.nodes)


def _describe(error: Error) -> str:
    """Without the error's text, which names the server: the probes are public."""
    if is_read_only(error):
        return "it is read-only"
    code = error_code(error)
    return f"{type(error).__name__} {code}" if code else type(error).__name__


def find_problem() -> str:
    """Return why this process cannot serve requests, or "" if it can."""
    try:
        unapplied = len(_known_migrations() - MigrationRecorder(connection).applied_migrations().keys())
        errors = checks.check_character_set(None, databases=["default"])
        if not unapplied:  # Changes nothing, and fails when the database is read-only or the user may not write.
            Session.objects.filter(pk="").update(session_data="")
    except Error as error:
        return f"The database cannot be used: {_describe(error)}."
    if errors:
        return f"{errors[0].msg} {errors[0].hint}"
    if unapplied:
        sentence = ngettext("%d migration is not applied", "%d migrations are not applied", unapplied) % unapplied
        return f"{sentence}. Run `manage.py migrate`."
    return ""
