"""GitHub gives wrong but plausible responses: nothing is concluded from them. After the truth, everything is right."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from rest_framework.test import APIClient

from people.models import Gist, Person
from tests.conftest import Sync
from tests.factories import let_time_pass
from tests.standins import Fault, GitHubStandIn, PipedriveStandIn, reset, respond

pytestmark = pytest.mark.django_db
NOT_FOUND = '{"message": "Not Found", "status": "404"}'
HOUR = timedelta(hours=1)  # Then a run believes what an earlier one has seen.


def track(github: GitHubStandIn, *logins: str, gists: int = 1) -> None:
    for login in logins:
        github.add_account(login)
        for number in range(gists):
            github.publish(login, f"Gist {number} of {login}")
        Person.objects.create(github_username=login)


def states() -> dict[str, str]:
    return dict(Person.objects.values_list("github_username", "state"))


def a_week_passes() -> None:
    past = datetime.now(UTC) - timedelta(days=8)
    Person.objects.update(full_read_at=past, attempted_at=past)


# --- a verdict about many people ---
@pytest.mark.parametrize("count", [1, 3, 20])
@pytest.mark.parametrize("is_known", [True, False], ids=["polled before", "new"])
def test_a_404_for_all_people_marks_none_as_gone(
    count: int, is_known: bool, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    track(github, *[f"person-{number}" for number in range(count)])
    if is_known:
        sync()
    before = states()
    github.fail("", respond(404, NOT_FOUND), times=9999)

    lie = sync("--full")
    github.heal()
    after_lie = states()
    truth = sync()

    assert (lie.code, after_lie) == (3, before)
    assert lie.json["requests"]["github"] <= 3 * count + 1  # No person is polled twice.
    assert lie.counts["people_gone"] == 0
    assert "GITHUB_API_URL" in " ".join(lie.problems)
    assert "GITHUB_TOKEN" in " ".join(lie.problems)
    assert (truth.code, set(states().values())) == (0, {"active"})
    assert len(pipedrive.gist_ids()) == len(set(pipedrive.gist_ids())) == count


@pytest.mark.parametrize("others", [0, 1, 30])
@pytest.mark.slow("two runs with many people")
def test_one_account_alone_may_be_gone(others: int, ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    track(github, *[f"person-{number}" for number in range(others)])
    sync()
    github.delete_account("ada")

    sync()
    let_time_pass(HOUR)
    summary = sync()

    assert (summary.code, summary.counts["people_gone"]) == (0, 1)
    assert list(states().values()).count("gone") == 1


@pytest.mark.parametrize(("gone", "people", "marked"), [(5, 6, 5), (6, 7, 0), (8, 40, 8), (9, 40, 0)])
def test_five_people_or_a_fifth_may_be_gone_but_not_more(
    gone: int, people: int, marked: int, github: GitHubStandIn, sync: Sync
) -> None:
    logins = [f"person-{number}" for number in range(people)]
    track(github, *logins, gists=0)
    sync()
    for login in logins[:gone]:
        github.delete_account(login)

    sync()
    let_time_pass(HOUR)
    summary = sync()

    assert (summary.code, summary.counts["people_gone"]) == (0 if marked else 3, marked)
    assert list(states().values()).count("gone") == marked


@pytest.mark.parametrize("status", [400, 403, 406, 410])
def test_the_same_rejection_of_all_people_counts_against_none(
    status: int, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    track(github, *[f"person-{number}" for number in range(12)])
    github.fail("", respond(status, '{"message": "no"}'), times=9999)

    lie = sync("--concurrency", "2")
    github.heal()
    blamed = Person.objects.filter(failures__gt=0).count()
    truth = sync()

    assert (lie.code, lie.json["outcome"], blamed) == (78, "misconfigured", 0)
    assert len(lie.problems) == 1
    assert f"returned {status}" in lie.problems[0]
    assert (truth.code, len(pipedrive.gist_ids())) == (0, 12)


def test_one_blocked_account_fails_alone(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    track(github, "ben")
    github.fail("account", respond(451, '{"message": "Repository access blocked", "block": {"reason": "dmca"}}'))

    summary = sync("--concurrency", "1")

    assert (summary.code, summary.counts["people_failed"]) == (0, 1)
    assert states() == {"ada": "new", "ben": "active"}
    assert "blocked" in Person.objects.get(github_username="ada").last_error


# --- identity ---
def test_a_renamed_person_is_followed_when_another_account_takes_the_login(
    ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada", "Hers")
    sync()
    github.rename("ada", "countess")
    github.add_account("ada")
    github.publish("ada", "Of another account")
    hers = github.publish("countess", "Hers, too")

    summary = sync()

    ada.refresh_from_db()
    assert (summary.code, ada.github_username, ada.state) == (0, "countess", "active")
    assert set(Gist.objects.values_list("description", flat=True)) == {"Hers", "Hers, too"}
    assert hers in pipedrive.gist_ids()


@pytest.mark.parametrize("gists", [0, 1])
def test_a_renamed_person_is_followed_within_a_week_when_they_have_no_gists(
    gists: int, ada: Person, github: GitHubStandIn, sync: Sync
) -> None:
    for _ in range(gists):
        github.publish("ada")
    sync()
    github.rename("ada", "countess")
    github.add_account("ada")
    a_week_passes()

    summary = sync()

    ada.refresh_from_db()
    assert (summary.code, ada.github_username, ada.state) == (0, "countess", "active")
    assert not Gist.objects.exclude(removed_at=None).exists()


@pytest.mark.parametrize("gists", [0, 2])
def test_two_people_who_swapped_their_logins_are_both_followed(
    gists: int, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    track(github, "ada", "ben", gists=gists)
    sync()
    ids = dict(Person.objects.values_list("github_username", "github_id"))
    github.rename("ada", "temporary")
    github.rename("ben", "ada")
    github.rename("temporary", "ben")
    a_week_passes()

    for _ in range(2):
        summary = sync("--concurrency", "1")

    assert summary.code == 0
    assert dict(Person.objects.values_list("github_username", "github_id")) == {"ada": ids["ben"], "ben": ids["ada"]}
    assert set(states().values()) == {"active"}
    assert len(pipedrive.activities) == 2 * gists


def test_a_redirected_login_is_stored(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    github.publish("ada")
    sync()
    github.rename("ada", "countess")
    account = next(iter(github.accounts))
    github.fail("gists", respond(301, "", {"location": f"/user/{account}/gists?per_page=100"}))

    sync()

    assert Person.objects.get().github_username == "countess"


def test_an_account_that_became_an_organisation_is_gone_within_a_day(
    ada: Person, github: GitHubStandIn, sync: Sync
) -> None:
    track(github, "ben")
    sync()
    next(iter(github.accounts.values())).type = "Organization"
    a_week_passes()

    sync()
    let_time_pass(HOUR)
    sync("--full")

    ada.refresh_from_db()
    assert (ada.state, "organisation" in ada.last_error) == ("gone", True)


# --- lists ---
def link(path: str) -> dict[str, str]:
    return {"link": f'<{path}>; rel="next"'}


CUTS: dict[str, Fault] = {
    "500": respond(500, "{}"),
    "502 html": respond(502, "<html>", {"content-type": "text/html"}),
    "403": respond(403, '{"message": "Forbidden"}'),
    "404": respond(404, NOT_FOUND),
    "422 of another kind": respond(422, '{"message": "Validation Failed"}'),
    "html": respond(200, "<html>", {"content-type": "text/html"}),
    "object": respond(200, "{}"),
    "null": respond(200, "null"),
    "empty body": respond(200, ""),
    "reset": reset(),
    "same page again": respond(200, "[]", link("/user/1001/gists?per_page=100&page=2")),
}


@pytest.mark.parametrize("backfill", ["all", "none"])
@pytest.mark.parametrize("cut", CUTS)
def test_a_list_that_is_cut_short_decides_nothing(
    cut: str, backfill: str, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    Person.objects.update(backfill=backfill)
    for number in range(103):
        github.publish("ada", f"Gist {number}")
    github.fail("gists", CUTS[cut], nth=2, times=10)

    lie = sync("--max-activities", "2")
    github.heal()
    ada.refresh_from_db()
    during = (ada.etag, ada.full_read_at, ada.polled_at)
    sync("--max-activities", "3")
    sync("--max-activities", "3")

    assert (lie.code, during) == (3, ("", None, None))
    assert "could not be read to its end" in lie.problems[0]
    assert Gist.objects.count() == 103
    wanted = {"all": 103, "none": 0}[backfill]
    assert Gist.objects.exclude(push_state="skipped").count() == wanted


def test_links_that_never_end_stop_the_reading(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    sync()
    gist: dict[str, object] = {"html_url": "https://x.test/a", "git_pull_url": "https://x.test/a", "files": {}}
    gist |= {"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}
    owner = {"id": next(iter(github.accounts)), "login": "ada"}
    for number in range(200):
        body = json.dumps([{**gist, "id": f"{number:x}", "owner": owner}])
        page = respond(200, body, link(f"/user/{owner['id']}/gists?page={number + 2}"))
        github.fail("gists", page, nth=number + 1)

    summary = sync()

    assert summary.code == 3
    assert github.counts["gists"] <= 40
    assert "do not end" in Person.objects.get().last_error


@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_list_that_is_empty_for_a_moment_removes_nothing(
    times: int, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    for _ in range(3):
        github.publish("ada")
    sync()
    github.edit("ada", next(iter(next(iter(github.accounts.values())).gists)), description="Changed")
    github.fail("gists", respond(200, "[]", {"etag": '"empty"'}), times=times)

    for _ in range(times):
        sync()
        assert not Gist.objects.exclude(removed_at=None).exists()
    sync()

    assert not Gist.objects.exclude(removed_at=None).exists()
    assert Gist.objects.filter(description="Changed").exists()
    assert len(pipedrive.activities) == 3


def test_a_person_who_removed_all_gists_has_none(ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    ids = [github.publish("ada") for _ in range(2)]
    sync()
    for gist_id in ids:
        github.remove("ada", gist_id)

    summary = sync()

    assert (summary.code, summary.counts["gists_removed"]) == (0, 2)


# --- odd gists ---
def odd(**fields: object) -> dict[str, object]:
    return fields


ODD_GISTS: dict[str, dict[str, object]] = {
    "no date": odd(created_at=None),
    "no zone": odd(created_at="2026-01-01T00:00:00"),
    "year 0": odd(updated_at="0000-01-01T00:00:00Z"),
    "year 9999": odd(updated_at="9999-12-31T23:59:59Z"),
    "no files": odd(files=None),
    "files as a list": odd(files=[]),
    "file without a name": odd(files={"a": {"raw_url": "https://x.test/a"}}),
    "file without a URL": odd(files={"a": {"filename": "a", "raw_url": None}}),
    "script URL of a file": odd(files={"a": {"filename": "a", "raw_url": "javascript:alert(1)"}}),
    "huge size": odd(files={"a": {"filename": "a", "raw_url": "https://x.test/a", "size": 10**30}}),
    "script URL": odd(html_url="javascript:alert(1)"),
    "no URL": odd(html_url=None),
    "long URL": odd(html_url="https://x.test/" + "a" * 600),
    "surrogate": odd(description="half \ud83d"),
    "number as a description": odd(description=7),
    "text as a flag": odd(truncated="perhaps"),
    "number as an id": odd(id=5),
    "id with a slash": odd(id="../../x"),
    "huge owner id": odd(owner={"id": 2**70, "login": "ada"}),
}


@pytest.mark.parametrize("name", ODD_GISTS)
def test_one_odd_gist_is_set_aside_and_the_others_go_on(
    name: str,
    ada: Person,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    api: APIClient,
    admin_client: Client,
) -> None:
    first = github.publish("ada", "First")
    odd_id = github.publish("ada", "Odd")
    next(iter(github.accounts.values())).gists[odd_id].update(ODD_GISTS[name])
    last = github.publish("ada", "Last")

    summary = sync()
    again = sync("--full")

    person = api.get("/api/v1/people?search=ada").json()["results"][0]
    page = admin_client.get(f"/admin/people/person/{ada.pk}/change/").content.decode()
    assert (summary.code, again.code) == (0, 0)
    assert sorted(pipedrive.gist_ids()) == sorted([first, last])
    assert len(person["unreadable_gists"]) == 1
    assert person["unreadable_gists"][0]["reason"]
    assert "reason" in page
    assert Person.objects.get().full_read_at is not None
    assert not Gist.objects.exclude(removed_at=None).exists()


@pytest.mark.parametrize("item", [None, 5, "text", [], {}], ids=str)
def test_an_item_that_is_no_gist_is_set_aside(item: object, ada: Person, github: GitHubStandIn, sync: Sync) -> None:
    github.fail("gists", respond(200, json.dumps([item])))

    summary = sync()

    assert summary.code == 0
    assert len(Person.objects.get().unreadable_gists or []) == 1


def test_a_stored_gist_that_becomes_odd_is_neither_changed_nor_removed(
    ada: Person, github: GitHubStandIn, sync: Sync
) -> None:
    gist_id = github.publish("ada", "Fine")
    sync()
    github.edit("ada", gist_id, description="Edited", created_at=None)

    sync()

    gist = Gist.objects.get()
    assert (gist.description, gist.removed_at) == ("Fine", None)
