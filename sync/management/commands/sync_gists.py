"""`manage.py sync_gists`: take new gists from GitHub and make their Pipedrive activities."""

import argparse
import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from gisttracker.environment import EX_CONFIG, refuse
from people.models import Person
from sync import claims
from sync.errors import ApiEndedError, CredentialsError, OutageError
from sync.github import GitHubClient
from sync.pipedrive import PipedriveClient
from sync.preview import preview
from sync.record import Outcome, close_record, open_record
from sync.run import Options, Report, Run

log = logging.getLogger(__name__)
EX_FAILED = 3
TOLD = (
    ("people_polled", "people polled"),
    ("people_unchanged", "unchanged"),
    ("people_failed", "failed"),
    ("gists_new", "gists new"),
    ("gists_edited", "edited"),
    ("gists_removed", "removed"),
    ("gists_skipped", "skipped"),
    ("gists_pushed", "activities made"),
    ("gists_found", "found at Pipedrive"),
    ("gists_unclear", "unclear"),
    ("gists_rejected", "rejected"),
)


def count(least: int, most: int) -> Callable[[str], int]:
    """An argparse type for whole numbers in a range."""

    def read(text: str) -> int:
        if not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}")
        return int(text)

    return read


class Command(BaseCommand):
    help = "Poll GitHub for the tracked people's new gists and make one Pipedrive activity of each."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--person", action="append", default=[], metavar="NAME", help="only this one; repeatable")
        parser.add_argument("--dry-run", action="store_true", help="read, say what would be done, write nothing")
        parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
        parser.add_argument(
            "--concurrency",
            type=count(1, 100),
            default=settings.SYNC_CONCURRENCY,
            metavar="N",
            help=f"requests at once to each API (default {settings.SYNC_CONCURRENCY})",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.PIPEDRIVE_TOKEN and not options["dry_run"]:
            refuse("PIPEDRIVE_TOKEN is not set: sync_gists needs it to make activities (or use --dry-run).")
        people = self._people(options["person"])
        if not settings.GITHUB_TOKEN:
            log.warning("GITHUB_TOKEN is not set: GitHub answers only 60 requests an hour to this address.")
        stopping = threading.Event()
        github = GitHubClient(
            settings.GITHUB_API_URL,
            settings.GITHUB_TOKEN,
            requests_per_minute=settings.GITHUB_REQUESTS_PER_MINUTE,
            concurrency=options["concurrency"],
            stopping=stopping,
        )
        with stops_on_signals(stopping):
            if options["dry_run"]:
                self._preview(people, github, options["concurrency"])
            else:
                self._run(people, github, stopping, options)

    def _people(self, names: list[str]) -> tuple[str, ...]:
        for name in names:
            if not Person.objects.named(name).exists():
                raise CommandError(f"--person {name}: nobody of that name is tracked.", returncode=2)
        return tuple(person.github_username for name in names for person in Person.objects.named(name))

    def _preview(self, people: tuple[str, ...], github: GitHubClient, concurrency: int) -> None:
        now = claims.database_clock()()
        due = claims.named(people, now) if people else claims.due_for_poll(now, now)
        preview(due, github, backfill=settings.BACKFILL, concurrency=concurrency, say=self.stdout.write)

    def _run(
        self, people: tuple[str, ...], github: GitHubClient, stopping: threading.Event, options: dict[str, Any]
    ) -> None:
        began = time.monotonic()
        clock = claims.database_clock()
        pipedrive = PipedriveClient(
            settings.PIPEDRIVE_API_URL,
            settings.PIPEDRIVE_TOKEN,
            concurrency=options["concurrency"],
            stopping=stopping,
        )
        record = open_record(clock, settings.SYNC_LEASE_SECONDS, "manual")
        choices = Options(
            people=people,
            concurrency=options["concurrency"],
            backfill=settings.BACKFILL,
            activity_type=settings.PIPEDRIVE_ACTIVITY_TYPE,
            activity_done=settings.PIPEDRIVE_ACTIVITY_DONE,
            reconcile_after_seconds=settings.PUSH_RECONCILE_AFTER_SECONDS,
            lease_seconds=settings.SYNC_LEASE_SECONDS,
        )
        with progress_bar(self._how_many(people, record.round_started_at)) as progress:
            run = Run(record, choices, github, pipedrive, clock=clock, stopping=stopping, progress=progress)
            try:
                run()
            except BaseException as error:
                run.report.problem(f"The run broke off: {type(error).__name__}")
                close_record(record, clock, Outcome.FAILED, run.report.problems)
                raise
        record.counts = dict(run.report.counts)
        record.limits = {"github": github.remaining, "pipedrive": pipedrive.remaining}
        ended = [api.ended for api in (github.api, pipedrive.api) if api.ended]
        close_record(record, clock, outcome_of(run.report, ended, stopping), run.report.problems)
        self._summary(run, time.monotonic() - began, options["json"])
        code = exit_code(record.outcome)
        if code:
            sys.exit(code)

    def _how_many(self, people: tuple[str, ...], round_start: Any) -> int:
        return len(people) or Person.objects.filter(claims.due_for_poll(round_start, round_start)).count()

    def _summary(self, run: Run, seconds: float, as_json: bool) -> None:
        requests = {"github": run.github.api.requests, "pipedrive": run.pipedrive.api.requests}
        counts = {name: run.report.counts[name] for name, _ in TOLD}
        if as_json:
            summary = {
                "run": run.record.pk,
                "outcome": run.record.outcome,
                "seconds": round(seconds, 3),
                "counts": counts,
                "requests": requests,
                "problems": run.report.problems,
            }
            self.stdout.write(json.dumps(summary))
            return
        told = ", ".join(f"{counts[name]} {words}" for name, words in TOLD if counts[name])
        self.stdout.write(
            f"Run {run.record.pk} {run.record.outcome} in {seconds:.1f} s: {told or 'nobody to poll'}; "
            f"{requests['github']} requests to GitHub, {requests['pipedrive']} to Pipedrive."
        )


def outcome_of(report: Report, ended: list[ApiEndedError], stopping: threading.Event) -> Outcome:
    """How a run ended, the gravest first."""
    if any(isinstance(error, CredentialsError) for error in ended):
        return Outcome.REFUSED
    outage = any(isinstance(error, OutageError) for error in ended)
    if outage or report.counts["people_failed"] or report.counts["gists_rejected"] or report.counts["gists_unclear"]:
        return Outcome.FAILED
    if ended:
        return Outcome.LIMITED
    return Outcome.STOPPED if stopping.is_set() else Outcome.DONE


def exit_code(outcome: str) -> int:
    return {Outcome.REFUSED: EX_CONFIG, Outcome.FAILED: EX_FAILED}.get(Outcome(outcome), 0)


@contextmanager
def stops_on_signals(stopping: threading.Event) -> Iterator[None]:
    """SIGTERM and Ctrl-C let the run finish the requests in hand and end in good order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: stopping.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[int], object]]:
    """A bar on a terminal; nothing elsewhere."""
    with tqdm(total=total, unit="person", disable=not sys.stderr.isatty(), leave=False) as bar:
        yield bar.update
