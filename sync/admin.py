"""The runs, to read."""

from django.contrib import admin
from django.http import HttpRequest

from sync.models import SyncRun


@admin.register(SyncRun)
class SyncRunAdmin(admin.ModelAdmin):
    list_display = ["id", "started_at", "finished_at", "outcome", "counts", "host"]
    list_filter = ["outcome"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, run: SyncRun | None = None) -> bool:
        return False
