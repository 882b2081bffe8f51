"""The stand-ins are strict where the real APIs are."""

from typing import Any

import pytest
import requests

from tests.conftest import GITHUB_TOKEN, PIPEDRIVE_TOKEN
from tests.standins import GitHubStandIn, PipedriveStandIn


def post(standin: PipedriveStandIn, body: dict[str, Any]) -> requests.Response:
    return requests.post(
        f"{standin.url}/api/v2/activities", json=body, headers={"x-api-token": PIPEDRIVE_TOKEN}, timeout=60
    )


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"subject": "x", "person_id": 1}, "read-only"),
        ({"subject": "x", "custom": 1}, "'custom' is not allowed"),
        ({"subject": "x", "done": 1}, "done must be bool"),
        ({"subject": "x" * 256}, "too long"),
        ({"subject": "x"}, "participant"),
    ],
    ids=str,
)
def test_pipedrive_rejects_the_activities_that_the_real_api_rejects(
    pipedrive: PipedriveStandIn, body: dict[str, Any], error: str
) -> None:
    response = post(pipedrive, body)

    assert response.status_code == 400
    assert error in response.json()["error"]
    assert pipedrive.activities == {}


def test_both_stand_ins_check_their_tokens(pipedrive: PipedriveStandIn, github: GitHubStandIn) -> None:
    assert requests.get(f"{pipedrive.url}/api/v2/persons", timeout=60).status_code == 401
    wrong_token = {"Authorization": "Bearer wrong"}
    assert requests.get(f"{github.url}/users/ada", headers=wrong_token, timeout=60).status_code == 401


def test_github_counts_every_request_but_a_304_with_a_token(github: GitHubStandIn) -> None:
    github.add_account("ada")
    url = f"{github.url}/users/ada/gists"
    with_token = {"Authorization": f"Bearer {GITHUB_TOKEN}"}

    for headers in (with_token, {}):
        etag = requests.get(url, headers=headers, timeout=60).headers["ETag"]
        unchanged = requests.get(url, headers={**headers, "If-None-Match": etag}, timeout=60)
        assert unchanged.status_code == 304

    assert github.used == {True: 1, False: 2}
