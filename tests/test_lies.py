"""Lie, then truth: whatever is wrong in GitHub's responses, in whichever call, nothing is lost, doubled or gone."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest

from people.models import Gist, Person
from tests.conftest import Sync
from tests.factories import track, track_people
from tests.standins import Fault, GitHubStandIn, PipedriveStandIn, respond
from tests.standins.faults import cut_body, reset

pytestmark = pytest.mark.django_db(transaction=True)
HTML = {"content-type": "text/html"}
LIES: dict[str, Fault] = {
    "404 of GitHub": respond(404, '{"message": "Not Found", "documentation_url": "https://docs.github.com/rest"}'),
    "404 of a gateway": respond(404, "<html>no such route</html>", HTML),
    "410": respond(410, '{"message": "Gone"}'),
    "200 with an empty object": respond(200, "{}"),
    "200 with null": respond(200, "null"),
    "200 with an empty list": respond(200, "[]", {"etag": '"lie"'}),
    "200 with an empty body": respond(200, ""),
    "200 with a page of HTML": respond(200, "<html>Welcome</html>", HTML),
    "200 with a problem document": respond(200, '{"type": "about:blank", "title": "Bad gateway", "status": 502}'),
    "200 with half of a list": respond(200, '[{"id": "abc"'),
    "200 about another account": respond(200, '{"id": 999999, "login": "mallory", "type": "User", "public_gists": 0}'),
    "200 with numbers outside any range": respond(200, '{"id": 1e999, "login": "ada", "public_gists": -1}'),
    "204": respond(204),
    "304": respond(304),
    "301 in a circle": respond(301, "", {"location": "/user/1001"}),
    "400": respond(400, '{"message": "Bad Request"}'),
    "403": respond(403, '{"message": "Forbidden"}'),
    "406": respond(406, '{"message": "Not Acceptable"}'),
    "422": respond(422, '{"message": "Validation Failed"}'),
    "451": respond(451, '{"message": "Unavailable For Legal Reasons"}'),
    "500": respond(500, "{}"),
    "503 with a date beyond any": respond(503, "", {"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}),
    "body cut": cut_body(),
    "reset": reset(),
}
CALLS = {
    "profile by login": r"^/users/(?!ghost)[^/?]+\?",
    "profile by id": r"^/user/\d+\?",
    "first page": r"^/users/[^/]+/gists\?",
    "further page": r"^/user/\d+/gists\?",
}


def test_the_calls_cover_all_requests(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync) -> None:
    first_sync(github, pipedrive)
    sync("--max-activities", "1")
    a_day_passes(github, pipedrive)
    github.clear_requests()
    sync("--max-activities", "1")

    assert {request.operation for request in github.requests} == {"account_by_id", "gists"}


def first_sync(github: GitHubStandIn, pipedrive: PipedriveStandIn) -> None:
    """All people are linked, because searches have a low limit, which would make this test slow."""
    people = [*track_people(github, 7, gists=1), track(github, "prolific", gists=102, backfill="1")]
    for person in people:
        Person.objects.filter(pk=person.pk).update(pipedrive_id=pipedrive.add_person(person.github_username))


def a_day_passes(github: GitHubStandIn, pipedrive: PipedriveStandIn) -> None:
    """All people have a new gist, and everything that is checked daily or weekly is due."""
    past = timedelta(days=8)
    for person in Person.objects.all():
        for name in ("attempted_at", "polled_at", "full_pass_at", "full_read_at", "profile_checked_at"):
            moment = getattr(person, name)
            setattr(person, name, moment and moment - past)
        person.save()
        github.publish(person.github_username, "New")


@pytest.mark.parametrize("prepare", [first_sync, a_day_passes], ids=["first sync", "later"])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("lie", LIES)
def test_after_a_lie_and_the_truth_everything_is_as_without_the_lie(
    lie: str,
    call: str,
    prepare: Callable[[GitHubStandIn, PipedriveStandIn], None],
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
) -> None:
    if prepare is a_day_passes:
        first_sync(github, pipedrive)
        sync()
    prepare(github, pipedrive)
    requests = len(github.requests)
    github.fail_always(CALLS[call], LIES[lie])

    during = sync()
    states = set(Person.objects.values_list("state", flat=True))
    removed = Gist.objects.exclude(removed_at=None).count()
    paths = {request.path for request in github.requests[requests:] if re.search(CALLS[call], f"{request.path}?")}
    github.heal()
    after = sync()

    assert (states <= {"new", "active"}, removed) == (True, 0)
    is_credible = lie.startswith("304") and call == "profile by id"  # The request had an ETag.
    if len(paths) > 2 and not is_credible:  # A lie about one person is one person's trouble.
        assert during.code in (3, 78), during
        assert during.problems
    assert after.code == 0, after
    assert set(Person.objects.values_list("state", "failures", "lease_holder")) == {("active", 0, "")}
    expected = sorted(gist_id for person in Person.objects.all() for gist_id in github.gist_ids(person.github_username))
    assert sorted(Gist.objects.values_list("github_id", flat=True)) == expected
    exported = sorted(Gist.objects.exclude(push_state="skipped").values_list("github_id", flat=True))
    assert (sorted(pipedrive.gist_ids()), len(expected) - len(exported)) == (exported, 101)
