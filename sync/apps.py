from gisttracker.common.apps import ServiceApp


class SyncConfig(ServiceApp):
    name = "sync"
    default = True
    header = {"SyncRun": "Runs", "Alarm": "Alarms"}
