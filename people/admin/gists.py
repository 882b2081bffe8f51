"""The gists: whether and why they are in Pipedrive, and pushing or skipping them."""

from typing import Any, cast

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from people.admin.actions import RowAction
from people.admin.base import Facts, FactsAdmin
from people.admin.filters import StoredFilter
from people.admin.markup import badge, external_link, is_web_url, shorten, time_in_words, with_reason
from people.admin.person_page import gist_link, push_badge
from people.admin.pipedrive_links import activity_link, person_link
from people.admin.search import search_gists
from people.models import Gist

PushState = Gist.PushState
ROW_ACTIONS = (
    RowAction(
        name="push_again",
        label="Push again",
        permission="push",
        selects=Q(push_state__in=[PushState.REJECTED, PushState.SKIPPED]),
        apply=lambda gists, user: gists.push_again(),
        done=("The next run pushes %d gist again.", "The next run pushes %d gists again."),
        left=(
            "%d gist was not changed: it is neither rejected nor skipped.",
            "%d gists were not changed: they are neither rejected nor skipped.",
        ),
        history="Pushed again.",
    ),
    RowAction(
        name="skip",
        label="Skip (do not push)",
        permission="push",
        selects=Q(push_state__in=[PushState.PENDING, PushState.REJECTED]),
        apply=lambda gists, user: gists.skip(f"Skipped by {user} in the admin."),
        done=("%d gist is skipped.", "%d gists are skipped."),
        left=(
            "%d gist was not changed: it is neither pending nor rejected, so it may have an activity, or is skipped.",
            "%d gists were not changed: they are neither pending nor rejected, so they may have activities, or are "
            "skipped.",
        ),
        history="Skipped.",
    ),
)
FOUND: dict[str, str] = {
    Gist.Discovery.STREAM: "· shown by GitHub's stream",
    Gist.Discovery.POLL: "· found by a poll",
    Gist.Discovery.MISSED: "· found by a poll; GitHub's stream did not show it",
}


class GistAdmin(FactsAdmin):
    """sync.admin registers a subclass, as of PersonAdmin."""

    list_display = ["title", "person_link", "state_and_reason", "github", "activity", "stored"]
    list_filter = ["push_state", "discovery", StoredFilter]
    search_fields = ["github_id"]  # shows the search; get_search_results does it
    search_help_text = "a login or profile URL (that person's gists), or the id, its beginning or the URL of a gist"
    ordering = ["-created_at", "-id"]  # The indexes that the filters use have this order.
    row_actions = ROW_ACTIONS
    actions = [*ROW_ACTIONS]
    change_form_template = "admin/people/gist/change_form.html"

    @admin.display(description="gist")
    def title(self, gist: Gist) -> str:
        return shorten(gist.description, 80) or "(no description)"

    @admin.display(description="person")
    def person_link(self, gist: Gist) -> SafeString:
        return _person_page(gist)

    @admin.display(description="state")
    def state_and_reason(self, gist: Gist) -> SafeString:
        return with_reason(push_badge(gist), gist.push_error)

    @admin.display(description="GitHub")
    def github(self, gist: Gist) -> SafeString:
        return gist_link(gist)

    @admin.display(description="activity")
    def activity(self, gist: Gist) -> SafeString:
        return activity_link(gist.pipedrive_activity_id)

    @admin.display(description="stored")
    def stored(self, gist: Gist) -> SafeString:
        return time_in_words(gist.created_at)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Gist]:
        # People by a second query for the shown rows: with a join MySQL reads and sorts a million rows.
        return cast("QuerySet[Gist]", super().get_queryset(request)).prefetch_related("person")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return search_gists(cast(Any, queryset), search_term), False

    def get_page_context(self, request: HttpRequest, gist: Gist) -> dict[str, Any]:
        return {
            **super().get_page_context(request, gist),
            "attempts": self.get_attempts([gist]).get(gist.pk, []),
            "buttons": self.get_buttons(request, gist),
        }

    def get_facts(self, gist: Gist) -> Facts:
        return [
            ("Description", gist.description or "(none)"),
            ("Person", _person_page(gist)),
            ("State", push_badge(gist)),
            ("Why", gist.push_explanation),
            ("Activity", activity_link(gist.pipedrive_activity_id)),
            ("Filed under", person_link(gist.pipedrive_person_id)),
            ("GitHub", gist_link(gist)),
            ("Gist id", gist.github_id),
            ("On GitHub", _describe_times(gist)),
            ("Stored", format_html("{} {}", time_in_words(gist.created_at), FOUND.get(gist.discovery, ""))),
            ("Push attempts", str(gist.push_attempts)),
            ("Files", _list_files(gist)),
        ]

    def get_attempts(self, gists: list[Gist]) -> dict[int, list[SafeString]]:
        """As PersonAdmin.get_attempts."""
        raise NotImplementedError

    def has_push_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("people.change_gist")


def _person_page(gist: Gist) -> SafeString:
    return format_html('<a href="{}">{}</a>', reverse("admin:people_person_change", args=[gist.person_id]), gist.person)


def _describe_times(gist: Gist) -> SafeString:
    text = format_html(
        "created {} · updated {}", time_in_words(gist.github_created_at), time_in_words(gist.github_updated_at)
    )
    if gist.removed_at:
        text += format_html(" · {} {}", badge("removed", "warning"), time_in_words(gist.removed_at))
    return text


def _list_files(gist: Gist) -> SafeString:
    rows = [(_file_link(file), file.get("language") or "no language", file.get("size", 0)) for file in gist.files]
    cut = " GitHub lists only the first 300 files." if gist.truncated else ""
    return format_html("<ul>{}</ul>{}", format_html_join("", "<li>{} ({}, {} bytes)</li>", rows), cut)


def _file_link(file: dict[str, Any]) -> SafeString:
    name, url = str(file.get("name", "")), str(file.get("raw_url", ""))
    return external_link(url, name) if is_web_url(url) else format_html("{}", name)
