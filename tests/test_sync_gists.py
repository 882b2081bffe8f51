"""The main job, end to end, against real HTTP servers and a real database."""

import pytest
from rest_framework.test import APIClient

from people.models import Gist, Person
from sync.models import SyncRun
from tests.conftest import Sync
from tests.standins import GitHubStandIn, PipedriveStandIn

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_gist_becomes_one_activity(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    gist_id = github.publish("ada", "Notes on the Analytical Engine")

    summary = sync()

    assert summary.code == 0, summary
    assert pipedrive.gist_ids() == [gist_id]
    gist = Gist.objects.get()
    assert (gist.push_state, gist.github_id) == ("pushed", gist_id)
    assert pipedrive.activities[gist.pipedrive_activity_id or 0]["subject"] == "Notes on the Analytical Engine"


def test_a_second_sync_asks_once_per_person_and_sends_nothing(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada")
    sync()
    paid = github.used[True]
    github.clear_log()
    pipedrive.clear_log()

    summary = sync()

    assert [(one.act, "if-none-match" in one.headers) for one in github.asked] == [("gists", True)]
    assert github.used[True] == paid
    assert pipedrive.asked == []
    assert summary.counts["people_unchanged"] == 1
