"""What each app adds to the service: gisttracker/ finds it here, and names none of its apps."""

from collections.abc import Mapping

from django.apps import AppConfig, apps


class ServiceApp(AppConfig):
    """An app of this service. Its URLs are in its module `api.urls`.

    `header`: models that are used most, each with the text of the link that the admin's header has.
    """

    header: Mapping[str, str] = {}


def service_apps() -> list[ServiceApp]:
    """In the order of INSTALLED_APPS."""
    return [app for app in apps.get_app_configs() if isinstance(app, ServiceApp)]
