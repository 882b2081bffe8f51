"""Each breakage raises the right alarm within two intervals, once, and resolves it; what is no breakage raises none."""

import itertools
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from people import tracking
from people.models import Person
from sync.models import ApiState
from tests.conftest import GITHUB_TOKEN, PIPEDRIVE_TOKEN, Sync, Worker, wait_until
from tests.factories import let_time_pass, track
from tests.standins import GitHubStandIn, PipedriveStandIn, WebhookStandIn, reset, respond, respond_after

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("judging")]
INTERVAL = timedelta(hours=3)
LOGINS = [f"person-{number}" for number in range(8)]
NOTHING: tuple[str, ...] = ()


@pytest.fixture
def receiver(settings: Settings) -> Iterator[WebhookStandIn]:
    with WebhookStandIn() as standin:
        settings.NOTIFY_URL = f"{standin.url}/services/T000/secret"
        yield standin


@dataclass
class Service:
    """A service with eight people, each with a gist that is in Pipedrive, and what it reports to NOTIFY_URL."""

    github: GitHubStandIn
    pipedrive: PipedriveStandIn
    settings: Settings
    sync: Sync
    worker: Worker
    receiver: WebhookStandIn
    arguments: list[str] = field(default_factory=list)
    runs: bool = True
    is_killed: bool = False
    linked_id: int | None = None
    requested: Iterator[str] = field(default_factory=lambda: iter(()))  # whose sync is requested before a frequent run

    def publish(self) -> None:
        for login in LOGINS:
            self.github.publish(login, "New")

    def pass_interval(self) -> None:
        """Three hours later, the scheduler starts a run; the frequent one runs in between."""
        let_time_pass(INTERVAL)
        self.github.new_hour()
        if self.is_killed:
            self._run_and_kill()
        elif self.runs:
            self.sync(*self.arguments)
        self._sync_requested()

    def pass_half_hour(self) -> None:
        """Only the frequent run runs."""
        let_time_pass(timedelta(minutes=31))
        self._sync_requested()

    def _sync_requested(self) -> None:
        Person.objects.filter(github_username=next(self.requested, "")).update(sync_requested_at=timezone.now())
        self.sync("--requested")

    def _run_and_kill(self) -> None:
        self.github.hold.clear()
        count = self.github.counts.total()
        process = self.worker("--concurrency", "1")
        wait_until(lambda: self.github.counts.total() > count)
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.github.hold.set()

    def repair(self) -> None:
        self.github.heal()
        self.github.announcements.clear()
        self.let_token_end_in(timedelta(days=90))
        self.pipedrive.heal()
        self.settings.PIPEDRIVE_TOKEN, self.settings.GITHUB_TOKEN = PIPEDRIVE_TOKEN, GITHUB_TOKEN
        Person.objects.filter(pipedrive_id=999_999).update(pipedrive_id=self.linked_id, next_push_at=None)
        self.arguments, self.runs, self.is_killed = [], True, False

    def let_token_end_in(self, time: timedelta) -> None:
        self.github.token_end = f"{timezone.now() + time:%Y-%m-%d %H:%M:%S} UTC"

    def take_notifications(self) -> list[tuple[str, str]]:
        """What was reported since the last call: status and code."""
        bodies = [request.json for request in self.receiver.requests]
        self.receiver.clear_requests()
        return [(body["status"], body["code"]) for body in bodies]


@pytest.fixture
def service(
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    configured: Settings,
    sync: Sync,
    worker: Worker,
    receiver: WebhookStandIn,
) -> Service:
    for login in LOGINS:
        track(github, login, gists=1)
    service = Service(github, pipedrive, configured, sync, worker, receiver)
    service.sync()
    assert service.take_notifications() == []
    return service


def refuse_github_token(service: Service) -> None:
    service.github.fail_always("", respond(401, '{"message": "Bad credentials"}'))


