"""What each app adds to the service: gisttracker/ finds it here, and names none of its apps."""

from django.apps import AppConfig, apps


class ServiceApp(AppConfig):
    """An app of this service. Its URLs are in its module `api.urls`."""


def service_apps() -> list[ServiceApp]:
    """In the order of INSTALLED_APPS."""
    return [app for app in apps.get_app_configs() if isinstance(app, ServiceApp)]
