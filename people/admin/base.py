"""The base of the admin's pages: fast lists, and actions that are also buttons on the page of a row."""

from typing import Any, ClassVar, cast

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import models
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.functional import cached_property

from people.admin.actions import RowAction, find_applicable

Facts = list[tuple[str, str]]  # what is shown, and its value: text, or safe HTML
MAX_COUNT = 10_000  # rows that are counted, and that can be reached page by page


class CappedCount(int):
    """A number of rows of which only the first are counted. Reads "10,000+" wherever Django shows it."""

    def __str__(self) -> str:
        return f"{int(self):,}+"


def count_capped(rows: QuerySet[Any]) -> int:
    count: int = rows.order_by()[: MAX_COUNT + 1].count()
    return count if count <= MAX_COUNT else CappedCount(MAX_COUNT)


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # generic only in the stubs
    """Counts, and pages through, at most MAX_COUNT rows: counting a million takes longer than the rest of the page."""

    @cached_property
    def count(self) -> int:
        return count_capped(cast("QuerySet[Any]", self.object_list))


class PageChangeList(ChangeList):
    """A list that finds the keys of a page by indexes only, then reads these rows, and adds data to them.

    If whole rows were selected, the database would read, and often sort, all rows before the page.
    """

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        keys = list(cast("QuerySet[Any]", self.result_list).values_list("pk", flat=True))
        found = self.root_queryset.in_bulk(keys)
        rows = [found[key] for key in keys if key in found]  # Others were deleted meanwhile.
        cast("DeskAdmin", self.model_admin).prepare_rows(rows)
        self.result_list = rows  # Django only iterates it and takes its length.


class DeskAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic only in the stubs
    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # They count all rows once for each choice of a filter.
    list_per_page = 50
    list_select_related = False  # A join makes MySQL sort the whole table; prepare_rows reads what the page needs.
    sortable_by: ClassVar[Any] = ()
    row_actions: tuple[RowAction, ...] = ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return PageChangeList

    def prepare_rows(self, rows: list[Any]) -> None:
        """Add to the rows of one page what their columns show. The number of queries must not depend on the rows."""

    def get_frame(self, request: HttpRequest, title: str) -> dict[str, Any]:
        """What the template of a page of ours needs for what surrounds it."""
        return {**self.admin_site.each_context(request), "title": title, "opts": self.opts, "media": self.media}

    def get_page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """What the template of a row's page needs besides Django's form."""
        return {}

    def render_change_form(
        self,
        request: HttpRequest,
        context: Any,
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        if obj is not None:
            context.update(self.get_page_context(request, obj))
        response: HttpResponse = super().render_change_form(request, context, add, change, form_url, obj)
        return response

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.run_action)
        name = f"{self.opts.app_label}_{self.opts.model_name}_action"
        return [path("<int:pk>/action/<slug:action_name>/", view, name=name), *super().get_urls()]

    def run_action(self, request: HttpRequest, pk: int, action_name: str) -> HttpResponse:
        """The button of an action on the page of a row."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        action = next((action for action in self.row_actions if action.name == action_name), None)
        if action is None:
            raise Http404(f"There is no action {action_name}.")
        if not self._may(request, action):
            raise PermissionDenied
        rows = self.model._default_manager.filter(pk=pk)
        if not rows.exists():
            return self._get_obj_does_not_exist_redirect(request, self.opts, str(pk))  # type: ignore[attr-defined,no-any-return]  # missing in the stubs
        action(self, request, cast(Any, rows))
        return HttpResponseRedirect(reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[pk]))

    def get_buttons(self, request: HttpRequest, row: models.Model) -> list[dict[str, str]]:
        """The label and the URL of each action that the user may do and that would change the row."""
        allowed = tuple(action for action in self.row_actions if self._may(request, action))
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_action"
        applicable = find_applicable(allowed, row) if allowed else []
        return [{"label": action.label, "url": reverse(name, args=[row.pk, action.name])} for action in applicable]

    def _may(self, request: HttpRequest, action: RowAction) -> bool:
        return bool(getattr(self, f"has_{action.permission}_permission")(request))


class ReadOnlyAdmin(DeskAdmin):
    """Rows that only the program writes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, row: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, row: models.Model | None = None) -> bool:
        return False


class FactsAdmin(ReadOnlyAdmin):
    """The page of a row shows facts in words instead of its columns."""

    change_form_template = "admin/people/facts_form.html"

    def get_facts(self, row: Any) -> Facts:
        raise NotImplementedError

    def get_fieldsets(self, request: HttpRequest, row: models.Model | None = None) -> Any:
        return []

    def get_page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        return {"facts": self.get_facts(row)}
