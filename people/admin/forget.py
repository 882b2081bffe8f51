"""The action that forgets people, with its confirmation page, and the accounts that are not tracked again."""

from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from people.admin.actions import in_number
from people.admin.stop_tracking import describe_deletion
from people.forget import forget
from people.models import PersonQuerySet, Suppressed


@admin.action(description="Forget (erase, and never track again) …", permissions=["delete"])
def forget_people(model_admin: Any, request: HttpRequest, people: QuerySet[Any]) -> HttpResponse | None:
    """The action of the list: a page that asks, then the erasure."""
    if "confirmed" in request.POST:
        forget_selected(model_admin, request, people)
        return None
    return ask_before_forgetting(model_admin, request, people)


def forget_selected(model_admin: Any, request: HttpRequest, people: QuerySet[Any]) -> None:
    count = forget(cast(PersonQuerySet, people), by=f"user:{request.user.pk}")
    message = in_number(("%d person was forgotten.", "%d people were forgotten."), count)
    _log(request, message)
    model_admin.message_user(request, f"{message} Pipedrive keeps its records.")


def ask_before_forgetting(model_admin: Any, request: HttpRequest, people: QuerySet[Any]) -> HttpResponse:
    """The page that lists what is erased. What the list has posted is posted again with the confirmation."""
    context = describe_deletion(model_admin, request, people, "Forget")
    return TemplateResponse(request, "admin/people/person/forget.html", context)


def _log(request: HttpRequest, message: str) -> None:
    """Which user has forgotten how many people, and when; not which people."""
    LogEntry.objects.create(
        user=cast(User, request.user),
        content_type=ContentType.objects.get_for_model(Suppressed),
        object_repr="people who asked not to be tracked",
        action_flag=DELETION,
        change_message=message,
    )


@admin.register(Suppressed)
class SuppressedAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic only in the stubs
    """Deleting a row allows tracking the account again. The rows show hashes only, so the search compares hashes."""

    list_display = ["kind", "created_at", "requested_by"]
    list_filter = ["kind"]
    search_fields = ["digest"]
    search_help_text = "a login or a GitHub id, exactly"

    def get_search_results(
        self, request: HttpRequest, rows: QuerySet[Suppressed], search_term: str
    ) -> tuple[QuerySet[Suppressed], bool]:
        term = search_term.strip().removeprefix("@")
        return (rows.filter(pk__in=Suppressed.objects.matching(term)) if term else rows), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, row: Suppressed | None = None) -> bool:
        return False
