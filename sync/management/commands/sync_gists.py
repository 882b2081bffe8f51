"""`manage.py sync_gists`: poll GitHub for new gists and create their Pipedrive activities."""

import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError
from django.db.models import Q
from django.utils.translation import ngettext

from gisttracker.common.database import retried
from gisttracker.config import logs
from gisttracker.config.environment import EX_CONFIG, EX_FAILED, EX_INTERRUPTED, EX_STOPPED, exit_with_config_error
from gisttracker.management.command_line import GisttrackerCommand, whole_number
from people.models import Person
from people.tracking import sync_soon
from sync.api.serializers import SyncRunSerializer
from sync.clients.errors import ConfigurationError, LeaseLostError, SyncError
from sync.clients.github import GitHubClient
from sync.clients.pipedrive import PipedriveClient
from sync.clients.transport import Timing
from sync.clock import Clock, database_clock
from sync.context import Options, RunContext
from sync.health.alarms import report_health
from sync.health.groups import load_groups
from sync.health.ping import ping
from sync.models import ROUND_TRIGGERS, SyncRun
from sync.reasons import cut_lines, format_time
from sync.run.api_state import store_refusal
from sync.run.dry_run import estimate_costs, forecast_run
from sync.run.due import due_by_login, due_for_poll, due_for_push_since, has_login, requested
from sync.run.lease import Lease, LeaseTakenError
from sync.run.preconditions import find_setting_problem, format_token_warning
from sync.run.progress import progress_bar
from sync.run.records import (
    Outcome,
    close_run,
    find_interrupted,
    find_last_round,
    is_healthy,
    open_run,
    record_refused_start,
)
from sync.run.run import Run
from sync.run.stopping import stop_on_signals
from sync.stream import Stream
from sync.summary import Summary

log = logging.getLogger(__name__)
WAIT_SECONDS = 1.0  # between two looks at the lease
EXIT_CODES = {Outcome.MISCONFIGURED: EX_CONFIG, Outcome.FAILED: EX_FAILED}


