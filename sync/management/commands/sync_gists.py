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
from django.db.models import Q
from tqdm import tqdm

from gisttracker import logs
from gisttracker.environment import EX_CONFIG, exit_with_config_error
from people.models import Person
from sync import claims
from sync.claims import Clock
from sync.clients.errors import ConfigurationError
from sync.clients.github import ANONYMOUS_REQUESTS_PER_HOUR, GitHubClient
from sync.clients.pipedrive import PipedriveClient
from sync.dry_run import preview
from sync.run import Options, Run
from sync.runs import Outcome, close_record, open_record
from sync.summary import Report, remaining

log = logging.getLogger(__name__)
EX_FAILED = 3
EXIT_CODES = {Outcome.MISCONFIGURED: EX_CONFIG, Outcome.FAILED: EX_FAILED}


def number(least: int, most: int) -> Callable[[str], int]:
    """An argparse type for whole numbers in a range."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or not least <= int(text[:12]) <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}")
        return int(text)

    return read


class Command(BaseCommand):
    help = "Poll GitHub for the tracked people's new gists and make one Pipedrive activity of each."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        who = parser.add_mutually_exclusive_group()
        who.add_argument("--person", action="append", default=[], metavar="NAME", help="only this one; repeatable")
        who.add_argument("--requested", action="store_true", help="only new people and those somebody asked for")
        parser.add_argument("--dry-run", action="store_true", help="read, say what would be done, write nothing")
        parser.add_argument("--full", action="store_true", help="read everybody's whole list, changed or not")
        parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
        parser.add_argument(
            "--concurrency",
            type=number(1, 100),
            default=settings.SYNC_CONCURRENCY,
            metavar="N",
            help=f"requests at once (default {settings.SYNC_CONCURRENCY})",
        )
        for unit, least in (("people", "people polled"), ("activities", "activities made"), ("minutes", "time taken")):
            parser.add_argument(
                f"--max-{unit}", type=number(1, 10**9), default=0, metavar="N", help=f"{least} at most; the rest later"
            )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.PIPEDRIVE_TOKEN and not options["dry_run"]:
            exit_with_config_error(
                "PIPEDRIVE_TOKEN is not set: sync_gists needs it to make activities (or use --dry-run)."
            )
        names = self._names(options["person"])
        clock = claims.database_clock()
        due = self._due(names, options["requested"], clock)
        if not settings.GITHUB_TOKEN:
            log.warning("%s", without_token(Person.objects.filter(due)))
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
                self._preview(due, github, options)
            else:
                self._run(names, due, github, clock, stopping, options)

    @staticmethod
    def _names(given: list[str]) -> tuple[str, ...]:
        found = []
        for name in given:
            person = Person.objects.named(name).first()
            if person is None:
                raise CommandError(f"--person {name}: nobody of that name is tracked.", returncode=2)
            if person.state == Person.State.PAUSED:
                raise CommandError(f"--person {name}: is paused; PATCH its state to active first.", returncode=2)
            found.append(person.github_username)
        return tuple(found)

    @staticmethod
    def _due(names: tuple[str, ...], requested: bool, clock: Clock) -> Q:
        now = clock()
        if names:
            return claims.named(names, now)
        return claims.requested() if requested else claims.due_for_poll(now, now)

    def _preview(self, due: Q, github: GitHubClient, options: dict[str, Any]) -> None:
        forecast: list[str] = []
        problems = preview(
            due,
            github,
            backfill=settings.BACKFILL,
            concurrency=options["concurrency"],
            full=options["full"],
            say=forecast.append if options["json"] else self.stdout.write,
        )
        if options["json"]:
            self.stdout.write(json.dumps({"dry_run": True, "forecast": forecast, "problems": problems}))
        for problem in problems:
            log.warning("%s", problem)
        if isinstance(github.api.ended, ConfigurationError):
            sys.exit(EX_CONFIG)
        if problems:
            sys.exit(EX_FAILED)

    def _run(
        self,
        names: tuple[str, ...],
        due: Q,
        github: GitHubClient,
        clock: Clock,
        stopping: threading.Event,
        options: dict[str, Any],
    ) -> None:
        if options["requested"] and not Person.objects.filter(due).exists():
            self._nothing_to_do(options["json"])  # As it is every few minutes; such a run is not worth a row.
            return
        began = time.monotonic()
        pipedrive = PipedriveClient(
            settings.PIPEDRIVE_API_URL,
            settings.PIPEDRIVE_TOKEN,
            concurrency=options["concurrency"],
            stopping=stopping,
        )
        record = open_record(clock, settings.SYNC_LEASE_SECONDS, trigger_of(options))
        logs.bind_global(run=record.pk)
        with progress_bar(Person.objects.filter(due).count()) as progress:
            run = Run(
                record,
                choices(names, options),
                github,
                pipedrive,
                clock=clock,
                stopping=stopping,
                progress=progress,
            )
            try:
                run()
            except BaseException as error:
                run.report.problem(f"The run broke off: {type(error).__name__}")
                self._close(run, Outcome.FAILED)
                raise
        ended = [api.ended for api in (github.api, pipedrive.api) if api.ended]
        told_to_stop = stopping.is_set() and not run.report.cut_short
        self._close(run, run.report.outcome(ended, told_to_stop=told_to_stop))
        self._summary(run, time.monotonic() - began, options["json"])
        code = EXIT_CODES.get(Outcome(record.outcome), 0)
        if code:
            sys.exit(code)

    def _nothing_to_do(self, as_json: bool) -> None:
        nothing: dict[str, Any] = {"run": None, "outcome": Outcome.SUCCEEDED, "seconds": 0, "counts": Report().told()}
        nothing |= {"requests": {"github": 0, "pipedrive": 0}, "problems": []}
        self.stdout.write(json.dumps(nothing) if as_json else "Nobody is new or asked for.")

    @staticmethod
    def _close(run: Run, outcome: Outcome) -> None:
        run.record.counts = dict(run.report.counts)
        run.record.limits = {
            client.api.name.lower(): remaining(client.remaining, client.api.requests, client.api.ended)
            for client in (run.github, run.pipedrive)
        }
        close_record(run.record, run.clock, outcome, run.report.problems)

    def _summary(self, run: Run, seconds: float, as_json: bool) -> None:
        requests = {"github": run.github.api.requests, "pipedrive": run.pipedrive.api.requests}
        if as_json:
            summary = {
                "run": run.record.pk,
                "outcome": run.record.outcome,
                "seconds": round(seconds, 3),
                "counts": run.report.told(),
                "requests": requests,
                "problems": run.report.problems,
            }
            self.stdout.write(json.dumps(summary))
            return
        self.stdout.write(
            f"Run {run.record.pk} {run.record.outcome} in {seconds:.1f} s: "
            f"{run.report.sentence() or 'nobody was polled'}; "
            f"{requests['github']} requests to GitHub, {requests['pipedrive']} to Pipedrive."
        )


def choices(names: tuple[str, ...], options: dict[str, Any]) -> Options:
    """The run's options, from the command line and the settings."""
    return Options(
        people=names,
        requested_only=options["requested"],
        full=options["full"],
        most_people=options["max_people"],
        most_activities=options["max_activities"],
        most_activities_a_day=settings.PIPEDRIVE_DAILY_ACTIVITIES,
        most_minutes=options["max_minutes"],
        concurrency=options["concurrency"],
        backfill=settings.BACKFILL,
        activity_type=settings.PIPEDRIVE_ACTIVITY_TYPE,
        activity_done=settings.PIPEDRIVE_ACTIVITY_DONE,
        push_edits=settings.PUSH_EDITS,
        reconcile_after_seconds=settings.PUSH_RECONCILE_AFTER_SECONDS,
        lease_seconds=settings.SYNC_LEASE_SECONDS,
    )


def trigger_of(options: dict[str, Any]) -> str:
    """What the run's row says about who started it."""
    if options["person"]:
        return "person"
    if options["requested"]:
        return "requested"
    return "manual" if sys.stdin.isatty() else "schedule"


def without_token(due: Any) -> str:
    """What it means to be anybody for GitHub."""
    people = due.count()
    needed = people + due.filter(github_id=None).count()  # Of a new person the profile is asked for, too.
    hours = -(-needed // ANONYMOUS_REQUESTS_PER_HOUR)
    return (
        f"GITHUB_TOKEN is not set: GitHub answers {ANONYMOUS_REQUESTS_PER_HOUR} requests an hour to this address. "
        f"{people} people need at least {needed}: about {hours} hours until everybody had a turn, the longest "
        "unpolled first. E-mail addresses are not shown either."
    )


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