def refuse_pipedrive_token(service: Service) -> None:
    service.publish()
    service.pipedrive.fail_always("", respond(401, '{"success": false, "error": "unauthorized access"}'))


def use_up_github_limit(service: Service) -> None:
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "4000000000"}
    service.github.fail_always("", respond(403, '{"message": "API rate limit exceeded"}', headers))


def break_github(service: Service) -> None:
    service.github.fail_always("", respond(502, "<html>"))


def disconnect_github(service: Service) -> None:
    service.github.fail_always("", reset())


def hide_all_accounts(service: Service) -> None:
    service.github.fail_always("", respond(404, '{"message": "Not Found"}'))


def break_pipedrive(service: Service) -> None:
    service.publish()
    service.pipedrive.fail_always("", respond(503, "<html>"))


def reject_all_gists(service: Service) -> None:
    service.publish()
    body = '{"success": false, "error": "deal_id is required"}'
    service.pipedrive.fail("create_activity", respond(400, body), times=1000)


def reject_all_gists_beside_a_requested_person(service: Service) -> None:
    """The frequent run polls and pushes one person: too few to see that the refusal is about us."""
    service.requested = itertools.cycle(LOGINS)
    reject_all_gists(service)


def break_github_beside_a_requested_person(service: Service) -> None:
    service.requested = itertools.cycle(LOGINS)
    disconnect_github(service)


def refuse_only_new_activities(service: Service) -> None:
    """A few people have new gists, and Pipedrive responds to everything else."""
    for login in LOGINS[:4]:
        service.github.publish(login, "New")
    service.pipedrive.fail("create_activity", respond(503, "<html>"), times=1000)


def break_one_person(service: Service) -> None:
    service.github.fail_always(LOGINS[0], respond(500, "<html>"))


def break_one_link(service: Service) -> None:
    person = Person.objects.get(github_username=LOGINS[0])
    service.linked_id = person.pipedrive_id
    tracking.relink(person, 999_999)
    person.save()
    service.github.publish(LOGINS[0], "New")


def never_start_the_scheduler(service: Service) -> None:
    service.runs = False


def kill_each_run(service: Service) -> None:
    service.is_killed = True


def remove_pipedrive_token(service: Service) -> None:
    service.settings.PIPEDRIVE_TOKEN = ""


def stop_each_run_early(service: Service) -> None:
    service.arguments = ["--max-people", "1"]


def lose_github_token(service: Service) -> None:
    """Without a token, 200 people cannot be polled in time."""
    others = [f"other-{number}" for number in range(200)]
    for login in others:
        service.github.add_account(login)
    now = timezone.now()
    columns = {"state": Person.State.ACTIVE, "polled_at": now, "attempted_at": now, "full_read_at": now}
    accounts = {account.login: account.id for account in service.github.accounts.values()}
    Person.objects.bulk_create(
        Person(github_username=login, username_key=login, github_id=accounts[login], **columns) for login in others
    )
    service.settings.GITHUB_TOKEN = ""


def restart_the_database(service: Service) -> None:
    """All connections are lost in the middle of the next run. (SQLite has none.)"""

    def kill_connections() -> None:
        if connection.vendor != "mysql":
            return
        with connection.cursor() as cursor:
            cursor.execute("SELECT CONNECTION_ID()")
            (own,) = cursor.fetchone()
            cursor.execute("SHOW PROCESSLIST")
            database = str(connection.settings_dict["NAME"])
            others = [row[0] for row in cursor.fetchall() if row[0] != own and row[3] == database]
            for key in others:
                cursor.execute(f"KILL {key}")
        connection.close()

    service.github.fail("gists", respond_after(kill_connections))


def announce_the_end_of_the_version(service: Service) -> None:
    service.github.announcements["sunset"] = "Wed, 10 Mar 2027 00:00:00 GMT"


def let_the_github_token_end_soon(service: Service) -> None:
    service.let_token_end_in(timedelta(days=13))


