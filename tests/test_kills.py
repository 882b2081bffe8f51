"""Kill the worker with -9 at random moments, again and again, and count what arrived.

`make kills` does it 200 times; the suite does it a few times. Real processes on a real database against the stand-ins.
People and gists are added while it goes on; at the end the kills stop, what was cut off is reconciled, and every gist
must have exactly one activity.
"""

import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import Q
from django.utils import timezone

from people.models import Gist, Person
from sync.models import SyncRun
from tests.standins import GitHubStandIn, PipedriveStandIn

Worker = Callable[..., subprocess.Popen[str]]
SHORT = 6
KILLS = int(os.environ.get("KILLS", SHORT))
on_a_server = pytest.mark.skipif(connection.vendor == "sqlite", reason="several workers at once are for a server")
CHANCE = random.Random()  # noqa: S311  # no secret hangs on it
MAX_LIFETIME = 1.2  # seconds from a worker's start to its kill; a start takes about half of them


@dataclass
class KillStats:
    """What came out: kills by the state in which they left something, gists published, activities per gist."""

    kills: int
    gists: int
    left_started: int  # times that a kill left a gist in the middle of its POST
    activities: Counter[str]

    @property
    def is_clean(self) -> bool:
        return len(self.activities) == self.gists and set(self.activities.values()) <= {1}

    def __str__(self) -> str:
        lost = self.gists - len(self.activities)
        twice = sum(number > 1 for number in self.activities.values())
        return (
            f"{self.kills} kills, {self.left_started} of them in the middle of a POST; "
            f"{self.gists} gists: {lost} lost, {twice} doubled."
        )


def kill_again_and_again(
    start: Worker,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    *,
    kills: int,
    at_once: int,
    chance: random.Random,
) -> KillStats:
    done = left_started = 0
    while done < kills:
        publish_some(github, chance)
        workers = [start() for _ in range(at_once)]
        # Half of the kills fall on the moment of a POST, which is the worst one.
        if chance.random() < 0.5:
            wait_for_a_post(pipedrive, workers)
        time.sleep(chance.uniform(0, MAX_LIFETIME if chance.random() < 0.5 else 0.02))
        for worker in workers:
            done += worker.poll() is None
            worker.kill()
            worker.communicate()
        left_started += Gist.objects.filter(push_state="started").exists()
        time_passes()
    settle(start)
    gists = sum(len(account.gists) for account in github.accounts.values())
    return KillStats(done, gists, left_started, Counter(pipedrive.gist_ids()))


def time_passes() -> None:
    """What it does to the leases of the killed, and to their rows."""
    Person.objects.update(leased_until=None)
    SyncRun.objects.update(heartbeat_at=timezone.now() - timedelta(hours=1))


def publish_some(github: GitHubStandIn, chance: random.Random) -> None:
    """A new person now and then, and some gists of anybody."""
    if len(github.accounts) < 3 or chance.random() < 0.3:
        name = f"person-{len(github.accounts)}"
        github.add_account(name)
        Person.objects.create(github_username=name)
    logins = [account.login for account in github.accounts.values()]
    for _ in range(chance.randint(3, 15)):
        github.publish(chance.choice(logins), f"Gist of {time.time()}")


def wait_for_a_post(pipedrive: PipedriveStandIn, workers: list[subprocess.Popen[str]]) -> None:
    before = pipedrive.counts["create_activity"]
    while pipedrive.counts["create_activity"] == before and any(worker.poll() is None for worker in workers):
        time.sleep(0.001)


def settle(start: Worker) -> None:
    """Runs that nobody kills, until nothing is left to do."""
    for _ in range(10):
        said, errors = start().communicate(timeout=600)
        if not Gist.objects.filter(push_state__in=["pending", "started"]).exists() and not Person.objects.filter(
            Q(polled_at=None)
        ):
            return
    raise AssertionError(f"Work is left after ten runs: {said} {errors}")


@pytest.mark.parametrize("at_once", [1, pytest.param(3, marks=on_a_server)])
@pytest.mark.django_db(transaction=True)
def test_nothing_is_lost_or_doubled_however_often_the_worker_is_killed(
    at_once: int, worker: Worker, github: GitHubStandIn, pipedrive: PipedriveStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    github.hourly[True] = 10**9

    stats = kill_again_and_again(worker, github, pipedrive, kills=KILLS, at_once=at_once, chance=CHANCE)

    with capsys.disabled():
        if KILLS > SHORT:
            print(f"\n{connection.vendor}, {at_once} at once: {stats}")
    assert stats.is_clean, stats
