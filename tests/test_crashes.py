"""Failures and crashes at the worst moment: every gist still becomes exactly one activity."""

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from people.models import Gist, Person
from sync.models import SyncRun
from tests.conftest import DuringRequest, Sync, Worker, wait_until
from tests.factories import let_time_pass, track, track_people
from tests.standins import Fault, GitHubStandIn, PipedriveStandIn, cut_body, reset, respond, silence

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]


@pytest.mark.parametrize(
    "fault",
    [reset(after=True), reset(), respond(502, "<html>", after=True), respond(200, "null", after=True), cut_body()],
    ids=["reset after", "reset before", "502 after", "null", "cut body"],
)
def test_an_activity_whose_response_was_lost_is_reconciled(
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
def test_a_pipedrive_person_whose_response_was_lost_is_reconciled(
    fault: Fault, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    gist_id = github.publish("ada")
    pipedrive.search_lags = True
    pipedrive.fail("create_person", fault)
    sync()

    for _ in range(2):  # Two runs must see that Pipedrive has no persons at all.
        sync()

    assert pipedrive.gist_ids() == [gist_id]
    assert len(pipedrive.persons) == 1


def test_an_unknown_outcome_is_not_resolved_before_the_settle_delay(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> None:
    configured.SETTLE_SECONDS = 120
    github.publish("ada")
    pipedrive.fail("create_activity", reset())
    sync()

    states = []
    for seconds in (0, 110, 130):
        Gist.objects.update(push_started_at=timezone.now() - timedelta(seconds=seconds))
        sync()
        states.append(Gist.objects.get().push_state)

    assert states[:2] == ["started", "started"]
    assert states[2] == "pushed"
    assert len(pipedrive.requests_to("create_activity")) == 2


@pytest.mark.slow("starts sync_gists as a process")
@pytest.mark.parametrize("after", [True, False], ids=["after processing", "before processing"])
def test_a_worker_killed_during_the_post_leaves_one_activity(
    after: bool, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, worker: Worker, sync: Sync
) -> None:
    gist_id = github.publish("ada")
    pipedrive.fail("create_activity", silence(30, after=after))
    process = worker()
    wait_until(lambda: pipedrive.counts["create_activity"] == 1)
    process.kill()
    process.wait()
    assert Gist.objects.get().push_state == "started"
    let_time_pass(timedelta(minutes=2))  # until the POST cannot leave any more

    sync()

    assert Gist.objects.get().push_state == "pushed"
    assert pipedrive.gist_ids() == [gist_id]


@pytest.mark.slow("starts sync_gists as a process")
def test_of_two_runs_at_the_same_time_one_does_all_the_work(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, worker: Worker, db: None
) -> None:
    track_people(github, 12, gists=1)
    github.hold.clear()
    workers = [worker(), worker()]
    wait_until(lambda: any(process.poll() is not None for process in workers))
    github.hold.set()

    outputs = [process.communicate() for process in workers]

    assert [process.returncode for process in workers] == [0, 0], outputs
    assert SyncRun.objects.count() == 1
    assert len(set(pipedrive.gist_ids())) == len(pipedrive.gist_ids()) == 12


def test_a_person_deleted_during_the_push_is_deleted_completely(
    ada: Person,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    api: APIClient,
    during_request: DuringRequest,
) -> None:
    github.publish("ada")
    track(github, "ben")
    ben_gist = github.publish("ben")
    during_request(pipedrive, "create_activity", lambda: api.delete("/api/v1/people/ada"))

    summary = sync("--concurrency", "1")

    assert summary.code == 0, summary
    assert list(Person.objects.values_list("github_username", flat=True)) == ["ben"]
    assert Gist.objects.get().github_id == ben_gist
    assert ben_gist in pipedrive.gist_ids()


def test_a_person_deleted_before_the_push_is_not_reported_as_a_failure(
    ada: Person,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    api: APIClient,
    during_request: DuringRequest,
) -> None:
    ada_gist = github.publish("ada")
    track(github, "ben", gists=1)
    during_request(pipedrive, "create_activity", lambda: api.delete("/api/v1/people/ben"))

    summary = sync("--concurrency", "1")

    assert (summary.code, summary.problems) == (0, [])
    assert pipedrive.gist_ids() == [ada_gist]


def test_a_failure_of_one_person_does_not_affect_another(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada")
    track(github, "ben")
    ben_gist = github.publish("ben")
    github.fail("gists", respond(200, '{"not": "a list"}'))

    summary = sync("--concurrency", "1")

    assert (summary.code, summary.json["outcome"]) == (0, "succeeded")
    assert pipedrive.gist_ids() == [ben_gist]
    assert "invalid body" in Person.objects.get(github_username="ada").last_error


def test_a_rejected_gist_does_not_block_the_next_one(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    rejected, accepted = github.publish("ada"), github.publish("ada")
    odd = respond(400, '{"success":false,"error":"subject is odd"}')
    pipedrive.fail("create_activity", odd)
    sync("--concurrency", "1")
    let_time_pass(timedelta(hours=1))
    pipedrive.fail("create_activity", odd)

    summary = sync()

    assert summary.counts["gists_rejected"] == 1
    assert dict(Gist.objects.values_list("github_id", "push_state")) == {rejected: "rejected", accepted: "pushed"}
    assert Gist.objects.get(github_id=rejected).push_error.endswith("returned 400: subject is odd")
