from django.apps import AppConfig


class SyncConfig(AppConfig):
    name = "sync"

    def ready(self) -> None:
        from people.forget import person_forgotten
        from sync.forget import erase_traces

        person_forgotten.connect(erase_traces, dispatch_uid="sync.forget")
