"""The stream of all public gists: a hint that may lie, lag, repeat or stop, and costs latency at most."""

import itertools
import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import IntegrityError, OperationalError, connection
from django.db.models import F, Model
from django.utils import timezone
from pytest_django import Settings

from people.models import Gist, Person, Suppressed
from sync.clients.github import STREAM_READ_SECONDS, GitHubClient, Owner, StreamEntry, stream_url
from sync.clients.rate_limit import Pause
from sync.context import RunContext
from sync.management.commands import sync_gists
from sync.models import ApiState, Hint, StreamGap, StreamState, SyncRun
from sync.run.lease import Lease
from sync.run.preconditions import format_token_warning
from sync.run.run import Run
from sync.steps import Outcome, ask
from sync.stream import (
    CROWDED,
    FULL,
    IN_FUTURE,
    MAX_PAGES,
    MAX_PAGES_WITHOUT_TOKEN,
    MISSING,
    REPEATED,
    SILENT,
    SLOW,
    UNREADABLE_ENTRIES,
    Reading,
    Stream,
    move_on,
    read_stream,
    set_discovery,
)
from tests.conftest import GITHUB_TOKEN, DuringRequest, Sync, Worker, wait_until
from tests.factories import create_person, let_time_pass, publish_now, track, track_people
from tests.faults import FAULTS, GITHUB_LIES
from tests.standins import Fault, GitHubStandIn, PipedriveStandIn, respond
from tests.standins.wire import Line, RecordedRequest, Response

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def stream(sync: Sync, settings: Settings) -> Sync:
    """As `sync`, with the stream."""
    settings.GITHUB_STREAM = True
    return sync


def let_a_minute_pass() -> None:
    """For the stream only: everything else stays as new as it is."""
    StreamState.objects.update(attempted_at=F("attempted_at") - MINUTE)


def readings(github: GitHubStandIn) -> list[RecordedRequest]:
    return [request for request in github.requests if request.operation == "stream"]


def polls(github: GitHubStandIn) -> list[str]:
    return [request.path for request in github.requests if request.operation == "gists"]


# --- a hint ---
@pytest.mark.slow("2,000 people")
def test_a_gist_published_now_is_in_pipedrive_after_the_next_frequent_run(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, stream: Sync
) -> None:
    others = range(2000)
    stream()
    let_time_pass(5 * MINUTE)
    now = timezone.now()
    active = {"state": "active", "attempted_at": now, "polled_at": now, "full_read_at": now}
    Person.objects.bulk_create(
        Person(github_username=f"p{n}", username_key=f"p{n}", github_id=9000 + n, **active) for n in others
    )
    gist = publish_now(github, "ada")
    let_a_minute_pass()
    github.clear_requests()

    run = stream("--requested")

    assert pipedrive.gist_ids() == [gist]
    assert (run.code, run.counts["people_hinted"], run.counts["people_polled"]) == (0, 1, 1)
    assert [request.operation for request in github.requests] == ["stream", "gists"]
    assert Gist.objects.get().discovery == "stream"


def test_a_frequent_run_without_hints_reads_the_stream_and_leaves_no_row(
    ada: Person, github: GitHubStandIn, stream: Sync
) -> None:
    stream()
    let_a_minute_pass()
    github.clear_requests()

    run = stream("--requested", as_json=False)

    assert run.output == "No new, requested or hinted people.\n"
    assert [request.operation for request in github.requests] == ["stream"]
    assert SyncRun.objects.count() == 1


def test_a_run_for_some_people_reads_no_stream(ada: Person, github: GitHubStandIn, stream: Sync) -> None:
    stream("--person", "ada")
    stream("--dry-run")

    assert readings(github) == []


