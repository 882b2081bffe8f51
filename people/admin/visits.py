"""The visit markers of each consumer."""

from typing import Any, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from people.admin.base import ReadOnlyAdmin
from people.admin.consumer_names import get_consumer_names
from people.admin.markup import time_in_words
from people.admin.search import search_visits
from people.models import Visit


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
    def consumer_name(self, visit: Any) -> str:
        return str(getattr(visit, "consumer_name", visit.consumer_id))

    @admin.display(description="last visit")
    def visited(self, visit: Visit) -> SafeString:
        return time_in_words(visit.visited_at)

    def prepare_rows(self, rows: list[Any]) -> None:
        names = get_consumer_names(visit.consumer_id for visit in rows)
        for visit in rows:
            visit.consumer_name = names[visit.consumer_id]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Visit]:
        return cast("QuerySet[Visit]", super().get_queryset(request)).prefetch_related("person")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return search_visits(queryset, search_term), False
