"""Lie, then truth: whatever is wrong in GitHub's responses, in whichever call, nothing is lost, doubled or gone.

`make test` tells each lie that a client cannot recognize in each call, and every other lie in one call; `make proof`
tells every lie in every call. What the client makes of each lie is in `test_client_faults.py`.
"""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest

from people.models import Gist, Person
from tests.conftest import Sync
from tests.factories import track, track_people
from tests.faults import GITHUB_LIES
from tests.standins import GitHubStandIn, PipedriveStandIn

pytestmark = pytest.mark.django_db
CALLS = {
    "profile by login": r"^/users/[^/?]+\?",
    "profile by id": r"^/user/\d+\?",
    "first page": r"^/users/[^/]+/gists\?",
    "further page": r"^/user/\d+/gists\?",
}
# Well-formed responses, of which a client cannot know that they are wrong.
CREDIBLE = {"404 of GitHub", "200 with an empty list", "200 about another account", "304"}


def test_the_calls_cover_all_requests(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync) -> None:
    first_sync(github, pipedrive)
    sync("--max-activities", "1")
    a_day_passes(github, pipedrive)
    github.clear_requests()
    sync("--max-activities", "1")

    assert {request.operation for request in github.requests} == {"account_by_id", "gists"}


def first_sync(github: GitHubStandIn, pipedrive: PipedriveStandIn) -> None:
    """All people are linked, because searches have a low limit, which would make this test slow."""
    people = [*track_people(github, 7, gists=1), track(github, "prolific", gists=1, backfill="2026-01-01")]
    for number in range(101):
        github.publish("prolific", f"Old gist {number}", created_at="2025-06-01T00:00:00Z")
    for person in people:
        Person.objects.filter(pk=person.pk).update(pipedrive_id=pipedrive.add_person(person.github_username))


def a_day_passes(github: GitHubStandIn, pipedrive: PipedriveStandIn) -> None:
    """All people have a new gist, and everything that is checked weekly is due."""
    past = timedelta(days=8)
    for person in Person.objects.all():
        for name in ("attempted_at", "polled_at", "full_read_at"):
            moment = getattr(person, name)
            setattr(person, name, moment and moment - past)
        person.save()
        github.publish(person.github_username, "New")


STEPS = [
    (first_sync, "profile by login"),
    (first_sync, "first page"),
    (first_sync, "further page"),
    (a_day_passes, "profile by id"),
    (a_day_passes, "first page"),
    (a_day_passes, "further page"),
]


def is_selected(lie: str, step: int) -> bool:
    """Is this case a part of `make test`?"""
    return lie in CREDIBLE or list(GITHUB_LIES).index(lie) % len(STEPS) == step


def test_the_selection_has_every_step_and_every_lie() -> None:
    selected = [(lie, step) for lie in GITHUB_LIES for step in range(len(STEPS)) if is_selected(lie, step)]

    assert {lie for lie, _ in selected} == set(GITHUB_LIES)
    assert {step for _, step in selected} == set(range(len(STEPS)))


@pytest.mark.slow("one of many whole runs")
@pytest.mark.parametrize(
    ("lie", "prepare", "call"),
    [
        pytest.param(
            lie,
            prepare,
            call,
            id=f"{lie}-{prepare.__name__}-{call}",
            marks=[] if is_selected(lie, step) else pytest.mark.proof,
        )
        for lie in GITHUB_LIES
        for step, (prepare, call) in enumerate(STEPS)
    ],
)
def test_after_a_lie_and_the_truth_everything_is_as_without_the_lie(
    lie: str,
    prepare: Callable[[GitHubStandIn, PipedriveStandIn], None],
    call: str,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
) -> None:
    if prepare is a_day_passes:
        first_sync(github, pipedrive)
        sync()
    prepare(github, pipedrive)
    requests = len(github.requests)
    github.fail_always(CALLS[call], GITHUB_LIES[lie])

    during = sync()
    states = set(Person.objects.values_list("state", flat=True))
    removed = Gist.objects.exclude(removed_at=None).count()
    paths = {request.path for request in github.requests[requests:] if re.search(CALLS[call], f"{request.path}?")}
    github.heal()
    after = sync()

    assert paths, "the call was not made"
    assert (states <= {"new", "active"}, removed) == (True, 0)
    is_credible = lie.startswith("304") and call == "profile by id"  # The request had an ETag.
    if len(paths) > 2 and not is_credible:  # A lie about one person is one person's trouble.
        assert during.code in (3, 78), during
        assert during.problems
    assert after.code == 0, after
    assert set(Person.objects.values_list("state", "failures")) == {("active", 0)}
    expected = sorted(gist_id for person in Person.objects.all() for gist_id in github.gist_ids(person.github_username))
    assert sorted(Gist.objects.values_list("github_id", flat=True)) == expected
    exported = sorted(Gist.objects.exclude(push_state="skipped").values_list("github_id", flat=True))
    assert (sorted(pipedrive.gist_ids()), len(expected) - len(exported)) == (exported, 101)
