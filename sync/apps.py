from django.db.models.signals import post_migrate

from gisttracker.common.apps import ServiceApp


class SyncConfig(ServiceApp):
    name = "sync"
    default = True

    def ready(self) -> None:
        from gisttracker.desk.viewers import grant_view_permissions

        # Connected after django.contrib.auth's receiver, and for the last app only: the permissions exist by then.
        post_migrate.connect(grant_view_permissions, sender=self)
        from people.forget import person_forgotten
        from sync.forget import erase_found_activities

        person_forgotten.connect(erase_found_activities, dispatch_uid="sync.forget")
