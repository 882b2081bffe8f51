from gisttracker.common.apps import ServiceApp


class SyncConfig(ServiceApp):
    name = "sync"
    default = True
    header = {"SyncRun": "Runs", "Alarm": "Alarms"}

    def ready(self) -> None:
        from people.forget import person_forgotten
        from sync.forget import erase_found_activities

        person_forgotten.connect(erase_found_activities, dispatch_uid="sync.forget")
