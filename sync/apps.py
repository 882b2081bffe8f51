from django.apps import AppConfig
from django.db.models.signals import post_migrate


class SyncConfig(AppConfig):
    name = "sync"

    def ready(self) -> None:
        from gisttracker.desk.viewers import grant_view_permissions

        # Connected after django.contrib.auth's receiver, and for the last app only: the permissions exist by then.
        post_migrate.connect(grant_view_permissions, sender=self)
