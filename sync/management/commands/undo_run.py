"""`manage.py undo_run`: delete the activities that a run has created."""

import argparse
import sys
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.utils.translation import ngettext

from gisttracker.common.database import retried
from gisttracker.common.numbers import parse_whole_number
from gisttracker.config.environment import EX_CONFIG, EX_FAILED, EX_INTERRUPTED, exit_with_config_error
from gisttracker.management.command_line import GisttrackerCommand
from sync.clients.errors import CircuitOpenError, ConfigurationError, LeaseLostError, RunStoppedError
from sync.clients.pipedrive import PipedriveClient
from sync.clock import Clock, database_clock
from sync.models import SyncRun
from sync.push.pauses import keep_pause, store_pause
from sync.push.undo import undo
from sync.run.lease import Lease, LeaseTakenError
from sync.run.preconditions import find_setting_problem
from sync.run.stopping import stop_on_signals

MAX_FAILURES = 3  # in a row; then it is not tried for the others


class Command(GisttrackerCommand):
    help = (
        "Delete the activities that this run has created, except those that were changed in Pipedrive since. Their "
        "gists are skipped afterwards; they can be pushed again. Can be stopped and repeated."
    )
    reads = ("PIPEDRIVE_TOKEN", "PIPEDRIVE_API_URL", "ALLOW_INSECURE")
    exit_codes = {
        EX_FAILED: "an activity could not be read or deleted, or the command was stopped; repeat it",
        EX_CONFIG: "a setting is invalid or missing, or Pipedrive refused the token",
        EX_INTERRUPTED: "stopped with Ctrl-C before it began",
    }
    examples = ("7 --dry-run", "7")
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", type=run_id, help="the number of the run, as its summary and sync_status show it")
        parser.add_argument("--dry-run", action="store_true", help="only print what would be deleted and what kept")

    def handle(self, *args: Any, **options: Any) -> None:
        problem = find_setting_problem(needs_pipedrive=True)
        if problem:
            exit_with_config_error(problem)
        clock = retried(database_clock)()
        run = SyncRun.objects.filter(pk=options["run"]).first()
        if run is None:
            raise CommandError(f"Run {options['run']} does not exist. sync_status shows the last one.", returncode=2)
        stopping = threading.Event()
        lease = Lease(clock, stopping)
        try:
            lease.take()
        except LeaseTakenError as taken:
            message = f"{taken}. Wait until it has ended, or stop it; then repeat the command."
            raise CommandError(message, returncode=2) from None
        pipedrive = PipedriveClient(settings.PIPEDRIVE_API_URL, settings.PIPEDRIVE_TOKEN, stopping=stopping)
        pipedrive.api.may_send = lambda: not lease.is_over
        keep_pause(pipedrive, clock)
        try:
            with stop_on_signals(stopping) as begin:
                begin()
                self._undo(run, pipedrive, clock, lease, dry_run=options["dry_run"])
        finally:
            lease.release()

    def _undo(self, run: SyncRun, pipedrive: PipedriveClient, clock: Clock, lease: Lease, *, dry_run: bool) -> None:
        deleted = kept = failures = 0
        stopped: Exception | None = None
        try:
            for undone in undo(run, pipedrive, clock, lease.writing, dry_run=dry_run):
                lease.renew()
                if undone.kept_because:
                    self.stdout.write(f"kept: {undone}: {undone.kept_because}")
                elif dry_run:
                    self.stdout.write(f"would be deleted: {undone}")
                deleted += not undone.kept_because
                kept += bool(undone.kept_because)
                failures = failures + 1 if undone.is_failure else 0
                if failures == MAX_FAILURES:
                    stopped = CircuitOpenError(f"{MAX_FAILURES} activities in a row could not be read or deleted")
                    break
        except (CircuitOpenError, RunStoppedError, LeaseLostError) as error:
            stopped = error
        store_pause(pipedrive, clock)
        activities = ngettext("%d activity", "%d activities", deleted) % deleted
        self.stdout.write(f"Run {run.pk}: {activities} {'would be deleted' if dry_run else 'deleted'}, {kept} kept.")
        if stopped:
            self.stderr.write(f"Stopped before the end: {stopped}. Repeat the command to continue.")
        if stopped or failures:
            sys.exit(EX_CONFIG if isinstance(stopped, ConfigurationError) else EX_FAILED)


def run_id(text: str) -> int:
    """The number of a run. A type for argparse."""
    try:
        return parse_whole_number(text, 1)
    except ValueError:
        raise argparse.ArgumentTypeError("must be the number of a run") from None
