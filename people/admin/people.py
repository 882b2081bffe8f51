"""The tracked people: why they fail, and actions for them."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import ngettext

from people.admin.forget import forget_people
from people.models import Person, PersonQuerySet
from people.models.person import UNLINKED


@admin.register(Person)
class PersonAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic only in the stubs
    list_display = ["github_username", "name", "state", "pipedrive_id", "polled_at", "last_error", "push_error"]
    list_filter = ["state", "watched"]
    search_fields = ["github_username", "name", "email"]
    fields = [
        "github_username",
        ("state", "last_error", "failures", "next_attempt_at"),
        ("push_error", "push_failures", "next_push_at"),
        "unreadable_gists",
        ("name", "email", "github_id"),
        ("pipedrive_id", "pipedrive_linked_at", "pipedrive_confirmed_at", "pipedrive_field_key"),
        ("pipedrive_create_started_at", "pipedrive_matched_at"),
        ("backfill", "backfill_decided_at"),
        "watched",
        ("attempted_at", "polled_at", "full_pass_at", "push_attempted_at", "sync_requested_at"),
        ("lease_holder", "leased_until"),
        ("created_at", "updated_at"),
    ]
    actions = ["request_sync", "pause", "resume", forget_people]

    @admin.action(description="Sync as soon as possible", permissions=["change"])
    def request_sync(self, request: HttpRequest, people: PersonQuerySet) -> None:
        count = people.request_sync()
        message = ngettext("%d person comes first in the next run.", "%d people come first in the next run.", count)
        self.message_user(request, message % count)

    @admin.action(description="Pause (stop polling)", permissions=["change"])
    def pause(self, request: HttpRequest, people: PersonQuerySet) -> None:
        count = people.pause()
        self.message_user(request, ngettext("%d person is paused.", "%d people are paused.", count) % count)

    @admin.action(description="Resume (poll paused people again)", permissions=["change"])
    def resume(self, request: HttpRequest, people: PersonQuerySet) -> None:
        count = people.resume()
        self.message_user(request, ngettext("%d person is resumed.", "%d people are resumed.", count) % count)

    def save_model(self, request: HttpRequest, person: Person, form: Any, change: bool) -> None:
        if not change:
            super().save_model(request, person, form, change)
            return
        Person.objects.filter(pk=person.pk).update(watched=person.watched)
        if "pipedrive_id" in form.changed_data:
            person.relink(person.pipedrive_id)
            # Only these columns, because a sync may write the others at the same time.
            person.save(update_fields=["pipedrive_id", *UNLINKED, "updated_at"])

    def get_readonly_fields(self, request: HttpRequest, person: Person | None = None) -> list[str]:
        editable = {"pipedrive_id", "watched"} | (set() if person else {"github_username", "backfill"})
        names = [name for row in self.fields for name in ([row] if isinstance(row, str) else row)]
        return [name for name in names if name not in editable]
