"""Is the service healthy? One judgement for sync_status, the API, the metrics, the admin, alerts and notifications.

Health is freshness: each tracked person was polled, and each gist has its activity, within two intervals of the
schedule (people.models.freshness). What a run thinks of itself does not matter: a run that did nothing, was limited or
was stopped makes nothing fresher. Each problem has one cause, so that one breakage raises one alarm.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, Exists, Min, OuterRef, Q, QuerySet
from django.utils.translation import ngettext

from people.models import ApiKey, Gist, Person
from people.models.freshness import MAX_CLOCK_ERROR, RUN_TIME, is_stale, max_age, set_up_at
from sync.clients.github import ANONYMOUS_REQUESTS_PER_HOUR
from sync.few import FEW, is_few
from sync.health.discovery import PERIOD, load_stream_status
from sync.health.groups import group_gone, group_polls, group_pushes, load_groups
from sync.health.problems import EXPLAINS, Code, Health, HealthProblem, Severity
from sync.models import ROUND_TRIGGERS, ApiState, Hint, PushAttempt, SyncRun
from sync.poll.poll import FULL_READ_EVERY
from sync.reasons import MAX_LINES, format_duration, format_time
from sync.stream import requests_for_polls_without_token

Outcome = SyncRun.Outcome
MAX_SINGLE = 100  # Trouble of more people is not that of single people, whatever part of all they are.
JUMP_PART = 0.05  # More in one day, unless they are five or less, are a jump.
MAX_CRASHES = 2  # runs in a row
MAX_ROUNDS = 50  # that are read: more manual runs in a row that could not begin hide the schedule's
SILENT_FOR = timedelta(minutes=10)  # A run without a heartbeat for so long has died.
STREAM_PATIENCE = timedelta(hours=1)  # Polls find what the stream does not show.
MIN_COVERAGE = 0.99
DAY, LONG = timedelta(days=1), timedelta(days=30)
TOKEN_TICKET, TOKEN_PAGE = 14 * DAY, 2 * DAY  # before the end of GITHUB_TOKEN
KEY_TICKET = 7 * DAY  # before the end of an API key, and after it


def judge(now: datetime, age: timedelta | None = None) -> Health:
    """Judge the health at `now` (the database's time). `age`: the greatest age that is healthy, if not the usual."""
    found = {problem.code: problem for problem in _Judgement(now, age or max_age()).find_problems()}
    explained = set().union(*(EXPLAINS.get(code, set()) for code in found))
    problems = [problem for code, problem in found.items() if code not in explained]
    problems.sort(key=lambda problem: problem.severity != Severity.PAGE)
    return Health(tuple(problems), frozenset(explained))


class _Judgement:
    """One judgement. Its number of statements is fixed; those that count use indexes."""

    def __init__(self, now: datetime, age: timedelta) -> None:
        self.now, self.age = now, age
        self.tracked = Person.objects.filter(state__in=[Person.State.NEW, Person.State.ACTIVE])
        tracked = self.tracked.aggregate(count=Count("pk"), first=Min("created_at"))
        self.count: int = tracked["count"]
        self.first_added_at: datetime | None = tracked["first"]
        states = {state.api: state for state in ApiState.objects.all()}
        self.github = states.get("GitHub") or ApiState(api="GitHub")
        self.stream = load_stream_status(now, with_details=False)
        self.pipedrive = states.get("Pipedrive") or ApiState(api="Pipedrive")

    def find_problems(self) -> Iterator[HealthProblem]:
        yield from self._check_runs()
        yield from self._check_settings()
        yield from self._check_ends()
        yield from self._check_polls()
        yield from self._check_backlog()
        yield from self._check_jumps()
        yield from self._check_stream()

    def is_old(self, moment: datetime | None) -> bool:
        """Is it longer ago than is healthy? A time in the future is wrong, and counts as old."""
        return moment is not None and not self.now - self.age <= moment <= self.now + MAX_CLOCK_ERROR

    # --- the runs ---
    def _check_runs(self) -> Iterator[HealthProblem]:
        rounds = list(SyncRun.objects.filter(trigger__in=ROUND_TRIGGERS).order_by("-id")[:MAX_ROUNDS])
        alive = next((run for run in reversed(rounds) if self._is_alive(run)), None)  # the oldest of them
        over = [run for run in rounds if not self._is_alive(run)]
        ended = [run for run in over if not (_could_not_begin(run) and run.trigger == "manual")][:MAX_CRASHES]
        last = self._choose_last(ended[0] if ended else None, over[0] if over else None)
        if self._is_not_running(last, alive):
            yield self._describe_not_running(last, alive)
        elif last and _could_not_begin(last):
            action = "Fix the setting; the next run continues, nothing is lost."
            load_groups(last)
            reason = last.groups[0].reason if last.groups else "the log has the reason."
            yield HealthProblem(Code.CANNOT_START, f"The last run could not begin: {reason}", action, last.started_at)
        if len(ended) == MAX_CRASHES and all(run.outcome in (Outcome.CRASHED, Outcome.RUNNING) for run in ended):
            yield HealthProblem(
                Code.RUNS_CRASH,
                f"The last {MAX_CRASHES} runs of sync_gists died without an end, the last one on {ended[0].host}.",
                "Check the log, and that the host or pod has enough memory and time (OOMKilled, DeadlineExceeded).",
                ended[-1].started_at,
            )

    def _is_alive(self, run: SyncRun) -> bool:
        return run.outcome == Outcome.RUNNING and run.heartbeat_at >= self.now - SILENT_FOR

    def _is_not_running(self, last: SyncRun | None, alive: SyncRun | None) -> bool:
        """Has no run begun for too long? A run that goes on ends this only with its own end, or when it is old, too.

        A service without people, too, must have had its first run.
        """
        if last is None and alive is None:
            self.first_added_at = self.first_added_at or set_up_at()
            if set_up_at() < self.now - settings.SYNC_INTERVAL - RUN_TIME:
                return True
        if not self.is_old(self.first_added_at) or (last and not self.is_old(last.started_at)):
            return False
        if alive is None:
            return True
        before = last.started_at if last else self.first_added_at
        return before is not None and alive.started_at - before > self.age and not self.is_old(alive.started_at)

    def _describe_not_running(self, last: SyncRun | None, alive: SyncRun | None) -> HealthProblem:
        begun = f"has begun since {format_time(last.started_at)}" if last else "has ever begun"
        if last and last.started_at > self.now:
            begun = f"has begun, but one in the future, at {format_time(last.started_at)}: a clock is wrong"
        now = f" Run {alive.pk} is going on." if alive else ""
        return HealthProblem(
            Code.NOT_RUNNING,
            f"No run of sync_gists for all people {begun}.{now}",
            "Check the scheduler (CronJob, compose's worker, cron) and its log."
            + ("" if last else " To start a run now: manage.py sync_gists"),
            last.started_at if last else self.first_added_at,
        )

    def _choose_last(self, counted: SyncRun | None, newest: SyncRun | None) -> SyncRun | None:
        """Return the run that shows whether runs can begin: `counted`, or `newest` if people wait, too.

        They differ if the newest one is a manual run that could not begin. A user may have started it in the wrong
        place, so it shows nothing about the schedule, and does not end what the schedule's run has shown.
        """
        if newest == counted or (counted and _could_not_begin(counted)):
            return counted
        return newest if self.tracked.filter(is_stale(self.now, self.age)).exists() else counted

    # --- tokens, settings and versions ---
    def _check_settings(self) -> Iterator[HealthProblem]:
        action = "Fix the setting that the message names; the next run continues, nothing is lost."
        states = [(self.github, Code.GITHUB_REFUSED), (self.pipedrive, Code.PIPEDRIVE_REFUSED)]
        for state, code in states:
            if state.problem != ApiState.Problem.REFUSED:
                continue
            # A run without gists to push does not call Pipedrive, so it does not notice that the setting is right.
            if state is self.github or Gist.objects.unfinished().exists():
                yield HealthProblem(
                    code, f"{state.api} refused a token or a setting: {state.message}", action, state.problem_since
                )
        if self.github.notice:
            yield HealthProblem(Code.API_SUNSET, self.github.notice, "See the changelog of gisttracker.")
        if not self.github.has_token and not self._stream_works() and self.count > self._possible_without_token():
            pass_time = self._pass_without_token()
            pace = f"each about every {format_duration(pass_time)}" if pass_time < LONG else "not all of them"
            yield HealthProblem(
                Code.NO_GITHUB_TOKEN,
                f"GITHUB_TOKEN is not set: GitHub allows {ANONYMOUS_REQUESTS_PER_HOUR} requests an hour, which is all "
                f"that a run can use: enough to poll {self._possible_without_token()} people in time. {self.count} are "
                f"tracked, so {pace} can be polled.",
                "Set GITHUB_TOKEN, or track fewer people.",
            )

    def _requests_without_token(self) -> float:
        """Requests to GitHub in a day: those of one hour for each run, which does not wait for the next hour."""
        return requests_for_polls_without_token() * min(DAY / settings.SYNC_INTERVAL, 24)

    def _possible_without_token(self) -> int:
        """How many people can be polled in time: each poll is a request, and a full read is one more."""
        return int(self._requests_without_token() / (DAY / (2 * settings.SYNC_INTERVAL) + DAY / FULL_READ_EVERY))

    def _pass_without_token(self) -> timedelta:
        """How long it takes at least to poll each tracked person once. LONG if they are too many for that."""
        polls = self._requests_without_token() - self.count * (DAY / FULL_READ_EVERY)  # in a day
        return min(DAY * self.count / polls, LONG) if polls > 0 else LONG

    def _stream_works(self) -> bool:
        """Does the stream show what is new, so that only hinted people must be polled?"""
        read_at = self.stream.read_at
        return self.stream.is_on and read_at is not None and not self.is_old(read_at)

    # --- ends that are known before they come ---
    def _check_ends(self) -> Iterator[HealthProblem]:
        end = self.github.token_expires_at
        if end and end < self.now + TOKEN_TICKET:
            yield HealthProblem(
                Code.GITHUB_TOKEN_EXPIRES,
                f"GITHUB_TOKEN is valid until {format_time(end)}. Afterwards no one is polled.",
                "Create a new token at GitHub, and set GITHUB_TOKEN to it; the next run that polls notices.",
                is_urgent=end < self.now + TOKEN_PAGE,
            )
        keys = ApiKey.objects.near_end(KEY_TICKET).without_successor()
        ends = [f"{key.consumer} ({key.prefix}) until {format_time(key.expiry_date)}" for key in keys]
        if ends:
            more = [f"and {len(ends) - MAX_LINES} more"] if len(ends) > MAX_LINES else []
            yield HealthProblem(
                Code.API_KEYS_EXPIRE,
                f"API keys end, and no other key replaces them: {', '.join([*ends[:MAX_LINES], *more])}.",
                "Give each of these consumers a key that ends later: manage.py rotate_api_key NAME --expires DATE; or "
                "revoke the key.",
            )

    # --- polls ---
    def _find_stale(self) -> tuple[QuerySet[Person], timedelta]:
        """Who was not polled for too long, and how long that is.

        Without a token it is what is possible then. While the stream works, these are new people, who take two requests
        each, and people who were not polled although the stream has hinted at them.
        """
        if self.github.has_token:
            return self.tracked.filter(is_stale(self.now, self.age)), self.age
        if not self._stream_works():
            age = max(self.age, 2 * self._pass_without_token())
            return self.tracked.filter(is_stale(self.now, age)), age
        new = self.tracked.filter(polled_at=None)
        age = max(self.age, min(DAY * 4 * new.count() / self._requests_without_token(), LONG))
        # Each further hint requests the sync anew, so the first one counts.
        hints = Hint.objects.filter(person=OuterRef("pk"), hinted_at__gt=OuterRef("polled_at"))
        hinted = Exists(hints.filter(hinted_at__lt=self.now - self.age))
        is_waiting = Q(hinted) | Q(sync_requested_at__lt=self.now - self.age, polled_at__isnull=False)
        return self.tracked.filter((is_stale(self.now, age) & Q(polled_at=None)) | is_waiting), age

    def _check_polls(self) -> Iterator[HealthProblem]:
        stale, age = self._find_stale()
        count = stale.count()
        if not count:
            return
        groups = tuple(group_polls(stale))
        since = stale.aggregate(oldest=Min("polled_at"))["oldest"] or groups[0].first
        people = ngettext("%d person was", "%d people were", count) % count
        is_failing = not stale.filter(failures=0).exists()
        if is_failing and self._is_single(count) and count < self.count:
            summary = f"{people} not polled for {format_duration(age)}, while others were."
            yield HealthProblem(Code.PEOPLE_FAILING, summary, "Fix what the reasons name.", since, groups)
        else:
            summary = f"{people} not polled for {format_duration(age)}. {self._explain(self.github)}".strip()
            action = "See the reasons and the log of the last runs." if groups else ""
            yield HealthProblem(Code.POLLS_STALE, summary, action, since, groups)

    # --- gists without an activity ---
    def _check_backlog(self) -> Iterator[HealthProblem]:
        waiting = Gist.objects.unfinished().filter(pending_since__lt=self.now - self.age)
        if self.pipedrive.problem == ApiState.Problem.CAPPED:  # What fails for another reason is no matter of the cap.
            waiting = waiting.exclude(push_error="", person__push_failures=0)
        count = waiting.count()
        if not count:
            return
        groups = tuple(group_pushes(waiting))
        since = waiting.aggregate(oldest=Min("pending_since"))["oldest"]
        gists = ngettext("%d gist has", "%d gists have", count) % count
        summary = f"{gists} waited for an activity for more than {format_duration(self.age)}."
        if self._is_trouble_of_single_people(waiting):
            yield HealthProblem(Code.GISTS_FAILING, summary, "Fix what the reasons name.", since, groups)
        else:
            action = "See the reasons and the log of the last runs."
            summary = f"{summary} {self._explain(self.pipedrive)}".strip()
            yield HealthProblem(Code.BACKLOG_STALE, summary, action, since, groups)

    def _is_trouble_of_single_people(self, waiting: QuerySet[Gist]) -> bool:
        """Do these gists wait for reasons of a few people? What fails for the gists themselves may fail for all."""
        if self.pipedrive.problem in (ApiState.Problem.OUTAGE, ApiState.Problem.RATE_LIMITED):
            return False
        people = waiting.order_by().values("person").distinct()[: MAX_SINGLE + 1].count()
        if not self._is_single(people) or waiting.filter(push_error="", person__push_error="").exists():
            return False
        succeeded = PushAttempt.objects.filter(
            kind=PushAttempt.Kind.CREATE,
            outcome=PushAttempt.Outcome.SUCCEEDED,
            attempted_at__gte=self.now - self.age,
        )
        return not waiting.exclude(push_error="").exists() or succeeded.exists()

    # --- jumps ---
    def _check_jumps(self) -> Iterator[HealthProblem]:
        yesterday = self.now - DAY
        attempts = PushAttempt.objects.filter(attempted_at__gte=yesterday).order_by()
        failed = attempts.filter(outcome__in=[PushAttempt.Outcome.REFUSED, PushAttempt.Outcome.UNKNOWN])
        rejected = Gist.objects.filter(push_state=Gist.PushState.REJECTED, pk__in=failed.values("gist"))
        count = rejected.count()
        pushed = attempts.filter(outcome=PushAttempt.Outcome.SUCCEEDED).count() if count > FEW else 0
        if not is_few(count, count + pushed, part=JUMP_PART):
            gists = ngettext("%d gist was", "%d gists were", count) % count
            groups = tuple(group_pushes(rejected))
            since = rejected.aggregate(first=Min("updated_at"))["first"]
            action = 'Fix the reason in Pipedrive, then choose "Push rejected gists again" in the admin.'
            yield HealthProblem(
                Code.REJECTED_JUMP, f"Pipedrive rejected gists: {gists} rejected in 24 hours.", action, since, groups
            )
        gone = Person.objects.filter(state=Person.State.GONE, state_changed_at__gte=yesterday)
        count = gone.count()
        if not is_few(count, count + self.count, part=JUMP_PART):
            groups = tuple(group_gone(gone))
            since = gone.aggregate(first=Min("state_changed_at"))["first"]
            action = "Compare some of the accounts with GitHub; check GITHUB_API_URL. They are checked again daily."
            summary = f"The accounts of {count} people are gone from GitHub since yesterday."
            yield HealthProblem(Code.GONE_JUMP, summary, action, since, groups)

    # --- the stream ---
    def _check_stream(self) -> Iterator[HealthProblem]:
        stream, coverage = self.stream, self.stream.coverage
        late = f"New gists are found by polls, within {format_duration(settings.SYNC_INTERVAL)}."
        if stream.is_on and stream.problem_since and stream.problem_since < self.now - STREAM_PATIENCE:
            action = "See GitHub's status page; manage.py doctor shows what the stream returns."
            yield HealthProblem(
                Code.STREAM_DEGRADED,
                f"GitHub's stream of public gists cannot be relied on: {stream.problem} {late}",
                action,
                stream.problem_since,
            )
        elif stream.is_on and self.is_old(stream.read_at) and not stream.problem:
            yield HealthProblem(
                Code.STREAM_DEGRADED,
                f"GitHub's stream of public gists was not read, or what it has shown could not be stored. {late}",
                "See the log of the last runs.",
                stream.read_at,
            )
        elif stream.is_on and coverage is not None and coverage < MIN_COVERAGE:
            missed = Gist.objects.filter(discovery=Gist.Discovery.MISSED, created_at__gte=self.now - PERIOD)
            gists = ngettext("%d gist", "%d gists", stream.missed) % stream.missed
            yield HealthProblem(
                Code.STREAM_DEGRADED,
                f"GitHub's stream of public gists has missed {gists} of {stream.hinted + stream.missed} in seven days "
                f"({coverage:.1%} were shown). {late}",
                'Polls have found them: filter the list of gists by "missed". Keep SYNC_INTERVAL_MINUTES low.',
                missed.aggregate(first=Min("created_at"))["first"],
            )

    def _is_single(self, people: int) -> bool:
        return people <= MAX_SINGLE and is_few(people, self.count)

    def _explain(self, state: ApiState) -> str:
        """Why the last run that called this API did not do all of its work."""
        if state.problem == ApiState.Problem.RATE_LIMITED:
            return f"The limit of {state.api} is used up: {state.message}."
        return f"{state.message}." if state.problem else ""


def _could_not_begin(run: SyncRun) -> bool:
    return run.outcome == Outcome.MISCONFIGURED and not run.limits
