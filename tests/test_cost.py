"""What a run will cost at Pipedrive is known before the first push."""

import pytest
from pytest_django import Settings

from people.models import Gist, Person
from sync.run.dry_run import Cost, estimate
from tests.conftest import Sync
from tests.factories import create_gist, create_gists, create_person, track_people
from tests.standins import GitHubStandIn, PipedriveStandIn, respond

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("activities", "limit", "days"), [(0, 0, 0), (0, 5, 0), (1, 0, 1), (5, 5, 1), (6, 5, 2), (300, 100, 3)]
)
def test_the_days_follow_from_the_daily_limit(activities: int, limit: int, days: int) -> None:
    person = create_person(pipedrive_id=1)

    cost = estimate({person.pk: activities}, limit)

    assert (cost.activities, cost.days) == (activities, days)
    assert (cost.api_tokens == 0) == (activities == 0)


def test_a_dry_run_says_what_the_run_and_the_backlog_cost(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, configured: Settings
) -> None:
    configured.PIPEDRIVE_DAILY_ACTIVITIES = 4
    track_people(github, 3, gists=2)
    create_gists(create_person("waiting", state="paused"), 5)

    summary = sync("--dry-run")
    text = sync("--dry-run", as_json=False).output

    cost = summary.json["cost"]
    assert [cost[part]["activities"] for part in ("new gists", "backlog", "total")] == [6, 5, 11]
    assert [cost[part]["days"] for part in ("new gists", "backlog", "total")] == [2, 2, 3]
    assert (
        f"total: 11 activities, about {cost['total']['api_tokens']} tokens of Pipedrive's daily API budget, 3 days"
        in text
    )
    assert pipedrive.requests == []


@pytest.mark.slow("runs twice, with hundreds of requests")
def test_the_estimated_tokens_are_near_the_real_ones(
    github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    track_people(github, 10, gists=10)
    estimated = sync("--dry-run").json["cost"]["total"]["api_tokens"]

    sync()

    assert pipedrive.spent <= estimated <= 1.5 * pipedrive.spent
    assert Gist.objects.filter(push_state="pushed").count() == 100


def test_the_cost_of_one_person_leaves_out_the_others(github: GitHubStandIn, sync: Sync) -> None:
    track_people(github, 2, gists=2)
    create_gists(create_person("waiting", state="paused"), 5)

    cost = sync("--dry-run", "--person", "person-0").json["cost"]

    assert cost["total"]["activities"] == 2


def test_nothing_to_do_costs_nothing(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    github.fail("account", respond(404, '{"message": "Not Found", "documentation_url": "x"}'))

    assert sync("--dry-run").json["cost"]["total"] == Cost(0, 0, 0).as_dict()


@pytest.mark.slow("reads a list of hundreds of gists")
def test_a_dry_run_counts_no_stored_gist_of_a_long_list_as_new(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    ids = [github.publish("ada") for _ in range(501)]
    for gist_id in ids[:-1]:  # Lists begin with the newest.
        create_gist(ada, github_id=gist_id, push_state="pushed")

    assert "would store 1 new gist and create 1 activity" in sync("--dry-run").json["forecast"][0]
