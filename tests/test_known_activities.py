"""People are deleted, or forgotten, at the worst moment, and added again: no gist gets a second activity, or none."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient

from people.models import Gist, KnownActivity, Person, Suppressed
from tests.conftest import Sync
from tests.factories import let_time_pass, track
from tests.standins import GitHubStandIn, PipedriveStandIn, reset, respond, respond_after
from tests.standins.faults import Fault

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]
PEOPLE = "/admin/people/person/"


class Users:
    """What users do, who forget people in the API and in the admin, and add them again."""

    def __init__(self, api: APIClient, admin: Client) -> None:
        self.api, self.admin = api, admin

    def delete_by_api(self) -> None:
        assert self.api.delete("/api/v1/people/ada").status_code == 204
        assert self.api.post("/api/v1/people", {"username": "ada"}).status_code == 201

    def delete_in_admin(self) -> None:
        self._confirm(f"{PEOPLE}{_key_of_ada()}/delete/")
        self.admin.post(f"{PEOPLE}add/", {"github_username": "ada"})

    def delete_in_bulk(self) -> None:
        self._confirm(PEOPLE, action="stop_tracking", _selected_action=[_key_of_ada()])
        assert self.api.post("/api/v1/people/bulk", ["ada"], format="json").json()["created"] == 1

    def forget_by_api(self) -> None:
        assert self.api.delete("/api/v1/people/ada?forget=true").status_code == 204
        self._allow_again()

    def forget_in_admin(self) -> None:
        self._confirm(PEOPLE, action="forget_people", _selected_action=[_key_of_ada()])
        self._allow_again()

    def _confirm(self, page: str, **fields: Any) -> None:
        assert self.admin.post(page, {**fields, "confirmed": "yes"}).status_code == 302

    def _allow_again(self) -> None:
        Suppressed.objects.all().delete()
        assert self.api.post("/api/v1/people", {"username": "ada"}).status_code == 201


def _key_of_ada() -> int:
    return Person.objects.get(username_key="ada").pk


WAYS = [Users.delete_by_api, Users.delete_in_admin, Users.delete_in_bulk, Users.forget_by_api, Users.forget_in_admin]


@pytest.fixture
def users(api: APIClient, admin_client: Client) -> Users:
    return Users(api, admin_client)


def is_added_again(users: Users, way: Callable[[Users], None]) -> Callable[[], None]:
    """The act, which leaves a new person here."""

    def act() -> None:
        before = _key_of_ada()
        way(users)
        assert _key_of_ada() != before

    return act


# --- the moments ---
# Each begins with three gists to push; `act` deletes Ada and adds her again.
Moment = Callable[[GitHubStandIn, PipedriveStandIn, Sync, Callable[[], None]], None]


def in_flight(operation: str, fault: Fault | None = None) -> Moment:
    """During the first request of this operation, which is answered, or ends with this fault."""

    def play(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, act: Callable[[], None]) -> None:
        pipedrive.fail(operation, respond_after(act, fault))
        sync()

    return play


def after_an_unknown_outcome(operation: str) -> Moment:
    def play(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, act: Callable[[], None]) -> None:
        pipedrive.fail(operation, reset(after=True))
        sync()
        act()

    return play


def after_all(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, act: Callable[[], None]) -> None:
    sync()
    act()


def after_the_first(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, act: Callable[[], None]) -> None:
    sync("--max-activities", "1")
    act()


def after_a_merge(github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync, act: Callable[[], None]) -> None:
    """Ada has two accounts, and a colleague has merged her contacts."""
    track(github, "countess", gists=2)
    sync()
    ada, countess = Person.objects.order_by("username_key")
    pipedrive.merge_person(ada.pipedrive_id or 0, into=countess.pipedrive_id or 0)
    act()


REFUSED = respond(400, '{"success": false, "error": "no"}')
MOMENTS: dict[str, Moment] = {
    "POST in flight": in_flight("create_activity"),
    "POST in flight, refused": in_flight("create_activity", REFUSED),
    "POST in flight, unknown outcome": in_flight("create_activity", reset(after=True)),
    "POST in flight, not processed": in_flight("create_activity", reset()),
    "unknown outcome": after_an_unknown_outcome("create_activity"),
    "all are pushed": after_all,
    "one is pushed": after_the_first,
    "merged contacts": after_a_merge,
    "person's search in flight": in_flight("search_persons"),
    "person's POST in flight": in_flight("create_person"),
    "person's POST in flight, unknown outcome": in_flight("create_person", reset(after=True)),
    "person's POST in flight, refused": in_flight("create_person", REFUSED),
    "person's POST with unknown outcome": after_an_unknown_outcome("create_person"),
}


@pytest.mark.slow("several whole runs")
@pytest.mark.parametrize("lags", [True, False], ids=["lists lag", "lists are right"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("moment", MOMENTS)
def test_each_gist_of_a_person_who_is_added_again_has_one_activity(
    moment: str,
    way: Callable[[Users], None],
    lags: bool,
    ada: Person,
    users: Users,
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    settings: Settings,
) -> None:
    settings.SETTLE_SECONDS = 120
    for number in range(3):
        github.publish("ada", f"Gist {number}")
    Person.objects.update(backfill="all")
    if lags:
        pipedrive.lists_until, pipedrive.search_lags = 0, True

    MOMENTS[moment](github, pipedrive, sync, is_added_again(users, way))
    pipedrive.heal()
    sync()
    pipedrive.lists_until, pipedrive.search_lags = None, False
    let_time_pass(timedelta(hours=4))
    Person.objects.update(next_push_at=None, next_attempt_at=None)
    for _ in range(2):
        after = sync()

    assert Counter(pipedrive.gist_ids()) == Counter(Gist.objects.values_list("github_id", flat=True))
    assert set(Gist.objects.values_list("push_state", flat=True)) == {"pushed"}
    assert (Gist.objects.filter(person=_key_of_ada()).count(), after.problems) == (3, [])
    assert not KnownActivity.objects.exists()
    if moment.startswith("person") or not lags:  # What was created just before is found by lists only.
        assert len([row for row in pipedrive.persons.values() if not row["is_deleted"]]) == 1
