"""API keys, and the visit markers of each consumer."""

from typing import Any, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from rest_framework_api_key.admin import APIKeyModelAdmin
from rest_framework_api_key.models import APIKey

from people.admin.base import ReadOnlyAdmin
from people.admin.consumer_names import get_consumer_names
from people.admin.markup import badge, time_in_words
from people.admin.search import search_visits
from people.models import ApiKey, Visit

admin.site.unregister(APIKey)  # the library's model, which has no read-only keys


@admin.register(ApiKey)
class ApiKeyAdmin(APIKeyModelAdmin):
    list_display = (*("prefix", "name", "access", "validity", "created", "last_used"),)
    list_filter = ("read_only", "revoked")  # type: ignore[assignment]  # the library declares a shorter tuple

    def get_readonly_fields(self, request: HttpRequest, key: Any = None) -> tuple[str, ...]:
        return (*super().get_readonly_fields(request, key), *(("created", "last_used_at") if key else ()))

    @admin.display(description="access", ordering="read_only")
    def access(self, key: ApiKey) -> str:
        return "read only" if key.read_only else "read and write"

    @admin.display(description="validity", ordering="expiry_date")
    def validity(self, key: ApiKey) -> SafeString:
        if key.revoked:
            return badge("revoked", "error")
        if key.has_expired:
            return badge(f"expired on {key.expiry_date:%Y-%m-%d}", "error")
        return badge(f"until {key.expiry_date:%Y-%m-%d}" if key.expiry_date else "does not expire", "ok")

    @admin.display(description="last used", ordering="last_used_at")
    def last_used(self, key: ApiKey) -> SafeString:
        return time_in_words(key.last_used_at)


@admin.register(Visit)
class VisitAdmin(ReadOnlyAdmin):
    list_display = ["person_name", "consumer_name", "visited", "cursor"]
    search_fields = ["consumer"]  # shows the search; get_search_results does it
    search_help_text = "the login of a person"
    ordering = ["-id"]

    @admin.display(description="person")
    def person_name(self, visit: Visit) -> str:
        return str(visit.person)

    @admin.display(description="consumer")
    def consumer_name(self, visit: Any) -> SafeString:
        return format_html("{}", getattr(visit, "consumer_name", visit.consumer))

    @admin.display(description="last visit")
    def visited(self, visit: Visit) -> SafeString:
        return time_in_words(visit.visited_at)

    def prepare_rows(self, rows: list[Any]) -> None:
        names = get_consumer_names(visit.consumer for visit in rows)
        for visit in rows:
            visit.consumer_name = names[visit.consumer]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Visit]:
        return cast("QuerySet[Visit]", super().get_queryset(request)).prefetch_related("person")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return search_visits(queryset, search_term), False
