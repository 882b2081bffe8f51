"""The visit markers of each consumer."""

from typing import Any, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from people.admin.base import ReadOnlyAdmin
from people.admin.markup import time_in_words
from people.admin.search import search_visits
from people.models import Visit


@admin.register(Visit)
class VisitAdmin(ReadOnlyAdmin):
    list_display = ["person", "consumer", "visited", "cursor"]
    search_fields = ["consumer"]  # shows the search; get_search_results does it
    search_help_text = "the login of a person"
    ordering = ["-id"]

    @admin.display(description="last visit")
    def visited(self, visit: Visit) -> SafeString:
        return time_in_words(visit.visited_at)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Visit]:
        return cast("QuerySet[Visit]", super().get_queryset(request)).prefetch_related("person", "consumer")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return search_visits(queryset, search_term), False
