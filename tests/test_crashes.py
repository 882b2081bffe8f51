"""Things break at the worst moment; every gist still becomes exactly one activity."""

import subprocess
import threading
from collections.abc import Callable

import pytest
from django.db import connection
from pytest_django import Settings
from rest_framework.test import APIClient

from people.models import Gist, Person
from tests.conftest import Sync, wait_until
from tests.standins import Fault, GitHubStandIn, PipedriveStandIn, cut_body, late, reset, respond, silence

pytestmark = pytest.mark.django_db(transaction=True)
Worker = Callable[..., subprocess.Popen[str]]


@pytest.mark.parametrize(
    "fault",
    [reset(after=True), reset(), respond(502, "<html>", after=True), respond(200, "null", after=True), cut_body()],
    ids=["reset after", "reset before", "502 after", "null", "cut off"],
)
def test_a_lost_answer_to_the_activity_is_reconciled(
    fault: Fault, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    gist_id = github.publish("ada")
    pipedrive.fail("create_activity", fault)
    first = sync()
    assert Gist.objects.get().push_state == "started"

    sync()

    assert first.code == 3
    assert Gist.objects.get().push_state == "pushed"
    assert pipedrive.gist_ids() == [gist_id]


@pytest.mark.parametrize("fault", [reset(after=True), reset()], ids=["after", "before"])
def test_a_lost_answer_to_the_person_is_reconciled(
    fault: Fault, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    gist_id = github.publish("ada")
    pipedrive.search_lags = True
    pipedrive.fail("create_person", fault)
    sync()

    sync()

    assert pipedrive.gist_ids() == [gist_id]
    assert len(pipedrive.persons) == 1


def test_an_unclear_push_waits_until_pipedrive_has_settled(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> None:
    configured.PUSH_RECONCILE_AFTER_SECONDS = 3600
    github.publish("ada")
    pipedrive.fail("create_activity", reset())
    sync()

    sync()

    assert Gist.objects.get().push_state == "started"
    assert len(pipedrive.requests_to("create_activity")) == 1


@pytest.mark.parametrize("after", [True, False], ids=["after the work", "before the work"])
def test_a_process_killed_during_the_post_leaves_one_activity(
    after: bool, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, worker: Worker, sync: Sync
) -> None:
    gist_id = github.publish("ada")
    pipedrive.fail("create_activity", silence(30, after=after))
    process = worker()
    wait_until(lambda: pipedrive.counts["create_activity"] == 1)
    process.kill()
    process.wait()
    assert Gist.objects.get().push_state == "started"
    Person.objects.update(leased_until=None)  # What time does; a test does not wait for it.

    sync()

    assert Gist.objects.get().push_state == "pushed"
    assert pipedrive.gist_ids() == [gist_id]


def test_two_runs_at_once_make_no_second_activity(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, worker: Worker, db: None
) -> None:
    for number in range(12):
        github.add_account(f"person-{number}")
        Person.objects.create(github_username=f"person-{number}")
        github.publish(f"person-{number}")
    runs = [worker(), worker()]

    ends = [run.communicate() for run in runs]

    assert [run.returncode for run in runs] == [0, 0], ends
    assert len(set(pipedrive.gist_ids())) == len(pipedrive.gist_ids()) == 12


def test_a_person_deleted_during_the_sync_leaves_nothing_behind(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, api: APIClient
) -> None:
    github.publish("ada")
    github.add_account("ben")
    Person.objects.create(github_username="ben")
    ben_s = github.publish("ben")
    pipedrive.fail("create_activity", late(0.5))

    def delete() -> None:
        wait_until(lambda: pipedrive.counts["create_activity"] > 0)
        api.delete("/api/v1/people/ada")
        connection.close()

    other = threading.Thread(target=delete)
    other.start()
    summary = sync("--concurrency", "1")
    other.join()

    assert summary.code == 0, summary
    assert list(Person.objects.values_list("github_username", flat=True)) == ["ben"]
    assert Gist.objects.get().github_id == ben_s
    assert ben_s in pipedrive.gist_ids()


def test_a_person_deleted_before_its_turn_is_no_failure(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, api: APIClient
) -> None:
    ada_s = github.publish("ada")
    github.add_account("ben")
    Person.objects.create(github_username="ben")
    github.publish("ben")
    pipedrive.fail("create_activity", late(0.5))

    def delete() -> None:
        wait_until(lambda: pipedrive.counts["create_activity"] > 0)
        api.delete("/api/v1/people/ben")
        connection.close()

    other = threading.Thread(target=delete)
    other.start()
    summary = sync("--concurrency", "1")
    other.join()

    assert (summary.code, summary.json["problems"]) == (0, [])
    assert pipedrive.gist_ids() == [ada_s]


def test_one_failing_person_touches_nobody_else(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada")
    github.add_account("ben")
    Person.objects.create(github_username="ben")
    ben_s = github.publish("ben")
    github.fail("gists", respond(200, '{"not": "a list"}'))

    summary = sync("--concurrency", "1")

    assert summary.code == 3
    assert pipedrive.gist_ids() == [ben_s]
    assert "invalid body" in Person.objects.get(github_username="ada").last_error


def test_a_refused_gist_is_rejected_and_blocks_nobody(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    refused, good = github.publish("ada"), github.publish("ada")
    pipedrive.fail("create_activity", respond(400, '{"success":false,"error":"subject is odd"}'))

    summary = sync()

    assert summary.code == 3
    assert dict(Gist.objects.values_list("github_id", "push_state")) == {refused: "rejected", good: "pushed"}
    assert Gist.objects.get(github_id=refused).push_error.endswith("returned 400: subject is odd")
