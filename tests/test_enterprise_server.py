"""GitHub Enterprise Server: an API below a path, an older version, another host; and no token over plain HTTP."""

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from gisttracker.config.parsers import is_plain_http
from people.models import Gist, Person
from people.models.github_names import parse_login
from tests.conftest import GITHUB_TOKEN, Sync
from tests.factories import create_person
from tests.standins import GitHubStandIn, PipedriveStandIn

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def enterprise(configured: Settings) -> Iterator[GitHubStandIn]:
    with GitHubStandIn(tokens=(GITHUB_TOKEN,), prefix="/api/v3") as server:
        server.versions = ("2022-11-28",)
        configured.GITHUB_API_URL = server.url
        yield server


def test_people_of_a_github_enterprise_server_are_synced(
    enterprise: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    enterprise.add_account("ada")
    create_person("ada")
    for number in range(201):  # three pages, whose links contain the path of the API
        enterprise.publish("ada", f"Gist {number}")

    first = sync("--max-activities", "1")
    unchanged = sync("--max-activities", "1")
    enterprise.rename("ada", "countess")
    enterprise.publish("countess", "New")
    renamed = sync("--max-activities", "1")

    assert (first.counts["gists_new"], unchanged.counts["people_unchanged"]) == (201, 1)
    assert (renamed.counts["gists_new"], Gist.objects.count()) == (1, 202)
    assert Person.objects.get().github_username == "countess"


def test_an_unsupported_version_is_named(enterprise: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync) -> None:
    enterprise.versions = ("2030-01-01",)
    for number in range(6):
        create_person(f"person-{number}")

    summary = sync()

    assert summary.code == 78
    assert "supports API version 2022-11-28" in summary.problems[0]


@pytest.mark.parametrize(
    ("api_url", "text"),
    [
        ("https://git.example.com/api/v3", "https://git.example.com/ada"),
        ("https://git.example.com/api/v3", "git.example.com/ada?tab=repositories"),
        ("https://GIT.example.com:8443/api/v3/", "https://git.EXAMPLE.com/ada/"),
        ("https://api.octo.ghe.com", "https://octo.ghe.com/ada"),
        ("https://api.github.com", "https://github.com/ada"),
        ("https://git.example.com/api/v3", "@ada"),
    ],
)
def test_a_profile_url_of_the_configured_host_is_understood(api_url: str, text: str, settings: Settings) -> None:
    settings.GITHUB_API_URL = api_url

    assert parse_login(text) == "ada"


@pytest.mark.parametrize(
    ("api_url", "text"),
    [
        ("https://git.example.com/api/v3", "https://github.com/ada"),
        ("https://api.github.com", "https://git.example.com/ada"),
        ("https://api.octo.ghe.com", "https://other.ghe.com/ada"),
    ],
)
def test_a_profile_url_of_another_host_is_refused_with_the_host(api_url: str, text: str, settings: Settings) -> None:
    settings.GITHUB_API_URL = api_url

    with pytest.raises(ValueError, match="is not a profile on"):
        parse_login(text)


@pytest.mark.parametrize("name", ["GITHUB", "PIPEDRIVE"])
def test_a_token_is_not_sent_over_plain_http(
    name: str, sync: Sync, configured: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    setattr(configured, f"{name}_API_URL", "http://api.example.test")

    summary = sync()

    assert summary.code == 78
    assert f"{name}_TOKEN would be sent unencrypted" in summary.errors


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.github.com", False),
        ("http://127.0.0.1:8081", False),
        ("http://127.8.9.1", False),
        ("http://[::1]:1", False),
        ("http://localhost:80/api/v3", False),
        ("http://api.github.com", True),
        ("HTTP://api.github.com", True),
        ("http://127.0.0.1.evil.test", True),
        ("http://10.0.0.1", True),
        ("http://localhost.evil.test", True),
    ],
)
def test_loopback_addresses_need_no_encryption(url: str, expected: bool) -> None:
    assert is_plain_http(url) is expected
