"""How many statements a run sends to the database server, as the server counts those of its only connection.

A process of its own sends six more, when it connects.
"""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F
from pytest_django import Settings

from people.models import Gist, Person
from sync.models import StreamState
from tests.conftest import Sync
from tests.factories import publish_now
from tests.standins import GitHubStandIn

pytestmark = [pytest.mark.server, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("judging")]


def count_questions(action: Callable[[], object]) -> int:
    def questions() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SHOW SESSION STATUS LIKE 'Questions'")
            return int(cursor.fetchone()[1])

    before = questions()
    action()
    return questions() - before - 1


@pytest.fixture
def stream(ada: Person, github: GitHubStandIn, sync: Sync, settings: Settings) -> Sync:
    """As `sync`, with the stream, which was read a minute ago."""
    settings.GITHUB_STREAM = True
    github.publish("ada")
    sync()
    StreamState.objects.update(attempted_at=F("attempted_at") - timedelta(minutes=1))
    return sync


def test_a_run_that_finds_nothing(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    github.publish("ada")
    sync()
    sync()

    assert count_questions(lambda: sync("--trigger", "schedule")) <= 34


def test_a_run_that_finds_a_gist(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    github.publish("ada")
    sync()
    github.publish("ada")

    assert count_questions(lambda: sync("--trigger", "schedule")) <= 64
    assert Gist.objects.filter(push_state="pushed").count() == 2


def test_a_requested_run_without_work(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    sync()

    assert count_questions(lambda: sync("--requested")) <= 18


def test_a_requested_run_without_hints(ada: Person, github: GitHubStandIn, stream: Sync) -> None:
    github.add_account("stranger")
    publish_now(github, "stranger")

    assert count_questions(lambda: stream("--requested")) <= 21
    assert github.counts["stream"] == 2


def test_a_requested_run_with_one_hint(ada: Person, github: GitHubStandIn, stream: Sync) -> None:
    publish_now(github, "ada")

    assert count_questions(lambda: stream("--requested")) <= 88
    assert Gist.objects.filter(push_state="pushed").count() == 2
