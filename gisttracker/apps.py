from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class GisttrackerConfig(AppConfig):
    name = "gisttracker"
    default = True

    def ready(self) -> None:
        from gisttracker import checks  # noqa: F401  # registers the system checks


class DeskConfig(admin_apps.AdminConfig):
    default = False
    default_site = "gisttracker.site.DeskSite"
