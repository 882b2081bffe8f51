"""Who is tracked, and what became of their gists."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from rest_framework_api_key.admin import APIKeyModelAdmin
from rest_framework_api_key.models import APIKey

from people.models import ApiKey, Gist, Person, Visit

admin.site.unregister(APIKey)  # The library's own model; ours knows read-only keys.


@admin.register(ApiKey)
class ApiKeyAdmin(APIKeyModelAdmin):
    list_display = (  # type: ignore[assignment]  # longer than the library's
        *("prefix", "name", "read_only", "created", "expiry_date", "_has_expired", "revoked"),
    )
    list_filter = ("read_only", "revoked")  # type: ignore[assignment]


@admin.register(Person)
class PersonAdmin(admin.ModelAdmin):
    list_display = ["github_username", "name", "state", "pipedrive_id", "polled_at", "failures", "last_error"]
    list_filter = ["state"]
    search_fields = ["github_username", "name", "email"]
    fields = [
        "github_username",
        ("state", "last_error", "failures"),
        ("name", "email", "github_id"),
        ("pipedrive_id", "pipedrive_create_started_at", "pipedrive_matched_at"),
        "backfill",
        ("attempted_at", "polled_at", "full_pass_at", "push_attempted_at", "sync_requested_at"),
        ("lease_holder", "leased_until"),
        ("created_at", "updated_at"),
    ]

    actions = ["request_sync", "pause", "resume"]

    @admin.action(description="Sync as soon as possible", permissions=["change"])
    def request_sync(self, request: HttpRequest, people: QuerySet[Person]) -> None:
        number = Person.objects.filter(pk__in=people).request_sync()
        self.message_user(request, f"The next run takes these {number} people first.")

    @admin.action(description="Pause: keep, but poll no more", permissions=["change"])
    def pause(self, request: HttpRequest, people: QuerySet[Person]) -> None:
        number = Person.objects.filter(pk__in=people).pause()
        self.message_user(request, f"{number} people are paused.")

    @admin.action(description="Resume those that are paused", permissions=["change"])
    def resume(self, request: HttpRequest, people: QuerySet[Person]) -> None:
        number = Person.objects.filter(pk__in=people).resume()
        self.message_user(request, f"{number} people are polled again.")

    def save_model(self, request: HttpRequest, person: Person, form: Any, change: bool) -> None:
        if not change:
            super().save_model(request, person, form, change)
        elif "pipedrive_id" in form.changed_data:
            person.relink(person.pipedrive_id)
            # No other column: a sync may be writing those meanwhile.
            person.save(
                update_fields=["pipedrive_id", "pipedrive_matched_at", "pipedrive_create_started_at", "updated_at"]
            )

    def get_readonly_fields(self, request: HttpRequest, person: Person | None = None) -> list[str]:
        editable = {"pipedrive_id"} if person else {"github_username", "pipedrive_id", "backfill"}
        return [
            name for row in self.fields for name in ([row] if isinstance(row, str) else row) if name not in editable
        ]


@admin.register(Gist)
class GistAdmin(admin.ModelAdmin):
    list_display = ["github_id", "person", "description", "push_state", "push_attempts", "push_error", "created_at"]
    list_filter = ["push_state", "truncated"]
    search_fields = ["github_id", "description", "person__github_username"]
    show_full_result_count = False
    list_select_related = ["person"]
    actions = ["push_again"]

    @admin.action(description="Push again (what is rejected or skipped)", permissions=["push"])
    def push_again(self, request: HttpRequest, gists: QuerySet[Gist]) -> None:
        number = Gist.objects.filter(pk__in=gists).push_again()
        self.message_user(request, f"The next run makes the activities of {number} gists.")

    def has_push_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("people.change_gist")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, gist: Gist | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, gist: Gist | None = None) -> bool:
        return request.path.startswith("/admin/people/person/")  # Only together with its person.


@admin.register(Visit)
class VisitAdmin(admin.ModelAdmin):
    list_display = ["person", "consumer", "cursor", "visited_at"]
    search_fields = ["person__github_username", "consumer"]
    list_select_related = ["person"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, visit: Visit | None = None) -> bool:
        return False
