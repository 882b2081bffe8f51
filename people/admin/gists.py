"""The gists, read-only, with an action that pushes rejected ones again."""

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import ngettext

from people.models import Gist, GistQuerySet


@admin.register(Gist)
class GistAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic only in the stubs
    list_display = ["github_id", "person", "description", "push_state", "push_attempts", "push_error", "created_at"]
    list_filter = ["push_state", "truncated"]
    search_fields = ["github_id", "description", "person__github_username"]
    show_full_result_count = False
    list_select_related = ["person"]
    actions = ["push_again"]

    @admin.action(description="Push again (rejected and skipped gists)", permissions=["push"])
    def push_again(self, request: HttpRequest, gists: GistQuerySet) -> None:
        count = gists.push_again()
        message = ngettext("The next run pushes %d gist again.", "The next run pushes %d gists again.", count)
        self.message_user(request, message % count)

    def has_push_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("people.change_gist")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, gist: Gist | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, gist: Gist | None = None) -> bool:
        # Only as part of deleting its person: the admin checks this permission for each related row.
        return request.path.startswith("/admin/people/person/")
