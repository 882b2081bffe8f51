from importlib import import_module

from django.apps import AppConfig
from django.contrib.admin.apps import SimpleAdminConfig
from django.db.models.signals import post_migrate

from gisttracker.common.apps import service_apps


class GisttrackerConfig(AppConfig):
    name = "gisttracker"
    default = True

    def ready(self) -> None:
        from gisttracker.config import checks  # noqa: F401  # registers the system checks


class DeskConfig(SimpleAdminConfig):
    """The admin: pages for these apps only, and the group `viewer`.

    Those of rest_framework_api_key would show keys that have no consumers.
    """

    default = False
    default_site = "gisttracker.desk.site.DeskSite"

    def ready(self) -> None:
        super().ready()
        from gisttracker.desk.viewers import grant_view_permissions

        for app in ["django.contrib.auth", "axes", *(app.name for app in service_apps())]:
            import_module(f"{app}.admin")
        for service_app in service_apps():
            post_migrate.connect(grant_view_permissions, sender=service_app)
