"""As process_settings, in a process that records what it commits; see tests/model/recorder.py."""

from django.db.backends.signals import connection_created

from tests.process_settings import *  # noqa: F403


def _record(**_: object) -> None:
    connection_created.disconnect(_record)
    from tests.model.recorder import record_this_process

    record_this_process()


connection_created.connect(_record)
