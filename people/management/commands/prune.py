"""`manage.py prune`: delete rows that are not needed any more. Daily."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.utils import timezone

from gisttracker.management.command_line import GisttrackerCommand

KEEP_LOGINS_FOR = timedelta(days=90)
KEEP_ADMIN_LOG_FOR = timedelta(days=365)
BATCH_SIZE = 1000  # rows in one statement, so that no lock is kept for long


class Command(GisttrackerCommand):
    help = "Delete expired sessions, and old logs of logins and of the admin. Run it once a day."
    examples = ("",)

    def handle(self, *args: Any, **options: Any) -> None:
        for name, rows in find_old_rows():
            self.stdout.write(f"{name}: {delete(rows)} deleted")


def find_old_rows() -> Iterator[tuple[str, QuerySet[Any]]]:
    """What to delete, by table."""
    now = timezone.now()
    yield "sessions", Session.objects.filter(expire_date__lt=now)
    for name, model in (
        ("login attempts", AccessAttempt),
        ("logins", AccessLog),
        ("locked logins", AccessFailureLog),
    ):
        yield name, model.objects.filter(attempt_time__lt=now - KEEP_LOGINS_FOR)
    yield "admin log", LogEntry.objects.filter(action_time__lt=now - KEEP_ADMIN_LOG_FOR)


def delete(rows: QuerySet[Any]) -> int:
    """Delete in batches. Returns how many there were."""
    count = 0
    while keys := list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH_SIZE]):
        rows.model.objects.filter(pk__in=keys).delete()
        count += len(keys)
    return count
