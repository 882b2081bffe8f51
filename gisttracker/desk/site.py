"""The admin site: the apps of the service first, and the most used models."""

from typing import Any

from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import BadRequest
from django.db.models import IntegerField
from django.http import HttpRequest, HttpResponse

from gisttracker.common.apps import service_apps
from gisttracker.common.database import retried_on_conflict
from gisttracker.common.numbers import parse_whole_number
from gisttracker.desk.logins import LoginForm


class RobustAdmin:
    """For the pages of all models: a 400 for lookups that no filter of the list makes, and for impossible keys; and a
    change is repeated after a deadlock.

    Django allows any lookup in the query, such as `name__regex` and `created_at__year=0`, and fails for some values.
    """

    list_filter: Any
    opts: Any

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        names = {item[0] if isinstance(item, tuple) else item for item in self.list_filter}
        parameters = {getattr(item, "parameter_name", "") for item in names}
        fields = {item for item in names if isinstance(item, str)}
        return lookup in parameters | fields or lookup.rpartition("__")[0] in fields

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        for key in request.POST.getlist(ACTION_CHECKBOX_NAME):
            self._check_key(key)
        try:
            response: HttpResponse = super().changelist_view(request, extra_context)  # type: ignore[misc]  # a mixin
        except OverflowError as error:  # from the database's driver
            raise BadRequest(str(error)) from None
        return response

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = retried_on_conflict(super().changeform_view)(  # type: ignore[misc]  # a mixin
            request, *args, **kwargs
        )
        return response

    def _check_key(self, key: str) -> None:
        if not isinstance(self.opts.pk, IntegerField):
            return
        try:
            parse_whole_number(key)
        except ValueError as error:
            raise BadRequest(f"The key of a row {error}.") from None


class DeskSite(AdminSite):
    login_form = LoginForm
    site_header = site_title = "gisttracker"
    enable_nav_sidebar = False  # The lists need its room; the header leads to the most used ones.

    def register(self, model_or_iterable: Any, admin_class: type[Any] | None = None, **options: Any) -> None:
        base = admin_class or ModelAdmin
        robust = type(base.__name__, (RobustAdmin, base), {"__module__": base.__module__})
        super().register(model_or_iterable, robust, **options)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """The others follow by name. A model to which the header leads has the text of that link as `header`."""
        headers = {app.label: app.header for app in service_apps()}
        apps = super().get_app_list(request, app_label)
        for app in apps:
            header = headers.get(app["app_label"], {})
            for model in app["models"]:
                model["header"] = header.get(model["object_name"])
            app["models"].sort(key=lambda model: _position(model["object_name"], [*header]))
        return sorted(apps, key=lambda app: _position(app["app_label"], [*headers]))


def _position(name: str, order: list[str]) -> int:
    return order.index(name) if name in order else len(order)
