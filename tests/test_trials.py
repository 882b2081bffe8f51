"""The stand-ins of the trials on a cluster, and the check that each trial ends with."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import requests

from sync.clients.github import GitHubClient, stream_url
from tests.conftest import GITHUB_TOKEN, PIPEDRIVE_TOKEN
from tests.standins import PipedriveStandIn, check, publish
from tests.standins.crowded import STRANGER, CrowdedGitHub

LOGIN = "kills-17-1-has-120-gists"
HEADERS = {"x-api-token": PIPEDRIVE_TOKEN}


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch, pipedrive: PipedriveStandIn) -> Iterator[CrowdedGitHub]:
    with CrowdedGitHub(tokens=(GITHUB_TOKEN,)) as github:
        monkeypatch.setenv("GITHUB_TOKEN", GITHUB_TOKEN)
        monkeypatch.setenv("PIPEDRIVE_TOKEN", PIPEDRIVE_TOKEN)
        monkeypatch.setattr(check, "GITHUB_URL", github.url)
        monkeypatch.setattr(check, "PIPEDRIVE_URL", pipedrive.url)
        yield github


def get_profile(github: CrowdedGitHub, login: str) -> requests.Response:
    return requests.get(f"{github.url}/users/{login}", headers={"authorization": f"Bearer {GITHUB_TOKEN}"}, timeout=60)


def create_activities(pipedrive: PipedriveStandIn, links: list[str]) -> None:
    """One activity for each link, as the service would create it."""
    row = requests.post(f"{pipedrive.url}/api/v2/persons", json={"name": "Kay"}, headers=HEADERS, timeout=60)
    participants = [{"person_id": row.json()["data"]["id"], "primary": True}]
    for link in links:
        body = {"subject": "Gist", "note": f'<a href="{link}">gist</a>', "participants": participants}
        requests.post(f"{pipedrive.url}/api/v2/activities", json=body, headers=HEADERS, timeout=60).raise_for_status()


def test_an_account_is_there_with_as_many_gists_as_its_login_says(github: CrowdedGitHub) -> None:
    assert get_profile(github, LOGIN).json()["public_gists"] == 120
    assert get_profile(github, LOGIN.upper().replace("HAS", "has").replace("GISTS", "gists")).status_code == 200
    assert len(github.accounts) == 1


def test_other_accounts_are_not_invented(github: CrowdedGitHub) -> None:
    assert get_profile(github, "ada").status_code == 404


def test_who_publishes_by_hand_is_in_the_stream_now_among_others(
    github: CrowdedGitHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(publish, "GITHUB_URL", github.url)
    github.add_account("ada")
    client = GitHubClient(github.url, GITHUB_TOKEN)
    began_at = datetime.now(UTC).replace(microsecond=0)

    publish.main("ada", "Notes & more")

    page = client.get_stream_page(stream_url(began_at))
    (gist_id,) = github.gist_ids("ada")
    assert capsys.readouterr().out == f"ada has published https://gist.github.com/ada/{gist_id}\n"
    assert {entry.owner.login for entry in page.entries if entry.owner} == {STRANGER, "ada"}
    assert github.accounts[1001].gists[gist_id]["description"] == "Notes & more"
    assert requests.post(f"{github.url}/users/ben/gists", timeout=60).status_code == 404


@pytest.mark.parametrize(
    ("with_one", "with_two", "code", "printed"),
    [
        (120, 0, 0, "120 gists: 120 with one activity, 0 without, 0 with more than one"),
        (119, 0, 1, "120 gists: 119 with one activity, 1 without, 0 with more than one"),
        (119, 1, 2, "120 gists: 119 with one activity, 0 without, 1 with more than one"),
        (0, 0, 1, "120 gists: 0 with one activity, 120 without, 0 with more than one"),
    ],
)
def test_the_check_counts_the_activities_of_each_gist(
    github: CrowdedGitHub,
    pipedrive: PipedriveStandIn,
    capsys: pytest.CaptureFixture[str],
    with_one: int,
    with_two: int,
    code: int,
    printed: str,
) -> None:
    get_profile(github, LOGIN)
    links = [f"https://gist.github.com/{LOGIN}/{gist_id}" for gist_id in github.gist_ids(LOGIN)]
    create_activities(pipedrive, links[: with_one + with_two] + links[with_one : with_one + with_two])

    assert check.main([LOGIN]) == code
    assert capsys.readouterr().out == printed + "\n"


def test_a_check_of_no_gists_fails(github: CrowdedGitHub) -> None:
    assert check.main([]) == 1
