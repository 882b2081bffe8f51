"""The stand-ins are strict where the real APIs are."""

from typing import Any

import pytest
import requests

from tests.conftest import GITHUB_TOKEN, PIPEDRIVE_TOKEN
from tests.standins import GitHubStandIn, PipedriveStandIn


def post(standin: PipedriveStandIn, body: dict[str, Any]) -> requests.Response:
    return requests.post(
        f"{standin.url}/api/v2/activities", json=body, headers={"x-api-token": PIPEDRIVE_TOKEN}, timeout=5
    )


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"subject": "x", "person_id": 1}, "read-only"),
        ({"subject": "x", "custom": 1}, "'custom' is not allowed"),
        ({"subject": "x", "done": 1}, "done must be bool"),
        ({"subject": "x" * 256}, "too long"),
        ({"subject": "x"}, "participant"),
    ],
    ids=str,
)
def test_pipedrive_refuses_what_the_real_one_refuses(
    pipedrive: PipedriveStandIn, body: dict[str, Any], says: str
) -> None:
    answer = post(pipedrive, body)

    assert answer.status_code == 400
    assert says in answer.json()["error"]
    assert pipedrive.activities == {}


def test_both_check_their_tokens(pipedrive: PipedriveStandIn, github: GitHubStandIn) -> None:
    assert requests.get(f"{pipedrive.url}/api/v2/persons", timeout=5).status_code == 401
    bad = {"Authorization": "Bearer wrong"}
    assert requests.get(f"{github.url}/users/ada", headers=bad, timeout=5).status_code == 401


def test_github_charges_for_everything_but_an_authorized_304(github: GitHubStandIn) -> None:
    github.add_account("ada")
    url = f"{github.url}/users/ada/gists"
    known = {"Authorization": f"Bearer {GITHUB_TOKEN}"}

    for headers in (known, {}):
        etag = requests.get(url, headers=headers, timeout=5).headers["ETag"]
        again = requests.get(url, headers={**headers, "If-None-Match": etag}, timeout=5)
        assert again.status_code == 304

    assert github.used == {True: 1, False: 2}
