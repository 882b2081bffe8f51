"""Stopping to track people: a page that lists what is deleted, and what stays."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import DELETION
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from gisttracker.common.database import retried
from people import tracking
from people.admin.actions import in_number, log_rows
from people.admin.base import count_capped
from people.models import Gist, Person, PersonQuerySet, Visit

BATCH_SIZE = 100  # people; their gists and attempts are deleted in the same transaction
MAX_SHOWN = 20  # logins on the page
HISTORY = "Stopped tracking."
POSTED = ("action", "select_across", ACTION_CHECKBOX_NAME)  # by a list, for an action


@admin.action(description="Stop tracking …", permissions=["delete"])
def stop_tracking(model_admin: Any, request: HttpRequest, people: Any) -> HttpResponse | None:
    """The action of the list: a page that asks, then the deletion."""
    if "confirmed" in request.POST:
        delete_people(model_admin, request, people)
        return None
    return ask_before_deleting(model_admin, request, people)


def ask_before_deleting(model_admin: Any, request: HttpRequest, people: PersonQuerySet) -> HttpResponse:
    """The page that lists what is deleted, and what stays."""
    context = describe_deletion(model_admin, request, people, "Stop tracking")
    return TemplateResponse(request, "admin/people/person/stop_tracking.html", context)


def describe_deletion(model_admin: Any, request: HttpRequest, people: Any, title: str) -> dict[str, Any]:
    """What the page shows: names and numbers; `fields` are what the list has posted, for the confirmation."""
    keys = people.order_by().values("pk")
    names = list(people.order_by("username_key").values_list("github_username", flat=True)[: MAX_SHOWN + 1])
    fields = [(name, value) for name in POSTED for value in request.POST.getlist(name) if value]
    return {
        **model_admin.get_frame(request, title),
        "names": names[:MAX_SHOWN],
        "has_more": len(names) > MAX_SHOWN,
        "people_count": count_capped(people),
        "gist_count": count_capped(Gist.objects.filter(person__in=keys)),
        "visit_count": count_capped(Visit.objects.filter(person__in=keys)),
        "fields": fields,
    }


def delete_people(model_admin: Any, request: HttpRequest, people: PersonQuerySet) -> None:
    keys = list(people.order_by().values_list("pk", flat=True).distinct())
    count = 0
    for start in range(0, len(keys), BATCH_SIZE):
        batch = Person.objects.filter(pk__in=keys[start : start + BATCH_SIZE])
        count += retried(tracking.stop_tracking)(batch, lambda rows: log_rows(request, rows, DELETION, HISTORY))
    text = in_number(("%d person is not tracked any more.", "%d people are not tracked any more."), count)
    model_admin.message_user(request, f"{text} Pipedrive keeps its records.", messages.SUCCESS)