def test_without_the_setting_no_stream_is_read(
    ada: Person, github: GitHubStandIn, settings: Settings, stream: Sync
) -> None:
    settings.GITHUB_STREAM = False

    stream()
    stream("--requested")

    assert readings(github) == []
    assert not StreamState.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_run_reads_the_stream_while_it_works(
    ada: Person,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    stream: Sync,
    during_request: DuringRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ada publishes after her poll, while the run is waiting for Ben's."""
    stream()
    track(github, "ben")
    monkeypatch.setattr("sync.stream.READ_EVERY", timedelta(0))
    github.clear_requests()

    def publish() -> None:
        wait_until(lambda: polls(github) == ["/users/ada/gists"])
        count = len(readings(github))
        publish_now(github, "ada")
        wait_until(lambda: len(readings(github)) > count + 1)

    during_request(github, "account", publish)
    run = stream()

    assert (run.counts["people_hinted"], run.counts["gists_pushed"]) == (1, 1)


@pytest.mark.both
@pytest.mark.slow("starts two processes")
@pytest.mark.django_db(transaction=True)
def test_a_frequent_run_beside_a_full_run_disturbs_nothing(
    ada: Person,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    stream: Sync,
    worker: Worker,
    during_request: DuringRequest,
    settings: Settings,
) -> None:
    """One that hears of nothing stores what it has read; one that hears of Ada leaves her to the run that goes on."""
    track(github, "ben")
    stream()
    outputs, lease = [], str(settings.LEASE_SECONDS)

    def run_beside() -> None:
        for publishes in (False, True):
            if publishes:
                publish_now(github, "ada")
            let_a_minute_pass()
            outputs.append("".join(worker("--requested", TEST_LEASE_SECONDS=lease).communicate(timeout=60)))

    during_request(github, "gists", run_beside, nth=2)
    full = stream()
    let_a_minute_pass()
    frequent = stream("--requested")

    assert "No new, requested or hinted people" in outputs[0]
    assert "is going on" in outputs[1]
    assert (full.code, full.counts["people_hinted"], frequent.counts["people_hinted"]) == (0, 0, 1)
    assert (len(pipedrive.gist_ids()), Hint.objects.count()) == (1, 1)


def test_a_run_that_has_no_other_work_ends_however_often_the_stream_is_due(
    ada: Person, github: GitHubStandIn, stream: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream()
    monkeypatch.setattr("sync.stream.READ_EVERY", timedelta(0))
    monkeypatch.setattr("sync.run.run.TICK_SECONDS", 0.0)
    github.clear_requests()
    github.fail("stream", respond(404, "{}"), nth=200)  # the end of a test that fails

    stream()

    assert len(readings(github)) < 200


@pytest.mark.django_db(transaction=True)
def test_who_is_hinted_at_when_all_other_work_is_done_is_polled_in_the_same_run(
    ada: Person, github: GitHubStandIn, stream: Sync, during_request: DuringRequest
) -> None:
    """Ben is in backoff, so he is not due."""
    stream()
    ben = track(github, "ben", github_id=1002, state="active", next_attempt_at=timezone.now() + timedelta(days=1))
    publish_now(github, "ben")
    let_a_minute_pass()
    before = Person.objects.get(pk=ada.pk).attempted_at
    during_request(github, "stream", lambda: wait_until(lambda: Person.objects.get(pk=ada.pk).attempted_at != before))

    run = stream()

    assert (run.counts["people_hinted"], run.counts["people_polled"]) == (1, 2)
    assert ben.gists.count() == 1


def test_when_its_lease_is_over_a_run_sends_nothing_also_not_for_the_stream(
    ada: Person, stream: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_send: list[bool] = []

    def look(record: SyncRun, context: RunContext, *rest: Any) -> Run:
        apis = (context.github.api, context.github.stream_api, context.pipedrive.api)
        for is_over in (False, True):
            with monkeypatch.context() as patch:
                patch.setattr(Lease, "is_over", is_over)
                may_send.extend(api.may_send() for api in apis)
        return Run(record, context, *rest)

    monkeypatch.setattr(sync_gists, "Run", look)
    stream()

    assert may_send == [True] * 3 + [False] * 3


def test_the_same_entry_hints_once_also_if_the_poll_cannot_store_it(
    ada: Person, github: GitHubStandIn, stream: Sync
) -> None:
    stream()
    publish_now(github, "ada")
    github.fail("gists", respond(404, "{}"), times=99)
    counts = []
    for _ in range(3):
        let_a_minute_pass()
        run = stream("--requested")
        counts.append(run.counts["people_hinted"])

    assert counts == [1, 0, 0]
    github.heal()
    Person.objects.update(next_attempt_at=None)
    assert stream().counts["gists_pushed"] == 1


def test_what_a_poll_has_stored_already_is_no_hint(ada: Person, github: GitHubStandIn, stream: Sync) -> None:
    publish_now(github, "ada")
    stream("--person", "ada")

    stream("--requested")

    assert len(readings(github)) == 1
    assert (Gist.objects.count(), Hint.objects.count(), SyncRun.objects.count()) == (1, 0, 1)


def test_beside_an_entry_that_was_used_a_new_one_hints(ada: Person, github: GitHubStandIn, stream: Sync) -> None:
    stream()
    publish_now(github, "ada")
    let_a_minute_pass()
    stream("--requested")
    Gist.objects.all().delete()
    track(github, "ben", github_id=1002, state="active", polled_at=timezone.now(), attempted_at=timezone.now())
    publish_now(github, "ben")
    let_a_minute_pass()

    run = stream("--requested")

    assert (run.counts["people_hinted"], Hint.objects.count()) == (1, 2)


def test_an_edit_hints_again(ada: Person, github: GitHubStandIn, stream: Sync) -> None:
    stream()
    gist = publish_now(github, "ada")
    let_a_minute_pass()
    stream("--requested")
    github.edit("ada", gist, description="Edited", updated_at=f"{timezone.now() + MINUTE / 2:%Y-%m-%dT%H:%M:%SZ}")
    let_a_minute_pass()

    run = stream("--requested")

    assert (run.counts["people_hinted"], run.counts["gists_edited"]) == (1, 1)


def test_a_crowd_leaves_requests_for_others_and_nobody_is_forgotten(
    ada: Person, github: GitHubStandIn, stream: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync.stream.MAX_HINTED", 2)
    logins = ["ada", *[person.github_username for person in track_people(github, 4)]]
    stream()
    for number, login in enumerate(logins):
        publish_now(github, login, ago=20 * MINUTE * (number == 4))
    StreamState.objects.update(newest_at=timezone.now() - 15 * MINUTE)
    counts, problems = [], []
    for _ in range(4):
        let_a_minute_pass()
        counts.append(stream("--requested").counts["people_hinted"])
        problems.append(StreamState.objects.get().problem)

    assert counts == [2, 2, 1, 0]
    assert problems == [CROWDED, CROWDED, "", ""]


def pause(person: Person) -> None:
    Person.objects.update(state="paused")


def lose(person: Person) -> None:
    Person.objects.update(state="gone", attempted_at=timezone.now())


def conflict(person: Person) -> None:
    Person.objects.update(state="conflict", attempted_at=timezone.now())


def suppress(person: Person) -> None:
    person.refresh_from_db()
    Suppressed.objects.suppress(github_ids=[person.github_id or 0], by="test")


def take_over(person: Person) -> None:
    """Another account has the login now; this one is tracked under a new one."""
    Person.objects.update(github_id=777)


@pytest.mark.parametrize("change", [pause, lose, conflict, suppress, take_over])
def test_who_is_left_alone(change: Callable[[Person], None], ada: Person, github: GitHubStandIn, stream: Sync) -> None:
    stream()
    change(ada)
    publish_now(github, "ada")
    let_a_minute_pass()

    assert stream("--requested").counts["people_polled"] == 0
    assert not Hint.objects.exists()
    assert SyncRun.objects.count() == 1, "there was nothing to do for another run"


def test_entries_come_in_any_order_again_and_again(ada: Person, github: GitHubStandIn, stream: Sync) -> None:
    stream()
    github.add_account("stranger")
    for ago in (3, 1, 2):
        publish_now(github, "stranger", ago=ago * MINUTE)
    publish_now(github, "ada", ago=8 * MINUTE, created_at="2012-01-01T00:00:00Z")
    github.stream.sort(key=lambda event: event[1]["id"])
    let_a_minute_pass()

    assert stream("--requested").counts["people_hinted"] == 1
    let_a_minute_pass()
    assert stream("--requested").counts["people_hinted"] == 0


def test_strangers_are_neither_stored_nor_logged(
    ada: Person, github: GitHubStandIn, stream: Sync, caplog: pytest.LogCaptureFixture, settings: Settings
) -> None:
    caplog.set_level(logging.DEBUG)
    stream()
    github._ids = itertools.count(987654321987)  # not by chance a part of another number
    mallory = github.add_account("mallory-stranger", name="Mallory Stranger")
    gists = [publish_now(github, "mallory-stranger", description="strange words") for _ in range(3)]
    publish_now(github, "mallory-stranger", html_url=7, owner={"id": "odd", "login": "mallory-stranger"})
    publish_now(github, "ada")
    let_a_minute_pass()
    outputs = [stream("--requested", as_json=False)]
    entry = {"id": gists[0], "owner": {"login": "mallory-stranger"}}
    entries = json.dumps([entry] * 101)
    bodies = [entries, entries[-100:], json.dumps(entry), json.dumps({"message": [entry], "error": entry})]
    bodies += ["<title>Gists of mallory-stranger</title>", f"{gists[0]} by mallory-stranger", f"\ufeff{entries}"]
    faults = [respond(status, body) for status in (422, 500) for body in bodies]
    faults += [respond(status, json.dumps(entry)) for status in (200, 302, 403, 404, 429)]
    for fault in faults:
        github.heal()
        github.fail("stream", fault, times=4)
        let_a_minute_pass()
        outputs.append(stream())

    stored = "\n".join(str(row) for model in apps.get_models() for row in model._default_manager.values())
    seen = "\n".join([stored, caplog.text, *[text for run in outputs for text in (run.output, run.errors)]])
    assert Gist.objects.get().github_id in seen, "this test would find what is there"
    found = [text for text in ("tranger", "strange", *gists, str(mallory.id)) if text in seen]
    assert found == []


LIMITS = {
    "hourly": (
        {"x-ratelimit-remaining": "0", "x-ratelimit-reset": f"{time.time() + 2400:.0f}"},
        "API rate limit exceeded",
    ),
    "retry-after": ({"retry-after": "2400"}, "You have exceeded a secondary rate limit"),
    "429": ({"retry-after": "2400"}, "slow down"),
}


@pytest.mark.django_db
@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize("limit", LIMITS)
def test_a_pause_that_github_orders_is_kept_by_the_next_runs(
    limit: str, status: int, ada: Person, github: GitHubStandIn, stream: Sync
) -> None:
    headers, message = LIMITS[limit]
    stream()
    github.fail_always(
        "^/gists/public", respond(429 if limit == "429" else status, json.dumps({"message": message}), headers)
    )
    github.clear_requests()
    for _ in range(5):
        let_a_minute_pass()
        stream("--requested")
    asked = len(readings(github))
    github.heal()
    let_time_pass(timedelta(minutes=40))
    publish_now(github, "ada")

    assert stream("--requested").counts["people_hinted"] == 1
    assert (asked, len(readings(github))) == (1, 2)


@pytest.mark.parametrize(("ordered", "kept"), [(timedelta(minutes=5), True), (timedelta(days=3), True), (None, False)])
def test_a_pause_is_an_hour_at_most(ordered: timedelta | None, kept: bool) -> None:
    state = StreamState(first_read_at=NOW, attempted_at=NOW, newest_at=NOW, paused_until=NOW)

    move_on(state, Reading(NOW, problem="limited", paused_until=NOW + ordered if ordered else None), is_sparse=False)

    assert state.paused_until == (NOW + min(ordered or MINUTE, timedelta(hours=1)) if kept else None)


@pytest.mark.both
@pytest.mark.django_db
def test_ids_that_differ_in_case_only_stop_nothing(ada: Person, github: GitHubStandIn, stream: Sync) -> None:
    stream()
    owner = {"id": Person.objects.get().github_id, "login": "ada"}
    entries = [{"id": name, "updated_at": f"{timezone.now():%FT%TZ}", "owner": owner} for name in ("AB", "ab", "aB")]
    github.fail_always("^/gists/public", respond(200, json.dumps(entries)))
    let_a_minute_pass()

    assert stream("--requested").counts["people_hinted"] == 1
    let_a_minute_pass()
    assert stream("--requested").counts["people_hinted"] == 0
    assert StreamState.objects.get().attempted_at > timezone.now() - MINUTE


@pytest.mark.django_db
def test_a_stream_that_was_never_read_is_not_said_to_be(ada: Person, github: GitHubStandIn, stream: Sync) -> None:
    github.fail_always("^/gists/public", respond(404, "{}"))
    stream()
    let_time_pass(timedelta(hours=3))
    publish_now(github, "ada")
    stream()

    assert StreamState.objects.get().read_at is None
    assert Gist.objects.get().discovery == "poll"
    output = StringIO()
    call_command("sync_status", stdout=output)
    assert "stream: not read yet" in output.getvalue()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.github.com", False),
        ("https://api.octocorp.ghe.com", True),
        ("https://api.octocorp.ghe.com/", True),
        ("https://git.acme.test/api/v3", True),
        ("https://api.ghe.com.acme.test", False),
    ],
)
def test_the_stream_of_one_company_may_be_silent(url: str, expected: bool) -> None:
    assert GitHubClient(url).is_of_one_company == expected


# --- how much is read ---
def new_client(github: GitHubStandIn) -> GitHubClient:
    return GitHubClient(github.url, GITHUB_TOKEN, requests_per_minute=1_000_000)


def publish_many(github: GitHubStandIn, count: int) -> None:
    github.add_account("crowd")
    for _ in range(count):
        github.publish("crowd", created_at="2026-11-30T12:00:00Z", updated_at="2026-11-30T12:00:01Z")


@pytest.mark.parametrize(("gists", "pages"), [(0, 1), (1, 1), (99, 1), (100, 2), (101, 2), (250, 3)])
def test_it_is_read_to_the_first_page_that_is_not_full(gists: int, pages: int, github: GitHubStandIn) -> None:
    publish_many(github, gists)

    reading = read_stream(new_client(github), NOW, NOW, MAX_PAGES)

    assert (len(reading.entries), reading.problem, reading.is_full) == (gists, "", False)
    assert len(github.requests) == pages
    assert github.requests[0].query["since"] == "2026-11-30T12:00:00Z"


def test_the_thirtieth_page_is_the_last(github: GitHubStandIn) -> None:
    publish_many(github, 3100)

    reading = read_stream(new_client(github), NOW, NOW, MAX_PAGES)

    assert (len(reading.entries), reading.is_full, len(github.requests)) == (3000, True, 30)


def test_a_server_that_ignores_since_is_not_read_to_the_thirtieth_page(github: GitHubStandIn) -> None:
    """Each minute, with the requests of the token."""
    pages = [respond(200, json.dumps(full_page(100 * n))) for n in range(5)]
    pages[0] = respond(
        200, json.dumps([*full_page(0)[1:], {**full_page(1000)[0], "updated_at": f"{NOW + MINUTE:%FT%TZ}"}])
    )
    for number, page in enumerate(pages, 1):
        github.fail("stream", page, nth=number)

    reading = read_stream(new_client(github), NOW + MINUTE, NOW, MAX_PAGES)

    assert (len(github.requests), reading.problem, reading.is_full) == (2, "", False)


def test_a_slow_stream_is_not_read_on(github: GitHubStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_many(github, 300)
    monkeypatch.setattr("sync.stream.MAX_SECONDS", 0.0)

    reading = read_stream(new_client(github), NOW, NOW, MAX_PAGES)

    assert (len(reading.entries), reading.problem, len(github.requests)) == (100, SLOW, 1)


def test_a_run_does_not_wait_long_for_a_silent_stream(ada: Person, github: GitHubStandIn, stream: Sync) -> None:
    def send_late(line: Line, response: Response) -> None:
        line.pause(STREAM_READ_SECONDS)
        line.send(response)

    github.fail_always("^/gists/public", Fault("late", True, send_late))

    assert stream().counts["people_polled"] == 1
    assert StreamState.objects.get().problem


def full_page(first: int) -> list[dict[str, Any]]:
    owner = {"id": 7, "login": "crowd"}
    return [{"id": f"a{first + n}", "updated_at": "2026-11-30T12:00:00Z", "owner": owner} for n in range(100)]


NEXT = {"link": '</gists/public?per_page=100&page=2>; rel="next"'}


@pytest.mark.parametrize(
    ("pages", "problem", "entries"),
    [
        ([respond(200, json.dumps(full_page(0)))] * 2, REPEATED, 100),  # The link has been lost, and `page`.
        ([respond(200, json.dumps([None] * 100))], UNREADABLE_ENTRIES, 0),
        (
            [respond(200, json.dumps([{"id": "a new-form", "updated_at": "2026-11-30T12:00:00Z"}]))],
            UNREADABLE_ENTRIES,
            0,
        ),
        ([respond(200, json.dumps(full_page(0)[:97]), NEXT), respond(200, json.dumps(full_page(100)[:40]))], "", 137),
        ([respond(200, json.dumps(full_page(0)[:97]), NEXT)] * 2, REPEATED, 97),
        ([respond(200, json.dumps(full_page(0)), NEXT), respond(200, "[]", NEXT)], "", 100),
        ([respond(200, json.dumps(full_page(0))), respond(200, "[]")], "", 100),
        ([respond(200, json.dumps(full_page(0))), respond(404, "{}")], MISSING, 100),
        ([respond(200, json.dumps(full_page(0))), respond(422, "{}")], "returned 422", 100),
        ([respond(200, json.dumps(full_page(0)), {"link": '<https://elsewhere.test/>; rel="next"'})], "elsewhere", 100),
        ([respond(200, json.dumps(full_page(0)), {"link": '<http://[>; rel="next"'})], "invalid link", 0),
        ([respond(200, json.dumps([*full_page(0), None]))], "101 gists on a page", 0),
    ],
)
def test_what_was_read_before_a_problem_hints(
    pages: list[Fault], problem: str, entries: int, github: GitHubStandIn
) -> None:
    for number, page in enumerate(pages, 1):
        github.fail("stream", page, nth=number)

    reading = read_stream(new_client(github), NOW, NOW, MAX_PAGES)

    assert (problem in reading.problem, bool(reading.problem)) == (True, bool(problem))
    assert len(reading.entries) == entries


def test_a_slow_stream_is_read_for_two_minutes_at_most(github: GitHubStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_many(github, 1000)
    times = iter(range(0, 1000, 50))
    monkeypatch.setattr("sync.stream.boot_clock", lambda: next(times))

    reading = read_stream(new_client(github), NOW, NOW, MAX_PAGES)

    assert (reading.problem, len(reading.entries)) == (SLOW, 200)


@pytest.mark.django_db(transaction=True)
def test_a_failed_write_of_a_reading_is_repeated_as_a_whole(
    ada: Person, github: GitHubStandIn, stream: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream()
    StreamState.objects.update(newest_at=timezone.now() - timedelta(hours=2))
    publish_now(github, "ada")
    let_a_minute_pass()
    failures = [OperationalError(2006, "has gone away")]

    def fail_once(rows: list[StreamGap]) -> None:
        if failures:
            raise failures.pop()
        for row in rows:
            row.save()

    monkeypatch.setattr(StreamGap.objects, "bulk_create", fail_once)
    run = stream("--requested")

    assert (failures, len(readings(github))) == ([], 2), "it was read once more"
    assert (run.counts["people_hinted"], StreamGap.objects.count(), Hint.objects.count()) == (1, 1, 1)
    assert StreamState.objects.get().newest_at > timezone.now() - MINUTE


def test_a_stream_that_is_missing_is_asked_for_once_in_a_run(
    db: None, github: GitHubStandIn, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.GITHUB_STREAM = True
    github.fail("stream", respond(404, '{"message": "Not Found"}'))
    now = timezone.now()
    stream = Stream(new_client(github), lambda: now)
    assert not stream.look()
    now += timedelta(hours=1)

    assert stream.advance([], is_tick=True) == []
    assert StreamState.objects.get().problem == MISSING
    assert caplog.messages == [f"The stream of public gists: {MISSING}"]


def test_a_reading_that_ends_with_an_unexpected_error_is_a_problem_and_no_secret(
    db: None, github: GitHubStandIn, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.GITHUB_STREAM = True
    stream = Stream(new_client(github), timezone.now)
    (step,) = stream.advance([], is_tick=True)

    assert stream.advance([Outcome(step, error=KeyError("mallory"))], is_tick=True) == []
    problem = "GitHub's stream of public gists could not be read (KeyError)."
    assert StreamState.objects.get().problem == problem
    assert caplog.messages == [f"The stream of public gists: {problem}"]


def test_a_stream_whose_hints_cannot_be_stored_is_read_once_a_minute(
    ada: Person, github: GitHubStandIn, stream: Sync, caplog: pytest.LogCaptureFixture
) -> None:
    stream()
    publish_now(github, "ada")
    now = timezone.now() + MINUTE
    hearing = Stream(new_client(github), lambda: now)
    (step,) = hearing.advance([], is_tick=True)
    with connection.execute_wrapper(refuse_hints):
        steps = hearing.advance([ask(step)], is_tick=True)
    now += MINUTE

    assert steps == []
    assert caplog.messages == ["The hints of GitHub's stream could not be stored; polls go on"]
    (step,) = hearing.advance([], is_tick=True)
    assert hearing.advance([ask(step)], is_tick=True) == []
    assert hearing.people_hinted == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("kind", "table"),
    [
        ("SELECT", StreamState),
        ("UPDATE", StreamState),
        ("SELECT", StreamGap),
        ("INSERT", StreamGap),
        ("SELECT", Hint),
        ("INSERT", Hint),
    ],
)
def test_a_statement_that_fails_once_costs_nothing(
    kind: str, table: type[Model], ada: Person, github: GitHubStandIn, stream: Sync
) -> None:
    stream()
    publish_now(github, "ada")
    let_time_pass(timedelta(hours=2))  # So the silence is a gap.
    failures = [OperationalError("database is locked")]

    def fail_once(execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        if failures and sql.startswith(kind) and table._meta.db_table in sql:
            raise failures.pop()
        return execute(sql, *arguments)

    with connection.execute_wrapper(fail_once):
        run = stream("--requested")

    assert (failures, run.code, run.counts["people_hinted"], run.counts["gists_pushed"]) == ([], 0, 1, 1)
    assert StreamGap.objects.count() == 1


def test_a_frequent_run_whose_stream_cannot_be_stored_succeeds(
    ada: Person, github: GitHubStandIn, stream: Sync
) -> None:
    stream()
    let_a_minute_pass()

    def refuse(execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        if sql.startswith("UPDATE") and StreamState._meta.db_table in sql:
            raise OperationalError("no")
        return execute(sql, *arguments)

    with connection.execute_wrapper(refuse):
        assert stream("--requested").code == 0


def refuse_hints(execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
    if sql.startswith("INSERT") and Hint._meta.db_table in sql:
        raise IntegrityError("no")
    return execute(sql, *arguments)


# --- how far it was read ---
def entries_at(*minutes: float) -> tuple[StreamEntry, ...]:
    """Of these minutes before (after: negative) NOW."""
    return tuple(StreamEntry(f"a{n}", NOW - n * MINUTE, Owner(7, "crowd")) for n in minutes)


# reading; the newest time, the last good reading and the problem afterwards; the gaps (minutes before NOW)
MOVES: dict[str, tuple[Reading, tuple[float, float, str], list[tuple[float, float]]]] = {
    "news": (Reading(NOW, entries_at(3, 1, 2)), (1, 0, ""), []),
    "nothing new": (Reading(NOW), (5, 0, ""), []),
    "older than known": (Reading(NOW, entries_at(9, 500)), (5, 0, ""), []),
    "a little in the future": (Reading(NOW, entries_at(-0.5)), (-0.5, 0, ""), []),
    "one in the future": (Reading(NOW, entries_at(-60, 2)), (2, 0, ""), []),
    "all in the future": (Reading(NOW, entries_at(-60, -99999)), (5, 4, IN_FUTURE), []),
    "unreadable": (Reading(NOW, entries_at(1), problem="no"), (5, 4, "no"), []),
    "full": (Reading(NOW, entries_at(3, 1), is_full=True), (1, 0, FULL), [(5, 1)]),
    "full of the past": (Reading(NOW, entries_at(50), is_full=True), (5, 0, FULL), [(5, 5)]),
}


@pytest.mark.parametrize("name", MOVES)
def test_how_far_a_reading_moves_the_state(name: str) -> None:
    reading, (newest, read, problem), gaps = MOVES[name]
    state = StreamState(
        first_read_at=NOW - 60 * MINUTE, attempted_at=NOW, read_at=NOW - 4 * MINUTE, newest_at=NOW - 5 * MINUTE
    )

    found = move_on(state, reading, is_sparse=False)

    assert state.read_at is not None
    assert ((NOW - state.newest_at) / MINUTE, (NOW - state.read_at) / MINUTE, state.problem) == (newest, read, problem)
    assert [((NOW - gap.since) / MINUTE, (NOW - gap.until) / MINUTE) for gap in found] == gaps
    assert state.problem_since == (NOW if problem else None)


@pytest.mark.parametrize(
    ("times", "is_sparse", "problem", "gaps"),
    [
        ([119, 95, 70, 45, 20], False, "", []),
        ([2], False, "", [(120, 2)]),  # a jump of the newest time
        ([110, 60, 35, 10], False, "", [(110, 60)]),
        ([110], False, SILENT, []),  # The gap ends when it shows something again.
        ([], False, SILENT, []),
        ([], True, "", []),
        ([2], True, "", []),
    ],
)
def test_a_silence_is_a_gap_unless_the_server_is_of_one_company(
    times: list[float], is_sparse: bool, problem: str, gaps: list[tuple[float, float]]
) -> None:
    before = NOW - 120 * MINUTE
    state = StreamState(first_read_at=before, attempted_at=before, read_at=before, newest_at=before)

    found = move_on(state, Reading(NOW, entries_at(*times)), is_sparse=is_sparse)

    assert state.problem == problem
    assert [((NOW - gap.since) / MINUTE, (NOW - gap.until) / MINUTE) for gap in found] == gaps
    assert state.problem_since == (state.newest_at if problem else None)


def test_a_silence_is_logged_once(ada: Person, stream: Sync, caplog: pytest.LogCaptureFixture) -> None:
    stream()
    let_time_pass(timedelta(hours=2))
    for _ in range(2):
        stream("--requested", as_json=False)
        let_a_minute_pass()

    assert caplog.messages == [f"The stream of public gists: {SILENT}"]


def test_a_newest_time_that_is_wrong_is_no_longer_believed_when_the_clock_is_right_again(
    ada: Person, github: GitHubStandIn, stream: Sync
) -> None:
    stream()
    StreamState.objects.update(newest_at=timezone.now() + timedelta(days=300), attempted_at=NOW + timedelta(days=300))
    publish_now(github, "ada")

    assert stream("--requested").counts["people_hinted"] == 1
    assert StreamState.objects.get().newest_at <= timezone.now()


def test_another_process_that_has_read_it_meanwhile_knows_better(
    db: None, github: GitHubStandIn, settings: Settings
) -> None:
    settings.GITHUB_STREAM = True
    now = timezone.now()
    stream = Stream(new_client(github), lambda: now)
    stream.look()
    StreamState.objects.update(attempted_at=now + MINUTE, problem="theirs")
    now += 2 * MINUTE

    stream.look()

    assert StreamState.objects.get().problem == "theirs"


# --- it lies, and the service stays right ---
STREAM_LIES: dict[str, Fault] = {
    **GITHUB_LIES,
    **{name: fault('{"message": "no"}') for name, fault in FAULTS.items()},
    "gists that do not exist": respond(
        200,
        json.dumps([{"id": f"b{n}", "updated_at": "2026-11-30T12:00:00Z", "owner": {"id": 1001}} for n in range(9)]),
    ),
    "of another owner": respond(
        200, json.dumps([{"id": "b1", "updated_at": "2026-11-30T12:00:00Z", "owner": {"id": 9, "login": "ada"}}])
    ),
    "a future": respond(
        200,
        json.dumps([{"id": "b1", "updated_at": "8999-11-30T12:00:00Z", "owner": {"id": 1001, "login": "ada"}}]),
    ),
}


# One for each class of error that a client makes of them, and what it believes; `make proof` has the others.
SELECTED = {
    *["refused", "500", "503 retry-after", "403 primary", "429 bare", "401", "404 of GitHub", "422", "304", "body cut"],
    *["200 with an empty list", "200 with half of a list", "200 with null"],
    *STREAM_LIES.keys() - GITHUB_LIES.keys() - FAULTS.keys(),
}


def test_the_selection_names_lies() -> None:
    assert set(STREAM_LIES) >= SELECTED


@pytest.mark.slow("one of many whole runs")
@pytest.mark.parametrize(
    "lie", [lie if lie in SELECTED else pytest.param(lie, marks=pytest.mark.proof) for lie in STREAM_LIES]
)
def test_a_lie_of_the_stream_changes_nothing_but_latency(
    lie: str, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, stream: Sync
) -> None:
    github.publish("ada")
    stream()
    publish_now(github, "ada")
    let_time_pass(timedelta(hours=3))
    github.fail_always("^/gists/public", STREAM_LIES[lie])

    stream("--requested")
    let_a_minute_pass()
    during = stream()
    people = list(Person.objects.values_list("state", "failures", "last_error"))
    github.heal()
    after = stream()

    assert readings(github)
    assert during.code == 0, during
    assert people == [("active", 0, "")]
    assert after.code == 0
    assert sorted(pipedrive.gist_ids()) == sorted(github.gist_ids("ada"))


# --- without a token ---
@pytest.fixture
def without_token(stream: Sync, settings: Settings) -> Sync:
    settings.GITHUB_TOKEN = ""
    return stream


def test_without_a_token_the_last_requests_of_an_hour_are_for_the_stream_and_who_is_hinted_at(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, without_token: Sync
) -> None:
    """Of 300 people a run polls those that 20 requests suffice for; who publishes is polled within five minutes."""
    for number in range(300):
        track(github, f"p{number}", github_id=1001 + number, state="active")
    now = timezone.now()
    Person.objects.update(polled_at=now, attempted_at=now, full_read_at=now)
    let_time_pass(timedelta(hours=3))
    first = without_token("--trigger", "schedule")
    used, gist = github.used[False], publish_now(github, "p299")
    let_a_minute_pass()
    too_soon = without_token("--requested")
    StreamState.objects.update(attempted_at=F("attempted_at") - 5 * MINUTE)

    run = without_token("--requested")
    track(github, "new")
    hopeful = without_token("--requested")

    assert (first.json["outcome"], first.code) == ("stopped", 0)
    assert 0 < first.counts["people_polled"] < used <= 22
    assert too_soon.json["requests"]["github"] == 0
    assert (run.counts["people_polled"], pipedrive.gist_ids()) == (1, [gist])
    assert Person.objects.filter(polled_at__gte=now).count() == first.counts["people_polled"] + 1
    assert hopeful.json["requests"]["github"] == 0, "the run before has left too few requests for new people"


def test_without_a_token_and_without_the_stream_all_requests_are_for_polls(
    github: GitHubStandIn, without_token: Sync, settings: Settings
) -> None:
    settings.GITHUB_STREAM = False
    for number in range(70):
        track(github, f"p{number}", github_id=1001 + number, state="active", full_read_at=timezone.now())

    without_token()

    assert github.used[False] == 60


@pytest.mark.parametrize("is_limited", [True, False])
def test_a_server_without_a_limit_is_not_spared(
    is_limited: bool, github: GitHubStandIn, without_token: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    github.hourly[False] = 10_000 if not is_limited else 60
    if not is_limited:
        monkeypatch.setattr(GitHubStandIn, "_rate_headers", lambda *_: {})
    track_people(github, 60)
    without_token()
    let_time_pass(timedelta(hours=3))

    polled = without_token().counts["people_polled"]

    assert (polled == 60) is not is_limited


def test_without_a_token_a_reading_has_few_pages(github: GitHubStandIn, without_token: Sync, db: None) -> None:
    crowd = github.add_account("crowd")
    for _ in range(500):
        publish_now(github, crowd.login)

    without_token()

    assert len(readings(github)) == MAX_PAGES_WITHOUT_TOKEN
    assert StreamState.objects.get().problem == FULL
    assert StreamGap.objects.get().reason == FULL


# --- a refused token ---
def test_a_frequent_run_tells_of_a_refused_token_and_that_it_is_right_again(
    ada: Person, github: GitHubStandIn, stream: Sync
) -> None:
    stream()
    tokens, github.tokens = github.tokens, set()
    outcomes = []
    for valid in (set(), set(), tokens):
        github.tokens = valid
        let_a_minute_pass()
        run = stream("--requested")
        outcomes.append((run.code, ApiState.objects.get(api="GitHub").problem))

    assert outcomes == [(78, "refused"), (78, "refused"), (0, "")]
    assert SyncRun.objects.count() == 1


def test_a_stream_that_alone_is_refused_tells_nothing_about_the_token(
    ada: Person, github: GitHubStandIn, stream: Sync
) -> None:
    stream()
    let_a_minute_pass()
    github.fail("stream", respond(401, '{"message": "Bad credentials"}'), times=9)

    run = stream("--requested")

    assert (run.code, ApiState.objects.get(api="GitHub").problem) == (0, "")
    assert "401" in StreamState.objects.get().problem


def test_what_a_run_has_found_out_about_the_token_is_not_cleared_by_the_stream(
    ada: Person, github: GitHubStandIn, stream: Sync
) -> None:
    stream()
    ApiState.objects.update(problem="refused", run_id=1)
    let_a_minute_pass()

    stream("--requested")

    assert ApiState.objects.get(api="GitHub").problem == "refused"


# --- how gists are found ---
# seconds before NOW of: the publication, the tracking, the first reading, the last good one; a gap; hinted; expected
DISCOVERIES: dict[str, tuple[int, int, int, int, tuple[int, int] | None, bool, str]] = {
    "missed": (3600, 9999, 9999, 60, None, False, "missed"),
    "hinted": (3600, 9999, 9999, 60, None, True, "stream"),
    "hinted after a gap": (3600, 9999, 9999, 60, (4000, 3000), True, "stream"),
    "before it was tracked": (3600, 3500, 9999, 60, None, False, ""),
    "before it was tracked, and hinted": (3600, 3500, 9999, 60, None, True, ""),
    "before the first reading": (3600, 9999, 3500, 60, None, False, "poll"),
    "too new for the last reading": (659, 9999, 9999, 60, None, False, "poll"),
    "old enough": (660, 9999, 9999, 60, None, False, "missed"),
    "since the stream has stopped": (3600, 9999, 9999, 5000, None, False, "poll"),
    "in a gap": (3600, 9999, 9999, 60, (4000, 3000), False, "poll"),
    "at the edge of a gap": (3600, 9999, 9999, 60, (3600, 3000), False, "poll"),
    "after a gap": (3600, 9999, 9999, 60, (4000, 3700), False, "missed"),
}


@pytest.mark.django_db
@pytest.mark.parametrize("case", DISCOVERIES)
def test_how_a_new_gist_was_found(case: str) -> None:
    published, tracked, first, read, gap, is_hinted, expected = DISCOVERIES[case]

    def before(seconds: int) -> datetime:
        return NOW - timedelta(seconds=seconds)

    person = create_person(state="active", polled_at=NOW)
    person.created_at = person.state_changed_at = before(tracked)
    gist = Gist(person=person, github_id="a1", github_created_at=before(published))
    times = {"first_read_at": before(first), "attempted_at": NOW, "read_at": before(read), "newest_at": NOW}
    StreamState.objects.create(pk=1, **times)
    if gap:
        StreamGap.objects.create(since=before(gap[0]), until=before(gap[1]), reason="no")
    if is_hinted:
        Hint.objects.create(person=person, github_id="a1", updated_at=before(published), hinted_at=NOW)

    set_discovery([gist])

    assert gist.discovery == expected


@pytest.mark.parametrize(
    "columns",
    [{"polled_at": None}, {"state": "paused"}, {"state": "gone"}, {"state_changed_at": NOW - timedelta(minutes=50)}],
)
def test_who_could_not_be_hinted_at_shows_nothing_about_the_stream(columns: dict[str, Any]) -> None:
    long_ago = NOW - timedelta(days=1)
    person = Person(**{"state": "active", "polled_at": NOW, "created_at": long_ago, **columns})
    gist = Gist(person=person, github_id="a1", github_created_at=NOW - timedelta(hours=1))

    set_discovery([gist])

    assert gist.discovery == ""


@pytest.mark.django_db
def test_a_hint_counts_also_if_no_reading_was_without_a_problem() -> None:
    """As one that breaks off, of which the first page was read."""
    person = create_person(state="active", polled_at=NOW)
    person.created_at = person.state_changed_at = NOW - timedelta(days=1)
    StreamState.objects.create(pk=1, first_read_at=NOW - timedelta(hours=1), attempted_at=NOW, newest_at=NOW)
    gists = [Gist(person=person, github_id=name, github_created_at=NOW - 20 * MINUTE) for name in ("a1", "a2")]
    Hint.objects.create(person=person, github_id="a1", updated_at=NOW, hinted_at=NOW)

    set_discovery(gists)

    assert [gist.discovery for gist in gists] == ["stream", "poll"]


def test_a_first_reading_in_the_future_is_a_mistake_of_a_clock() -> None:
    state = StreamState(first_read_at=NOW + timedelta(days=9), attempted_at=NOW, newest_at=NOW)

    move_on(state, Reading(NOW), is_sparse=False)

    assert state.first_read_at == NOW


@pytest.mark.django_db
@pytest.mark.parametrize(("is_on", "hours"), [(True, 3), (False, 1)])
def test_the_warning_without_a_token_counts_what_polls_may_use(is_on: bool, hours: int, settings: Settings) -> None:
    settings.GITHUB_STREAM = is_on
    for number in range(30):
        create_person(f"person-{number}")

    assert f"30 people need at least 60: about {hours} hour" in format_token_warning(Person.objects.all())


def test_a_gist_that_only_a_poll_has_shown_is_a_miss(ada: Person, github: GitHubStandIn, stream: Sync) -> None:
    stream()
    let_time_pass(timedelta(hours=3))
    gist = publish_now(github, "ada", ago=timedelta(hours=1))
    github.stream.clear()
    StreamState.objects.update(newest_at=timezone.now())  # Others have published.
    stream("--requested")

    assert stream().counts["gists_new"] == 1
    assert Gist.objects.get(github_id=gist).discovery == "missed"


# --- the client ---
def test_the_stream_has_entries_of_all_accounts(github: GitHubStandIn) -> None:
    for login in ("ada", "grace"):
        github.add_account(login)
        github.publish(login)
    client = GitHubClient(github.url, GITHUB_TOKEN)

    page = client.get_stream_page(stream_url(datetime(2026, 1, 1, tzinfo=UTC)))

    assert [(entry.owner and entry.owner.login) for entry in page.entries] == ["grace", "ada"]
    assert (page.size, page.next_url) == (2, "")


@pytest.mark.parametrize(
    "item",
    [
        None,
        [],
        "text",
        {},
        {"id": "abc"},
        {"id": 7, "updated_at": "2026-11-30T12:00:00Z"},
        {"id": "a/b", "updated_at": "2026-11-30T12:00:00Z"},
        {"id": "abc", "updated_at": "soon"},
        {"id": "abc", "updated_at": "0001-01-01T00:00:00Z"},
        {"id": "abc", "updated_at": "9999-12-31T23:59:59Z"},
        {"id": "abc", "updated_at": "2026-11-30T12:00:00Z", "owner": "ada"},
        {"id": "abc", "updated_at": "2026-11-30T12:00:00Z", "owner": {"login": "ada"}},
        {"id": "abc", "updated_at": "2026-11-30T12:00:00Z", "owner": {"id": -1, "login": "ada"}},
        {"id": "abc", "updated_at": "2026-11-30T12:00:00Z", "owner": {"id": 2**64, "login": "ada"}},
    ],
)
def test_an_odd_item_of_the_stream_is_left_out_and_counts_for_the_size_of_the_page(
    item: object, github: GitHubStandIn
) -> None:
    good = {"id": "abc", "updated_at": "2026-11-30T12:00:00Z", "owner": None}
    github.fail("stream", respond(200, json.dumps([item, good])))

    page = GitHubClient(github.url, GITHUB_TOKEN).get_stream_page(stream_url(datetime(2026, 1, 1, tzinfo=UTC)))

    assert [entry.id for entry in page.entries] == ["abc"]
    assert page.size == 2


def test_its_requests_count_in_the_pace_of_all_and_its_pauses_stop_nothing_else(github: GitHubStandIn) -> None:
    client = GitHubClient(github.url, GITHUB_TOKEN, requests_per_minute=2)
    limiters = client.api.limiter, client.stream_api.limiter
    limiters[0].hit()

    waits = [limiter.hit() for limiter in limiters]
    limiters[1].pause(Pause(90, True, "no"))
    waits += [limiter.hit() for limiter in limiters]

    assert waits == pytest.approx([30, 30, 30, 90], abs=5)


def test_what_the_stream_shows_is_no_control(github: GitHubStandIn) -> None:
    github.add_account("ada")
    github.publish("ada")
    client = GitHubClient(github.url, GITHUB_TOKEN)
    client.get_stream_page(stream_url(datetime(2026, 1, 1, tzinfo=UTC)))

    client.check_service()

    assert [request.path for request in github.requests] == ["/gists/public", "/users/ghost"]