def delete_one_account(service: Service) -> None:
    service.github.delete_account(LOGINS[0])


def fail_once(service: Service) -> None:
    service.github.fail("gists", respond(502, "<html>"), times=3)


def miss_one_run(service: Service) -> None:
    let_time_pass(INTERVAL)


def limit_the_day(service: Service) -> None:
    service.publish()
    service.settings.PIPEDRIVE_DAILY_ACTIVITIES = 1
    # The test may run around midnight.
    tomorrow = {"activity_day": timezone.now().date() + timedelta(days=1), "activity_count": 1}
    ApiState.objects.update_or_create(api="Pipedrive", defaults=tomorrow)


def change_nothing(service: Service) -> None:
    pass


BREAKAGES: list[tuple[Callable[[Service], None], tuple[str, ...]]] = [
    (refuse_github_token, ("github_refused",)),
    (refuse_pipedrive_token, ("pipedrive_refused",)),
    (use_up_github_limit, ("polls_stale",)),
    (break_github, ("polls_stale",)),
    (disconnect_github, ("polls_stale",)),
    (hide_all_accounts, ("polls_stale",)),
    (break_pipedrive, ("backlog_stale",)),
    (reject_all_gists, ("pipedrive_refused",)),
    (reject_all_gists_beside_a_requested_person, ("pipedrive_refused",)),
    (break_github_beside_a_requested_person, ("polls_stale",)),
    (refuse_only_new_activities, ("backlog_stale",)),
    (break_one_person, ("people_failing",)),
    (break_one_link, ("gists_failing",)),
    (never_start_the_scheduler, ("not_running",)),
    (kill_each_run, ("runs_crash",)),
    (remove_pipedrive_token, ("cannot_start",)),
    (stop_each_run_early, ("polls_stale",)),
    (announce_the_end_of_the_version, ("api_sunset",)),
    (lose_github_token, ("no_github_token",)),
    (let_the_github_token_end_soon, ("github_token_expires",)),
    (delete_one_account, NOTHING),
    (restart_the_database, NOTHING),
    (fail_once, NOTHING),
    (miss_one_run, NOTHING),
    (limit_the_day, NOTHING),
    (change_nothing, NOTHING),
]


@pytest.mark.slow("runs for a day, every three hours, with eight people")
@pytest.mark.parametrize(("break_it", "codes"), BREAKAGES, ids=lambda value: getattr(value, "__name__", None))
def test_a_breakage_raises_its_alarm_once_and_its_repair_resolves_it(
    break_it: Callable[[Service], None], codes: tuple[str, ...], service: Service
) -> None:
    break_it(service)
    for _ in range(3):  # The first run after the breakage, and two intervals.
        service.pass_interval()
    service.pass_half_hour()
    raised = service.take_notifications()
    service.pass_interval()
    lasting = service.take_notifications()

    service.repair()
    for _ in range(3):
        service.pass_interval()

    assert raised == [("raised", code) for code in codes]
    assert lasting == []
    assert service.take_notifications() == [("resolved", code) for code in codes]


def test_a_token_that_ends_is_a_ticket_then_a_page_then_refused_and_a_new_one_resolves_all(service: Service) -> None:
    heard = []

    def sync() -> None:
        service.sync()
        bodies = [request.json for request in service.receiver.requests]
        service.receiver.clear_requests()
        heard.append([(body["status"], body["code"], body["severity"]) for body in bodies])

    for days in (15, 13, 1):
        service.let_token_end_in(timedelta(days=days))
        sync()
        sync()
    refuse_github_token(service)
    sync()
    service.repair()
    sync()

    token, refused = "github_token_expires", "github_refused"
    ticket, page, refusal = ("raised", token, "ticket"), ("raised", token, "page"), ("raised", refused, "page")
    over = [("resolved", token, "page"), ("resolved", refused, "page")]
    assert heard == [[], [], [ticket], [], [page], [], [refusal], over]
