"""All that is held about a person, as one JSON object."""

from typing import Any

from django.db import models
from django.utils import timezone

from people.forget import find_admin_log
from people.models import Gist, Person, Suppressed, Visit
from sync.models import PushAttempt

ABOUT_US = {"etag_scope"}  # a hash of our URL and token


def export_person(person: Person) -> dict[str, Any]:
    """The shape that docs/operations.md documents. Values are JSON types, datetimes and dates."""
    gists = list(Gist.objects.filter(person=person).order_by("pk"))
    return {
        "exported_at": timezone.now(),
        "person": _columns(person),
        "gists": _export_gists(gists),
        "visits": [_export_visit(visit) for visit in person.visits.select_related("consumer").order_by("pk")],
        "suspicions": [_columns(suspicion) for suspicion in person.suspicions.order_by("pk")],
        "hints": [_columns(hint) for hint in person.hints.order_by("pk")],
        "problems": [_columns(problem) for problem in person.problems.order_by("pk")],
        "alarms": [_columns(alarm) for alarm in person.alarms.order_by("pk")],
        "admin_log": [
            {"at": entry.action_time, "user": entry.user_id, "entry": str(entry)}
            for entries in find_admin_log(person, gists)
            for entry in entries.order_by("pk")
        ],
        "suppressed": {
            "login": Suppressed.objects.has_login(person.github_username),
            "github_id": person.github_id is not None and Suppressed.objects.has_github_id(person.github_id),
        },
    }


def _export_visit(visit: Visit) -> dict[str, Any]:
    return {"consumer": visit.consumer.name, "cursor": visit.cursor, "visited_at": visit.visited_at}


def _export_gists(gists: list[Gist]) -> list[dict[str, Any]]:
    attempts: dict[int, list[dict[str, Any]]] = {gist.pk: [] for gist in gists}
    for attempt in PushAttempt.objects.filter(gist__person__in={gist.person_id for gist in gists}).order_by("pk"):
        attempts.setdefault(attempt.gist_id, []).append(_columns(attempt))
    return [{**_columns(gist), "attempts": attempts[gist.pk]} for gist in gists]


def _columns(row: models.Model) -> dict[str, Any]:
    return {
        field.attname: getattr(row, field.attname)
        for field in row._meta.concrete_fields
        if field.attname not in ABOUT_US
    }
