"""The tracked people: how they are, what to do about them, and adding more."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, Max, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from people import search, tracking
from people.admin.base import DeskAdmin
from people.admin.csv_import import import_people
from people.admin.filters import ConditionFilter
from people.admin.forget import ask_before_forgetting, forget_people, forget_selected
from people.admin.forms import NewPersonForm, PersonForm
from people.admin.markup import shorten, time_in_words, with_reason
from people.admin.people_actions import ROW_ACTIONS
from people.admin.person_page import get_page_context, get_reason, github_link, state_badge
from people.admin.pipedrive_links import person_link
from people.admin.stop_tracking import ask_before_deleting, delete_people, stop_tracking
from people.models import Gist, Person

UNPUSHED = (Gist.PushState.PENDING, Gist.PushState.STARTED)


class PersonAdmin(DeskAdmin):
    """sync.admin, which knows the attempts to push gists, registers a subclass."""

    list_display = [
        "login",
        "profile",
        "state_and_reason",
        "gist_counts",
        "last_polled",
        "newest_gist",
        "pipedrive_person",
        "added",
    ]
    sortable_by = ("login", "added")
    list_filter = ["state", ConditionFilter]
    search_fields = [*search.FIELDS, "github_id__exact"]
    search_help_text = "parts of the login, name or e-mail address, or the GitHub id"
    row_actions = ROW_ACTIONS
    actions = [*ROW_ACTIONS, stop_tracking, forget_people]
    add_fieldsets = [(None, {"fields": ["github_username", "pipedrive_id", "backfill"]})]
    fieldsets = [
        ("Settings", {"fields": ["pipedrive_id"]}),
        (
            "All columns",
            {
                "classes": ["collapse"],
                "fields": [
                    ("github_username", "github_id"),
                    ("name", "email", "company", "location"),
                    ("state", "state_changed_at"),
                    ("last_error", "failures", "failing_since", "next_attempt_at"),
                    ("push_error", "push_failures", "push_failing_since", "next_push_at"),
                    "unreadable_gists",
                    ("pipedrive_linked_at", "pipedrive_confirmed_at", "pipedrive_field_key"),
                    ("pipedrive_create_started_at", "pipedrive_matched_at"),
                    "backfill",
                    ("attempted_at", "polled_at", "full_read_at", "push_attempted_at", "sync_requested_at"),
                    ("created_at", "updated_at"),
                ],
            },
        ),
    ]

    # --- the list ---

    @admin.display(description="login", ordering="username_key")
    def login(self, person: Person) -> str:
        return str(person)

    @admin.display(description="name and GitHub profile")
    def profile(self, person: Person) -> SafeString:
        return format_html('{} <span class="second-line">{}</span>', person.name or "–", github_link(person))

    @admin.display(description="state")
    def state_and_reason(self, person: Person) -> SafeString:
        return with_reason(state_badge(person), get_reason(person))

    @admin.display(description="gists")
    def gist_counts(self, person: Any) -> str:
        total, unpushed, rejected = person.gist_counts
        parts = [f"{unpushed:,} unpushed"] if unpushed else []
        parts += [f"{rejected:,} rejected"] if rejected else []
        return f"{total:,} ({', '.join(parts)})" if parts else f"{total:,}"

    @admin.display(description="last polled")
    def last_polled(self, person: Person) -> SafeString:
        return time_in_words(person.polled_at, "error" if person.is_stale else "")

    @admin.display(description="newest gist")
    def newest_gist(self, person: Any) -> SafeString:
        gist = person.newest_gist
        if gist is None:
            return format_html("{}", "–")
        url = reverse("admin:people_gist_change", args=[gist.pk])
        text = shorten(gist.description, 40) or gist.github_id
        return format_html('<a href="{}">{}</a> {}', url, text, f"{gist.github_created_at:%Y-%m-%d}")

    @admin.display(description="Pipedrive person")
    def pipedrive_person(self, person: Person) -> SafeString:
        return person_link(person.pipedrive_id)

    @admin.display(description="added", ordering="pk")  # in the same order, and indexed
    def added(self, person: Person) -> str:
        return f"{person.created_at:%Y-%m-%d}"

    def prepare_rows(self, rows: list[Any]) -> None:
        """Count the gists of these people, and find their newest ones: three queries for the whole page."""
        keys = [person.pk for person in rows]
        # By both columns of an index, so that no gist is read.
        grouped = Gist.objects.filter(person__in=keys).order_by().values_list("person", "push_state")
        counts: dict[int, dict[str, int]] = {}
        for key, state, number in grouped.annotate(Count("pk")):
            counts.setdefault(key, {})[state] = number
        newest_ids = Gist.objects.filter(person__in=keys).order_by().values_list("person").annotate(Max("pk"))
        gists = Gist.objects.filter(pk__in=[pk for _, pk in newest_ids])
        shown = gists.only("person_id", "github_id", "description", "github_created_at")
        newest = {gist.person_id: gist for gist in shown}
        for person in rows:
            by_state = counts.get(person.pk, {})
            unpushed = sum(by_state.get(state, 0) for state in UNPUSHED)
            person.gist_counts = (sum(by_state.values()), unpushed, by_state.get(Gist.PushState.REJECTED, 0))
            person.newest_gist = newest.get(person.pk)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        words = [word.removeprefix("@") for word in search_term.split()[: search.MAX_WORDS]]
        return super().get_search_results(request, queryset, " ".join(words))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)  # stop_tracking shows what is deleted without listing each gist.
        return actions

    # --- adding ---

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, form=PersonForm if change else NewPersonForm, **kwargs)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        try:
            return super().add_view(request, form_url, extra_context)
        except tracking.AlreadyTrackedError:
            # Another process has created the person since the form was checked: now the check finds it.
            return super().add_view(request, form_url, extra_context)

    def get_urls(self) -> list[URLPattern]:
        return [
            path("import/", self.admin_site.admin_view(self.import_view), name="people_person_import"),
            path("<path:object_id>/forget/", self.admin_site.admin_view(self.forget_view), name="people_person_forget"),
            *super().get_urls(),
        ]

    def import_view(self, request: HttpRequest) -> HttpResponse:
        return import_people(self, request)

    # --- the page of a person ---

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fieldsets if obj else self.add_fieldsets

    def get_readonly_fields(self, request: HttpRequest, person: Person | None = None) -> list[str]:
        if person is None:
            return []
        rows: list[Any] = [row for _, options in self.get_fieldsets(request, person) for row in options["fields"]]
        names: list[str] = [name for row in rows for name in ([row] if isinstance(row, str) else row)]
        return [name for name in names if name not in PersonForm.Meta.fields]

    def get_page_context(self, request: HttpRequest, person: Person) -> dict[str, Any]:
        return {**get_page_context(self, request, person), "show_delete": False}

    def get_attempts(self, gists: list[Gist]) -> dict[int, list[SafeString]]:
        """The attempts to push these gists, by the gist's key."""
        raise NotImplementedError

    def get_page_links(self, request: HttpRequest, person: Person) -> list[dict[str, str]]:
        """Links to pages that ask before they do something."""
        if not self.has_delete_permission(request, person):
            return []
        return [
            {"label": "Stop tracking …", "url": reverse("admin:people_person_delete", args=[person.pk])},
            {"label": "Forget …", "url": reverse("admin:people_person_forget", args=[person.pk])},
        ]

    def save_model(self, request: HttpRequest, person: Person, form: Any, change: bool) -> None:
        if not change:
            login, backfill = person.github_username, person.backfill
            created = tracking.track(login, pipedrive_id=person.pipedrive_id, backfill=backfill)
            person.pk, person.created_at = created.pk, created.created_at
            return
        changes = {name: form.cleaned_data[name] for name in form.changed_data}
        with transaction.atomic():
            # A run may have written other columns since the form was read.
            tracking.change(Person.objects.select_for_update().get(pk=person.pk), changes)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        return self._ask(request, object_id, ask_before_deleting, delete_people)

    def forget_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._ask(request, object_id, ask_before_forgetting, forget_selected)

    def _ask(self, request: HttpRequest, object_id: str, ask: Any, act: Any) -> HttpResponse:
        """A page that asks before something is done with a person, and does it when it is posted."""
        person = self.get_object(request, object_id)
        if not self.has_delete_permission(request, person):
            raise PermissionDenied
        if person is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined,no-any-return]  # missing in the stubs
        people = Person.objects.filter(pk=person.pk)
        if request.method != "POST":
            response: HttpResponse = ask(self, request, people)
            return response
        act(self, request, people)
        return HttpResponseRedirect(reverse("admin:people_person_changelist"))

    def has_push_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("people.change_gist")
