from django.apps import AppConfig


class GisttrackerConfig(AppConfig):
    name = "gisttracker"

    def ready(self) -> None:
        from gisttracker import checks  # noqa: F401  # registers the system checks
