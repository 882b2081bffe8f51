"""The admin site: its models in the order of their use."""

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest

APPS = ["people", "sync"]  # Others follow by name.
MODELS = ["Person", "Gist", "SyncRun", "Alarm", "Consumer", "Visit", "Suppressed"]


class DeskSite(AdminSite):
    enable_nav_sidebar = False  # The lists need its room; the header leads to the most used ones.

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        apps = super().get_app_list(request, app_label)
        for app in apps:
            app["models"].sort(key=lambda model: _position(model["object_name"], MODELS))
        return sorted(apps, key=lambda app: _position(app["app_label"], APPS))


def _position(name: str, order: list[str]) -> int:
    return order.index(name) if name in order else len(order)
