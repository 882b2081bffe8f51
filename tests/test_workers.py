"""Threads that ask: what becomes of their steps; and that only the main thread of a run uses the database."""

import operator
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from queue import SimpleQueue
from typing import Any

import pytest
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from pytest_django import Settings

from people.models import Gist, Person
from sync.run.workers import Workers
from sync.steps import Outcome, Step
from tests.conftest import Sync, wait_until
from tests.factories import let_time_pass, track, track_people
from tests.standins import GitHubStandIn, PipedriveStandIn, reset

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]


def step(ask: Callable[[], Any], person: int = 1) -> Step:
    return Step(ask, person)


def test_a_failed_step_does_not_end_its_thread() -> None:
    outcomes: SimpleQueue[Outcome] = SimpleQueue()
    with Workers("test", 1, outcomes) as workers:
        for number in (0, 1):
            workers.begin(step(partial(operator.floordiv, 1, number)))
        failed, succeeded = outcomes.get(), outcomes.get()

    assert (type(failed.error), failed.result) == (ZeroDivisionError, None)
    assert (succeeded.error, succeeded.result) == (None, 1)


def test_leaving_waits_for_steps_that_have_begun() -> None:
    outcomes: SimpleQueue[Outcome] = SimpleQueue()
    has_begun, may_end = threading.Event(), threading.Event()

    def ask() -> str:
        has_begun.set()
        may_end.wait(60)
        return "done"

    with Workers("test", 2, outcomes) as workers:
        workers.begin(step(ask))
        assert has_begun.wait(60)
        threading.Timer(0.05, may_end.set).start()

    assert outcomes.get_nowait().result == "done"
    wait_until(lambda: not any(thread.name.startswith("test-") for thread in threading.enumerate()))


# --- threads use no database ---
@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The threads of a run that have used the database. Each such use fails, also if its error is caught."""
    found: list[str] = []
    real = {name: getattr(BaseDatabaseWrapper, name) for name in ("ensure_connection", "cursor")}

    def refuse(name: str) -> Callable[..., Any]:
        def use(wrapper: BaseDatabaseWrapper, *arguments: Any) -> Any:
            thread = threading.current_thread()
            if thread is not threading.main_thread():
                found.append(thread.name)
                raise AssertionError(f"{thread.name} uses the database")
            return real[name](wrapper, *arguments)

        return use

    for name in real:
        monkeypatch.setattr(BaseDatabaseWrapper, name, refuse(name))
    return found


def test_a_use_of_the_database_in_a_thread_is_noticed(foreign: list[str]) -> None:
    outcomes: SimpleQueue[Outcome] = SimpleQueue()
    with Workers("push", 1, outcomes) as workers:
        workers.begin(step(Person.objects.count))
        error = outcomes.get().error

    assert (type(error), foreign) == (AssertionError, ["push-0"])


def test_threads_use_no_database_whatever_a_run_does(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings, foreign: list[str]
) -> None:
    """New people, a lost response for a person and for activities, look-ups, edits, and a dry run of all that."""
    configured.PUSH_EDITS = True
    track_people(github, 3, gists=2)
    track(github, "ada", gists=3)
    pipedrive.fail("create_person", reset(after=True))
    pipedrive.fail("create_activity", reset(after=True), times=2)
    dry = sync("--dry-run")
    sync()
    let_time_pass(timedelta(hours=2))
    for login in ("ada", "person-1"):
        github.edit(login, github.gist_ids(login)[0], description="Edited")
    sync("--full")
    sync("--dry-run", "--full")

    assert foreign == []
    assert dry.code == 0
    assert set(Gist.objects.values_list("push_state", "activity_outdated")) == {("pushed", False)}
    assert len(pipedrive.gist_ids()) == len(set(pipedrive.gist_ids())) == 9
    assert pipedrive.requests_to("edit_activity")
    assert pipedrive.requests_to("list_activities")


def test_a_run_opens_at_most_two_connections(github: GitHubStandIn, sync: Sync, db: None) -> None:
    track_people(github, 20, gists=1)
    opened: list[str] = []
    count = lambda **_: opened.append(threading.current_thread().name)  # noqa: E731
    connection.close()
    connection_created.connect(count)
    try:
        sync("--concurrency", "3")
    finally:
        connection_created.disconnect(count)

    assert 1 <= len(opened) <= 2
    assert set(opened) == {threading.main_thread().name}