class Command(GisttrackerCommand):
    help = "Poll GitHub for new gists of the tracked people and create one Pipedrive activity for each."
    reads = (
        "GITHUB_TOKEN", "GITHUB_API_URL", "GITHUB_REQUESTS_PER_MINUTE",
        "PIPEDRIVE_TOKEN", "PIPEDRIVE_API_URL", "PIPEDRIVE_ACTIVITY_TYPE", "PIPEDRIVE_ACTIVITY_DONE",
        "PIPEDRIVE_DAILY_ACTIVITIES", "PIPEDRIVE_ACTIVITY_OWNER", "PIPEDRIVE_GITHUB_FIELD",
        "BACKFILL", "PUSH_EDITS",
        "GITHUB_STREAM", "SYNC_INTERVAL_MINUTES", "PING_URL", "NOTIFY_URL", "ENVIRONMENT_NAME", "ALLOW_INSECURE",
    )  # fmt: skip
    exit_codes = {
        0: (
            "succeeded; also if single people are in trouble (they are listed by reason), if rate limits or its own "
            "limits left work for the next run, and if SIGTERM or Ctrl-C stopped it when no work was left"
        ),
        EX_FAILED: (
            "an API is down, more than five people or gists failed and more than a fifth of all, or all polls, or all "
            "pushes, of the run failed; or another run has taken over, because this process was silent for two minutes"
        ),
        EX_STOPPED: (
            "stopped by SIGTERM or Ctrl-C, after its current requests, with people to poll or gists to push left; or "
            "by SIGTERM before the run began. Start it again"
        ),
        EX_CONFIG: "a setting is invalid or missing, or an API refused a token or a setting",
        EX_INTERRUPTED: "stopped with Ctrl-C before the run began",
    }
    examples = ("", "--trigger schedule", "--dry-run", "--person ada --person grace", "--requested --max-minutes 10")
    requires_system_checks = ()  # They look at the web service, for a quarter of the CPU time of a run without work.
    requires_migrations_checks = False
    timing: ClassVar[Timing] = Timing()

    def add_arguments(self, parser: CommandParser) -> None:
        people = parser.add_mutually_exclusive_group()
        people.add_argument("--person", action="append", default=[], metavar="LOGIN", help="only this one; repeatable")
        people.add_argument("--requested", action="store_true", help="only new, requested and hinted people")
        trigger = "what starts this run for all people, for its row: a schedule or you (default manual)"
        parser.add_argument("--trigger", choices=ROUND_TRIGGERS, help=trigger)
        parser.add_argument("--dry-run", action="store_true", help="only read, and print what a run would do")
        parser.add_argument("--full", action="store_true", help="read every person's whole list, changed or not")
        parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
        concurrency = "parallel requests to each API (default %(default)s)"
        parser.add_argument("--concurrency", type=whole_number(1, 100), default=8, metavar="N", help=concurrency)
        limits = (("people", "polled people"), ("activities", "created activities"), ("minutes", "minutes"))
        for unit, meaning in limits:
            text = f"at most N {meaning}; the rest is left to the next run"
            parser.add_argument(f"--max-{unit}", type=whole_number(1, 10**9), default=0, metavar="N", help=text)

    def handle(self, *args: Any, **options: Any) -> None:
        trigger = get_trigger(options)
        is_round = trigger in ROUND_TRIGGERS and not options["dry_run"]
        stopping = threading.Event()
        with stop_on_signals(stopping) as begin, ping(settings.PING_URL if is_round else "", logs.TextFormatter()):
            try:
                self._handle(trigger, options, stopping, begin)
            except LeaseLostError as error:
                raise CommandError(f"{error}. Nothing was written since.", returncode=EX_FAILED) from None

    def _handle(
        self, trigger: str, options: dict[str, Any], stopping: threading.Event, begin: Callable[[], None]
    ) -> None:
        problem = find_setting_problem(needs_pipedrive=not options["dry_run"])
        if problem:
            if trigger in ROUND_TRIGGERS and not options["dry_run"]:
                self._record_refusal(trigger, problem)
            exit_with_config_error(problem)
        clock = retried(database_clock)()  # The first statement: the database may just be starting.
        logins = self._check_logins(options["person"])
        due = self._due(logins, options["requested"], clock())
        if not settings.GITHUB_TOKEN:
            log.warning("%s", retried(format_token_warning)(Person.objects.filter(due)))
        shared = {"concurrency": options["concurrency"], "stopping": stopping, "timing": self.timing}
        url, token, pace = settings.GITHUB_API_URL, settings.GITHUB_TOKEN, settings.GITHUB_REQUESTS_PER_MINUTE
        github = GitHubClient(url, token, requests_per_minute=pace, **shared)
        begin()
        if options["dry_run"]:
            self._dry_run(due, github, options)
            return
        stream = Stream(github, clock, is_on=not logins)
        if options["requested"] and not self._has_work(due, stream, clock()):
            self._end_without_work(github, clock, options["json"])
            return
        last = find_last_round()
        if not is_healthy(last, clock()):
            report_health(clock)  # Before this run hides that none has begun; if it is killed, it has no end.
        lease = Lease(clock, stopping)
        try:
            record = self._open(lease, trigger, logins, options, clock, stopping)
            if record is None:
                return
            pipedrive = PipedriveClient(settings.PIPEDRIVE_API_URL, settings.PIPEDRIVE_TOKEN, **shared)
            for api in (github.api, github.stream_api, pipedrive.api):
                api.may_send = lambda: not lease.is_over
            run_options = build_options(logins, options)
            context = RunContext(record.pk, run_options, github, pipedrive, clock, lease.writing, stopping)
            # What is old is deleted by the first run of a day.
            cleans_up = last is None or last.started_at.date() < record.started_at.date()
            self._run(record, context, lease, due, options, stream, cleans_up=cleans_up)
        finally:
            lease.release()

    def _open(
        self,
        lease: Lease,
        trigger: str,
        logins: tuple[str, ...],
        options: dict[str, Any],
        clock: Clock,
        stopping: threading.Event,
    ) -> SyncRun | None:
        """A run for all waits for a shorter one. Any other leaves what it was asked for to the one that goes on."""
        is_waiting = False
        while True:
            try:
                return open_run(lease, clock, trigger)
            except LeaseTakenError as taken:
                running = retried(SyncRun.objects.filter(pk=taken.lease.run_id or 0).first)()
                is_round = running is not None and running.trigger in ROUND_TRIGGERS
                if trigger not in ROUND_TRIGGERS or is_round:
                    self._leave(describe_running(taken, running), is_round, logins, options, clock)
                    return None
                if not is_waiting:
                    log.info("%s, so this run waits until it has ended.", describe_running(taken, running))
                is_waiting = True
            if stopping.wait(WAIT_SECONDS):
                sys.exit(EX_STOPPED)

    def _leave(
        self, running: str, is_round: bool, logins: tuple[str, ...], options: dict[str, Any], clock: Clock
    ) -> None:
        now = clock()
        if options["full"]:
            whole = has_login(logins) if logins else Q()
            retried(Person.objects.filter(whole).update)(full_read_at=None)
        if logins:
            retried(sync_soon)(Person.objects.filter(due_by_login(logins, now, now)))
            names = ", ".join(f"@{login}" for login in logins)
            taker = "It polls them now" if is_round else "The next run polls them first"
            line = f"{running}. {names}: marked as requested. {taker}."
        elif options["requested"]:
            taker = "It polls" if is_round else "The next run polls"
            line = f"{running}. {taker} new, requested and hinted people."
        else:
            line = f"{running}, and polls all people. Nothing to do."
        whole_lists = " The whole list of each person is read with the next poll." if options["full"] else ""
        self._print_nothing(line + whole_lists, options["json"])

    def _print_nothing(self, line: str, as_json: bool) -> None:
        if not as_json:
            self.stdout.write(line)
            return
        log.info("%s", line)
        nothing = SyncRun(outcome=Outcome.SUCCEEDED, counts=Summary().counts())
        nothing.groups = []
        self._print_json(nothing, 0, {"github": 0, "pipedrive": 0})

    @staticmethod
    def _record_refusal(trigger: str, problem: str) -> None:
        """Leave a row, so that whoever looks at the service sees why nothing happens."""
        try:
            clock = database_clock()
            record_refused_start(clock, trigger, problem)
            report_health(clock)
        except DatabaseError as error:
            log.warning("The run could not be recorded: %s", error)

    @staticmethod
    def _check_logins(given: list[str]) -> tuple[str, ...]:
        logins = []
        for name in given:
            person = retried(Person.objects.named(name).first)()
            if person is None:
                raise CommandError(f"--person {name}: this login is not tracked.", returncode=2)
            if person.state == Person.State.PAUSED:
                raise CommandError(f"--person {name}: is paused. PATCH its state to active first.", returncode=2)
            logins.append(person.github_username)
        return tuple(logins)

    @staticmethod
    def _due(logins: tuple[str, ...], is_for_requested: bool, now: datetime) -> Q:
        if logins:
            return due_by_login(logins, now, now)
        if is_for_requested:
            return requested(now)
        return due_for_poll(now, now)

    @staticmethod
    def _interrupted(now: datetime) -> Q:
        """People whose push a stopped run has left; see sync.run.records.find_interrupted."""
        run = find_interrupted()
        return due_for_push_since(run.started_at, now, edits=settings.PUSH_EDITS) if run else Q(pk__in=[])

    def _has_work(self, due: Q, stream: Stream, now: datetime) -> bool:
        """If no one waits, the stream is read, for hints."""
        return retried(Person.objects.filter(due | self._interrupted(now)).exists)() or stream.look()

    def _end_without_work(self, github: GitHubClient, clock: Clock, as_json: bool) -> None:
        """Usual every minute or two; such a run gets no row, and needs no lease."""
        self._print_nothing("No new, requested or hinted people.", as_json)
        if isinstance(github.stream_api.circuit.error, ConfigurationError):  # The stream proves nothing.
            with suppress(SyncError):
                github.check_service()
        store_refusal(github, clock)
        report_health(clock)
        error = github.api.circuit.error
        if isinstance(error, ConfigurationError):
            exit_with_config_error(str(error))

    def _dry_run(self, due: Q, github: GitHubClient, options: dict[str, Any]) -> None:
        lines: list[str] = []
        problems: list[str] = []
        new: dict[int, int] = {}
        for forecast in forecast_run(
            due, github, backfill=settings.BACKFILL, concurrency=options["concurrency"], full=options["full"]
        ):
            if forecast.person is None:
                problems.append(forecast.line)
                continue
            lines.append(forecast.line)
            new[forecast.person.pk] = forecast.new_activities
            if not options["json"]:
                self.stdout.write(forecast.line)
        people = due if options["person"] or options["requested"] else Q()
        costs = estimate_costs(new, people, settings.PIPEDRIVE_DAILY_ACTIVITIES)
        if options["json"]:
            cost = {name: cost.as_dict() for name, cost in costs.items()}
            self.stdout.write(json.dumps({"dry_run": True, "forecast": lines, "problems": problems, "cost": cost}))
        else:
            lines = [f"{name}: {cost}" for name, cost in costs.items()] + [str(costs["total"].linking)]
            self.stdout.write("\n".join(line for line in lines if line))
            if problems:
                self.stdout.write("Incomplete: not every person could be read, so a run may create more activities.")
        for problem in problems:
            log.warning("%s", problem)
        if isinstance(github.api.circuit.error, ConfigurationError):
            sys.exit(EX_CONFIG)
        if problems:
            sys.exit(EX_FAILED)

    def _run(
        self,
        record: SyncRun,
        context: RunContext,
        lease: Lease,
        due: Q,
        options: dict[str, Any],
        stream: Stream,
        *,
        cleans_up: bool,
    ) -> None:
        started = time.monotonic()
        logs.bind_global(run=record.pk)
        with progress_bar(Person.objects.filter(due), options["max_people"], context.summary) as progress:
            try:
                run = Run(record, context, progress, stream)
                run()
            except LeaseLostError:
                raise
            except BaseException as error:
                context.summary.problem(f"The run ended with {type(error).__name__}")
                close_run(record, context, lease, Outcome.FAILED, cleans_up=False)
                report_health(context.clock)
                raise
        was_stopped = context.stopping.is_set() and not run.is_time_over
        work_left = run.describe_work_left() if was_stopped else ""
        if work_left:
            context.summary.problem(f"Stopped by a signal with work left: {work_left}. The next run continues.")
        outcome = context.summary.outcome(context.circuit_errors, was_stopped=was_stopped)
        close_run(record, context, lease, outcome, cleans_up=cleans_up)
        report_health(context.clock)
        self._print_summary(record, context, time.monotonic() - started, options["json"])
        is_interrupted = work_left and record.outcome == Outcome.STOPPED
        if code := EX_STOPPED if is_interrupted else EXIT_CODES.get(Outcome(record.outcome), 0):
            sys.exit(code)

    def _print_summary(self, record: SyncRun, context: RunContext, seconds: float, as_json: bool) -> None:
        clients = context.github, context.pipedrive
        requests = {client.api.name.lower(): client.request_count for client in clients}
        record.groups = []
        if context.summary.has_problems:
            retried(load_groups)(record)
        if as_json:
            self._print_json(record, round(seconds, 3), requests)
            return
        requests_to_github = ngettext("%d request", "%d requests", requests["github"]) % requests["github"]
        self.stdout.write(
            f"Run {record.pk} {record.get_outcome_display().lower()} in {seconds:.1f} s: "
            f"{context.summary.format_counts() or 'no people were polled'}; "
            f"{requests_to_github} to GitHub, {requests['pipedrive']} to Pipedrive."
        )
        for line in cut_lines(list(map(str, record.groups))):
            self.stdout.write(f"  {line}")

    def _print_json(self, run: SyncRun, seconds: float, requests: dict[str, int]) -> None:
        content = {
            "run": run.pk,
            "outcome": run.outcome,
            "seconds": seconds,
            "counts": run.counts,
            "requests": requests,
            "problems": SyncRunSerializer(run).data["problems"],
        }
        self.stdout.write(json.dumps(content))


