"""Who may use the API: keys, staff, strangers; and how often."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
import requests
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from people.models import ApiKey, Person, Visit
from tests.conftest import Sync
from tests.factories import publish
from tests.standins import GitHubStandIn

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _keys_are_wanted(settings: Settings) -> None:
    settings.API_AUTH = "key"


def client_with(**fields: object) -> APIClient:
    _, key = ApiKey.objects.create_key(**{"name": "Team", **fields})
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Api-Key {key}")
    return client


@pytest.mark.parametrize(
    "address",
    ["people", "people/ada", "people/ada/gists", "status", "sync-runs", "sync-runs/1"],
)
def test_without_a_key_nothing_is_shown(address: str, api: APIClient) -> None:
    answer = api.get(f"/api/v1/{address}")

    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, 'Api-Key realm="gisttracker"')


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"revoked": True}, "unknown or revoked"),
        ({"expiry_date": timezone.now() - timedelta(days=1)}, "expired on"),
    ],
)
def test_a_key_that_ended_is_refused_with_the_reason(fields: dict[str, object], says: str) -> None:
    answer = client_with(**fields).get("/api/v1/people")

    assert (answer.status_code, says in answer.json()["detail"]) == (401, True)
    assert "WWW-Authenticate" in answer


@pytest.mark.parametrize("given", ["Api-Key", "Api-Key x", "Api-Key abcdefgh.0", "Api-Key a b", "api-key \u00ff"])
def test_a_wrong_key_is_refused(given: str, api: APIClient) -> None:
    assert api.get("/api/v1/people", HTTP_AUTHORIZATION=given).status_code == 401


def test_a_read_only_key_reads() -> None:
    client = client_with(read_only=True)
    Person.objects.create(github_username="ada")

    assert client.get("/api/v1/people/ada").status_code == 200
    for answer in (
        client.post("/api/v1/people", {"username": "ben"}),
        client.post("/api/v1/people/bulk", ["ben"], format="json"),
        client.post("/api/v1/people/ada/sync"),
        client.patch("/api/v1/people/ada", {"state": "paused"}),
        client.delete("/api/v1/people/ada"),
    ):
        assert (answer.status_code, "read-only" in answer.json()["detail"]) == (403, True)
    assert Person.objects.get().github_username == "ada"


def test_two_keys_never_eat_each_other_s_news() -> None:
    one, other = client_with(name="One"), client_with(name="Other")
    publish(Person.objects.create(github_username="ada"), 2)

    shown = [len(client.get("/api/v1/people/ada").json()["gists"]) for client in (one, one, other)]

    assert shown == [2, 0, 2]
    assert Visit.objects.count() == 2


def test_staff_may_use_the_browser(client: Client) -> None:
    user = User.objects.create_user("grace", is_staff=True)
    Person.objects.create(github_username="ada")
    client.force_login(user)

    assert client.get("/api/v1/people/ada").status_code == 200
    assert client.post("/api/v1/people", {"username": "ben"}).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="change_person"))
    assert client.post("/api/v1/people", {"username": "ben"}).status_code == 201


def test_who_is_not_staff_sees_nothing(client: Client) -> None:
    client.force_login(User.objects.create_user("mallory"))

    assert client.get("/api/v1/people").status_code == 403


def test_only_the_hash_of_a_key_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("create_api_key", "Dashboard", "--read-only", "--expires", "2099-12-31")

    key = capsys.readouterr().out.split()[-1]

    row = ApiKey.objects.get()
    assert (row.name, row.read_only, f"{row.expiry_date:%Y-%m-%d}") == ("Dashboard", True, "2100-01-01")
    assert key.split(".")[1] not in str(vars(row))
    assert APIClient().get("/api/v1/people", HTTP_AUTHORIZATION=f"Api-Key {key}").status_code == 200


@pytest.mark.parametrize("arguments", [[""], ["x" * 51], ["x", "--expires", "soon"], ["x", "--expires", "2020-01-01"]])
def test_a_key_that_makes_no_sense_is_not_made(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("create_api_key", *arguments)

    assert not ApiKey.objects.exists()


def test_metrics_want_a_key_unless_they_are_public(api: APIClient, settings: Settings) -> None:
    refused = api.get("/metrics").status_code
    settings.METRICS_PUBLIC = True

    assert (refused, api.get("/metrics").status_code, client_with().get("/metrics").status_code) == (401, 200, 200)


def test_requests_are_limited_over_all_processes(serve: Callable[..., str]) -> None:
    _, key = ApiKey.objects.create_key(name="Busy")
    servers = [serve(API_REQUESTS_PER_MINUTE="6") for _ in range(2)]
    headers = {"Authorization": f"Api-Key {key}"}

    answers = [requests.get(f"{servers[n % 2]}/api/v1/people", headers=headers, timeout=10) for n in range(8)]

    assert [answer.status_code for answer in answers] == [200] * 6 + [429] * 2
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60


def test_strangers_cannot_try_keys_at_leisure(serve: Callable[..., str]) -> None:
    server = serve(ANONYMOUS_REQUESTS_PER_MINUTE="3")
    guesses = [{"Authorization": f"Api-Key abcdefgh.{number:032}"} for number in range(4)]

    answers = [requests.get(f"{server}/api/v1/people", headers=guess, timeout=10) for guess in guesses]

    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert "Retry-After" in answers[-1].headers


def test_logins_to_the_admin_are_limited(client: Client) -> None:
    User.objects.create_superuser("grace", password="right")
    wrong = {"username": "grace", "password": "wrong"}

    answers = [client.post("/admin/login/", wrong).status_code for _ in range(10)]
    client.post("/admin/login/", {"username": "grace", "password": "right"})

    assert answers[0] == 200
    assert answers[-1] == 429
    assert client.get("/admin/").status_code == 302


def test_visits_at_once_see_each_gist_once_while_syncs_store_500(
    serve: Callable[..., str], ada: Person, github: GitHubStandIn, sync: Sync
) -> None:
    _, key = ApiKey.objects.create_key(name="Team")
    _, other_key = ApiKey.objects.create_key(name="Other")
    Person.objects.update(backfill="none")
    server, finished = serve(API_REQUESTS_PER_MINUTE="0"), threading.Event()
    seen: dict[str, list[str]] = {key: [], other_key: []}

    def visit(mine: str) -> None:
        with requests.Session() as session:
            session.headers["Authorization"] = f"Api-Key {mine}"
            while True:
                last_round = finished.is_set()
                found = session.get(f"{server}/api/v1/people/ada?page_size=7", timeout=30).json()["gists"]
                seen[mine] += [gist["github_id"] for gist in found]
                session.get(f"{server}/api/v1/people/ada?since=0&page_size=3", timeout=30)  # moves nothing
                if last_round and not found:
                    return

    threads = [threading.Thread(target=visit, args=[one]) for one in [key] * 20 + [other_key] * 2]
    for thread in threads:
        thread.start()
    published = []
    for _ in range(5):
        published += [github.publish("ada") for _ in range(100)]
        sync("--max-activities", "1")
    finished.set()
    for thread in threads:
        thread.join()

    assert sorted(seen[key]) == sorted(seen[other_key]) == sorted(published)
