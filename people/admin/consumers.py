"""API keys, and the visit markers of each consumer."""

from django.contrib import admin
from django.http import HttpRequest
from rest_framework_api_key.admin import APIKeyModelAdmin
from rest_framework_api_key.models import APIKey

from people.models import ApiKey, Visit

admin.site.unregister(APIKey)  # the library's model, which has no read-only keys


@admin.register(ApiKey)
class ApiKeyAdmin(APIKeyModelAdmin):
    list_display = (  # type: ignore[assignment]  # the library declares a shorter tuple
        *("prefix", "name", "read_only", "created", "expiry_date", "_has_expired", "revoked"),
    )
    list_filter = ("read_only", "revoked")  # type: ignore[assignment]  # the library declares a shorter tuple


@admin.register(Visit)
class VisitAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic only in the stubs
    list_display = ["person", "consumer", "cursor", "visited_at"]
    search_fields = ["person__github_username", "consumer"]
    list_select_related = ["person"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, visit: Visit | None = None) -> bool:
        return False
