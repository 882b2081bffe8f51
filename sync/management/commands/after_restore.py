"""`manage.py after_restore`: once after a backup of the database was restored, before the next run."""

from typing import Any

from django.utils.translation import ngettext

from gisttracker.common.row_ids import last_id, set_next_id
from gisttracker.management.command_line import GisttrackerCommand
from people.forget import forget_suppressed
from people.models import Gist, Person
from people.tracking import compare_again
from sync.models import RunLease, SyncRun

ID_GAP = 10_000_000  # gists; many times what can have been stored after a backup


class Command(GisttrackerCommand):
    help = (
        "Run it once after a backup was restored: the gists of all people are compared with the activities in "
        "Pipedrive before the next push, a run that went on when the backup was made is over, those who "
        "asked not to be tracked are removed again, and new gists get ids after the cursors that consumers may keep."
    )
    examples = ("",)

    def handle(self, *args: Any, **options: Any) -> None:
        forgotten = forget_suppressed(by="after_restore")
        people = compare_again(Person.objects.all())
        RunLease.objects.all().delete()
        SyncRun.objects.filter(outcome=SyncRun.Outcome.RUNNING).update(outcome=SyncRun.Outcome.CRASHED)
        set_next_id(Gist, last_id(Gist) + ID_GAP)  # Consumers may keep cursors that the backup does not know.
        number = ngettext("%d person", "%d people", people) % people
        if forgotten:
            removed = ngettext("%d person who", "%d people who", forgotten) % forgotten
            self.stdout.write(f"Removed {removed} asked not to be tracked.")
        self.stdout.write(f"Before the next push, the gists of {number} are compared with Pipedrive.")