def describe_running(taken: LeaseTakenError, running: SyncRun | None) -> str:
    """ "Run 7 (schedule, since 2026-11-30 12:00 UTC, on worker-1) is going on" """
    if running is None:
        return "undo_run is going on"
    since = format_time(running.started_at)
    return f"Run {running.pk} ({running.trigger}, since {since}, on {running.host}) is going on"


def build_options(logins: tuple[str, ...], options: dict[str, Any]) -> Options:
    return Options(
        people=logins,
        requested_only=options["requested"],
        full=options["full"],
        max_people=options["max_people"],
        max_activities=options["max_activities"],
        max_activities_per_day=settings.PIPEDRIVE_DAILY_ACTIVITIES,
        max_seconds=options["max_minutes"] * 60,
        concurrency=options["concurrency"],
        backfill=settings.BACKFILL,
        activity_type=settings.PIPEDRIVE_ACTIVITY_TYPE,
        activity_done=settings.PIPEDRIVE_ACTIVITY_DONE,
        activity_owner=settings.PIPEDRIVE_ACTIVITY_OWNER,
        github_field=settings.PIPEDRIVE_GITHUB_FIELD,
        push_edits=settings.PUSH_EDITS,
    )


def get_trigger(options: dict[str, Any]) -> str:
    """What started the run, for its row. A run for some people is no round for all, whatever starts it."""
    given: str | None = options["trigger"]
    for option in ("person", "requested"):
        if options[option]:
            if given:
                message = f"--trigger is for runs for all people; a run with --{option} has the trigger {option}."
                raise CommandError(message, returncode=2)
            return option
    return given or "manual"
