"""The runs, read-only."""

from django.contrib import admin
from django.http import HttpRequest

from sync.models import SyncRun


@admin.register(SyncRun)
class SyncRunAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic only in the stubs
    list_display = ["id", "trigger", "started_at", "finished_at", "outcome", "counts", "first_problem", "host"]
    list_filter = ["outcome", "trigger"]
    date_hierarchy = "started_at"

    @admin.display(description="problems")
    def first_problem(self, run: SyncRun) -> str:
        lines = run.errors.splitlines()
        return f"{lines[0]} (and {len(lines) - 1} more)" if len(lines) > 1 else run.errors

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, run: SyncRun | None = None) -> bool:
        return False
