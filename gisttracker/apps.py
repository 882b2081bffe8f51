from importlib import import_module

from django.apps import AppConfig
from django.contrib.admin.apps import SimpleAdminConfig


class GisttrackerConfig(AppConfig):
    name = "gisttracker"
    default = True

    def ready(self) -> None:
        from gisttracker.config import checks  # noqa: F401  # registers the system checks


class DeskConfig(SimpleAdminConfig):
    """Has pages for these apps only. Those of rest_framework_api_key show keys that have no consumers."""

    default = False
    default_site = "gisttracker.desk.site.DeskSite"

    def ready(self) -> None:
        super().ready()
        for app in ("django.contrib.auth", "axes", "people", "sync"):
            import_module(f"{app}.admin")
