"""Both clients against realistic responses: what they send, and how they classify what they receive."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
import requests_mock

from sync.clients.boot_clock import boot_clock
from sync.clients.errors import (
    CircuitOpenError,
    ConfigurationError,
    CredentialsError,
    InvalidResponseError,
    NotFoundError,
    NotSentError,
    OutageError,
    OutcomeUnknownError,
    RejectedError,
    RepeatedServerError,
    RetryNextRunError,
    RunStoppedError,
    SyncError,
)
from sync.clients.github import GitHubClient
from sync.clients.pipedrive import PipedriveClient
from sync.clients.pipedrive_records import NewActivity
from sync.clients.session import new_session
from sync.clients.transport import Timing

GITHUB = "https://api.github.test"
REFUSAL = {"success": False, "error": "no"}  # Pipedrive's own
NO_WAITS = Timing(retry=0.0, burst_pause=0.0, secondary_pause=0.0)
PIPEDRIVE = "https://company.pipedrive.test"
GISTS = f"{GITHUB}/users/ada/gists?per_page=100"
ACTIVITY = NewActivity("Notes", "task", True, "2026-01-01", "12:00", "<p>Notes</p>")
ITEM = {
    "id": "aa11",
    "html_url": "https://gist.github.com/ada/aa11",
    "git_pull_url": "https://gist.github.com/aa11.git",
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
    "files": {"n.md": {"filename": "n.md", "raw_url": "https://x.test/n.md", "language": None, "size": 3}},
    "description": None,
    "public": True,
    "truncated": False,
    "owner": {"id": 7, "login": "ada"},
}


@pytest.fixture
def http() -> Iterator[requests_mock.Mocker]:
    with requests_mock.Mocker() as mocker:
        yield mocker


@pytest.fixture
def github() -> GitHubClient:
    return GitHubClient(GITHUB, "gh-secret", requests_per_minute=1_000_000, timing=NO_WAITS)


@pytest.fixture
def pipedrive() -> PipedriveClient:
    return PipedriveClient(PIPEDRIVE, "pd-secret", timing=NO_WAITS)


def last_request(http: requests_mock.Mocker) -> Any:
    return http.request_history[-1]


def test_a_request_to_github_has_the_documented_headers(http: requests_mock.Mocker, github: GitHubClient) -> None:
    http.get(GISTS, json=[])

    github.get_first_page("ada", 'W/"etag"')

    headers = last_request(http).headers
    assert headers["Authorization"] == "Bearer gh-secret"
    assert headers["X-GitHub-Api-Version"] == "2026-03-10"
    assert headers["If-None-Match"] == 'W/"etag"'
    assert headers["User-Agent"] == "gisttracker"
    assert last_request(http).timeout == (5, 20)


def test_a_page_has_the_public_gists_the_etag_and_the_next_url(
    http: requests_mock.Mocker, github: GitHubClient
) -> None:
    link = f'<{GITHUB}/user/7/gists?page=2>; rel="next", <{GITHUB}/user/7/gists?page=9>; rel="last"'
    http.get(GISTS, json=[ITEM, {**ITEM, "id": "bb22", "public": False}], headers={"ETag": 'W/"1"', "Link": link})

    page = github.get_first_page("ada")

    assert [gist.id for gist in page.gists] == ["aa11"]
    assert (page.etag, page.next_url) == ('W/"1"', f"{GITHUB}/user/7/gists?page=2")


def test_a_304_means_that_the_list_is_unchanged(http: requests_mock.Mocker, github: GitHubClient) -> None:
    http.get(GISTS, status_code=304)

    assert github.get_first_page("ada", '"1"').unchanged


def test_the_etag_scope_depends_on_the_token(github: GitHubClient) -> None:
    with_another_token = GitHubClient(GITHUB, "another", requests_per_minute=1_000_000)

    assert github.etag_scope != with_another_token.etag_scope
    assert "gh-secret" not in github.etag_scope


@pytest.mark.parametrize("url", ["https://evil.test/page2", "http://api.github.test/page2", "//evil.test/x"])
def test_a_link_to_another_host_is_not_followed(http: requests_mock.Mocker, github: GitHubClient, url: str) -> None:
    with pytest.raises(InvalidResponseError, match="leads to another host"):
        github.get_page(url)

    assert http.call_count == 0


def test_a_redirect_to_another_host_is_not_followed(http: requests_mock.Mocker, github: GitHubClient) -> None:
    http.get(GISTS, status_code=302, headers={"Location": "https://evil.test/"})

    with pytest.raises(InvalidResponseError, match=r"leads to another host, evil\.test"):
        github.get_first_page("ada")

    assert http.call_count == 1


def test_a_redirect_on_the_same_host_is_followed(http: requests_mock.Mocker, github: GitHubClient) -> None:
    http.get(GISTS, status_code=301, headers={"Location": "/user/7/gists"})
    http.get(f"{GITHUB}/user/7/gists", json=[ITEM])

    assert len(github.get_first_page("ada").gists) == 1


def call_get(github: GitHubClient, pipedrive: PipedriveClient) -> object:
    return github.get_account("ada")


def call_post(github: GitHubClient, pipedrive: PipedriveClient) -> object:
    return pipedrive.create_activity(7, ACTIVITY)


@pytest.mark.parametrize(
    ("call", "response", "error", "requests_made"),
    [
        (call_get, {"status_code": 400, "json": {"message": "no"}}, RejectedError, 1),
        (call_get, {"status_code": 401, "json": {"message": "no"}}, CredentialsError, 2),
        (call_get, {"status_code": 403, "json": {"message": "Forbidden"}}, RejectedError, 1),
        (
            call_get,
            {"status_code": 403, "json": {"message": "You have exceeded a secondary rate limit"}},
            CircuitOpenError,
            4,
        ),
        (call_get, {"status_code": 403, "headers": {"retry-after": "0"}}, CircuitOpenError, 4),
        (call_get, {"status_code": 429}, CircuitOpenError, 4),
        (call_get, {"status_code": 404}, NotFoundError, 1),
        (call_get, {"status_code": 410}, RejectedError, 1),
        (call_get, {"status_code": 422}, RejectedError, 1),
        (call_get, {"status_code": 500}, RepeatedServerError, 4),
        (call_get, {"status_code": 502, "text": "<html>"}, RepeatedServerError, 4),
        (call_get, {"exc": requests.ConnectTimeout}, RetryNextRunError, 4),
        (call_get, {"exc": requests.ReadTimeout}, RetryNextRunError, 4),
        (call_get, {"exc": requests.ConnectionError}, RetryNextRunError, 4),
        (call_get, {"text": ""}, InvalidResponseError, 1),
        (call_get, {"text": "null"}, InvalidResponseError, 1),
        (call_get, {"text": "<html>"}, InvalidResponseError, 1),
        (call_get, {"json": {"id": "x"}}, InvalidResponseError, 1),
        (call_post, {"status_code": 400, "json": {"error": "no"}}, RejectedError, 1),
        (call_post, {"status_code": 401}, CredentialsError, 2),
        (call_post, {"status_code": 402}, CredentialsError, 1),
        (call_post, {"status_code": 403, "json": REFUSAL}, RejectedError, 1),
        (call_post, {"status_code": 403, "json": {"error": "no"}}, CircuitOpenError, 1),
        (
            call_post,
            {"status_code": 403, "text": "<html>Cloudflare", "headers": {"content-type": "text/html"}},
            CircuitOpenError,
            1,
        ),
        (call_post, {"status_code": 404, "json": REFUSAL}, NotFoundError, 1),
        (call_post, {"status_code": 404}, OutcomeUnknownError, 1),
        (call_post, {"status_code": 413, "json": REFUSAL}, RejectedError, 1),
        (call_post, {"status_code": 429, "json": REFUSAL}, CircuitOpenError, 4),
        (call_post, {"status_code": 429}, CircuitOpenError, 1),
        (call_post, {"status_code": 200, "json": REFUSAL}, RejectedError, 1),
        (call_post, {"status_code": 500}, OutcomeUnknownError, 1),
        (call_post, {"status_code": 503, "headers": {"retry-after": "1"}}, OutcomeUnknownError, 1),
        (call_post, {"exc": requests.ReadTimeout}, OutcomeUnknownError, 1),
        (call_post, {"exc": requests.ConnectionError}, OutcomeUnknownError, 1),
        (call_post, {"exc": requests.ConnectTimeout}, NotSentError, 1),
        (call_post, {"text": "null"}, OutcomeUnknownError, 1),
        (call_post, {"json": {"success": True}}, OutcomeUnknownError, 1),
        (call_post, {"status_code": 302, "headers": {"location": "/x"}}, OutcomeUnknownError, 1),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_how_a_response_is_classified(
    http: requests_mock.Mocker,
    github: GitHubClient,
    pipedrive: PipedriveClient,
    call: Callable[..., object],
    response: dict[str, Any],
    error: type[SyncError],
    requests_made: int,
) -> None:
    http.register_uri(requests_mock.ANY, requests_mock.ANY, **response)

    with pytest.raises(SyncError) as caught:
        call(github, pipedrive)

    assert type(caught.value) is error
    assert http.call_count == requests_made
    assert "secret" not in str(caught.value)
    assert str(caught.value).startswith("GitHub" if call is call_get else "Pipedrive")


def test_an_error_message_has_the_api_s_reason_but_no_token(
    http: requests_mock.Mocker, pipedrive: PipedriveClient
) -> None:
    http.post(f"{PIPEDRIVE}/api/v2/persons", status_code=400, json={"error": "pd-secret may not " + "x" * 500})

    with pytest.raises(RejectedError) as caught:
        pipedrive.create_person("@ada")

    assert str(caught.value).startswith("Pipedrive POST /api/v2/persons returned 400: [secret] may not xxx")
    assert len(str(caught.value)) < 260


LINK = "https://gist.github.com/ada/5f2a9c6462d9b4418f2d"
SUBJECTS: dict[str, tuple[Callable[[GitHubClient, PipedriveClient], object], str, str]] = {
    "login": (
        lambda github, _: github.get_account("ada"),
        "no Ada, no metadata of /users/ada",
        "GitHub GET /users/{login} returned 400: no {login}, no metadata of /users/{login}",
    ),
    "id": (
        lambda github, _: github.get_page("/user/1001/gists?page=2"),
        "1001 is not 10012",
        "GitHub GET /user/{id}/gists returned 400: {id} is not 10012",
    ),
    "Pipedrive id": (
        lambda _, pipedrive: pipedrive.get_person(77),
        "person 77",
        "Pipedrive GET /api/v2/persons/{id} returned 400: person {id}",
    ),
    "name": (
        lambda _, pipedrive: pipedrive.create_person("Ada Lovelace (@ada)"),
        "odd: Ada Lovelace (@ada), @ada",
        "Pipedrive POST /api/v2/persons returned 400: odd: [personal], [personal]",
    ),
    "link": (
        lambda _, pipedrive: pipedrive.create_activity(7, replace(ACTIVITY, note=f'<a href="{LINK}">{LINK}</a>')),
        f"{LINK} or 5f2a9c6462d9b4418f2d",
        "Pipedrive POST /api/v2/activities returned 400: [personal] or [personal]",
    ),
    "profile": (
        lambda _, pipedrive: pipedrive.create_activity(7, replace(ACTIVITY, note="<p>https://github.com/the</p>")),
        "neither the person nor https://github.com/the",
        "Pipedrive POST /api/v2/activities returned 400: neither the person nor [personal]",
    ),
}


@pytest.mark.parametrize("subject", SUBJECTS)
def test_an_error_message_does_not_say_whom_the_request_was_about(
    subject: str, http: requests_mock.Mocker, github: GitHubClient, pipedrive: PipedriveClient
) -> None:
    call, echo, message = SUBJECTS[subject]
    http.register_uri(requests_mock.ANY, requests_mock.ANY, status_code=400, json={"message": echo, "error": echo})

    with pytest.raises(RejectedError) as caught:
        call(github, pipedrive)

    assert str(caught.value) == message


def test_five_failures_in_a_row_open_the_circuit(http: requests_mock.Mocker, github: GitHubClient) -> None:
    http.get(requests_mock.ANY, status_code=500)
    with pytest.raises(RetryNextRunError):
        github.get_account("ada")
    with pytest.raises(OutageError):
        github.get_account("ben")

    with pytest.raises(OutageError, match="failed 5 times in a row"):
        github.get_account("cleo")

    assert http.call_count == 6  # with one probe of something that exists


def test_failures_of_few_objects_are_not_an_outage_while_the_probe_succeeds(
    http: requests_mock.Mocker, github: GitHubClient
) -> None:
    http.get(requests_mock.ANY, status_code=500)
    http.get(f"{GITHUB}/users/ghost", json={"id": 1, "login": "ghost"})
    for number in range(10):
        with pytest.raises(RepeatedServerError):
            github.get_account(f"person-{number}")

    with pytest.raises(OutageError, match="failed 40 times in a row"):
        github.get_account("person-10")


def test_a_post_after_its_deadline_is_not_sent(http: requests_mock.Mocker, pipedrive: PipedriveClient) -> None:
    with pytest.raises(NotSentError):
        pipedrive.create_activity(7, ACTIVITY, not_after=boot_clock() - 1)

    assert http.call_count == 0


def test_a_stopping_run_sends_no_request(http: requests_mock.Mocker) -> None:
    stopping = threading.Event()
    stopping.set()

    with pytest.raises(RunStoppedError):
        GitHubClient(GITHUB, stopping=stopping).get_account("ada")

    assert http.call_count == 0


def test_a_used_up_hourly_limit_opens_the_circuit(http: requests_mock.Mocker, github: GitHubClient) -> None:
    reset = str(int(time.time()) + 1200)
    http.get(GISTS, json=[], headers={"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset})
    github.get_first_page("ada")

    with pytest.raises(
        CircuitOpenError, match=r"GitHub's rate limit resets at .* \(the hourly limit is used up\)"
    ) as caught:
        github.get_first_page("ben")

    assert caught.value.resets_at is not None
    assert http.call_count == 1


@pytest.mark.parametrize("link", ['<{}>; rel="next"', "<{}>; rel=next", '<{}>; rel="Next last"', '<{}>; REL="next"'])
def test_the_relation_of_a_link_is_compared_as_rfc_8288_says(
    link: str, http: requests_mock.Mocker, github: GitHubClient
) -> None:
    http.get(GISTS, json=[], headers={"Link": link.format("/user/7/gists?page=2")})

    assert github.get_first_page("ada").next_url == f"{GITHUB}/user/7/gists?page=2"


@pytest.mark.parametrize("url", ["HTTPS://API.github.test/x", "https://api.github.test:443/x"])
def test_the_same_host_may_be_written_in_several_ways(
    url: str, http: requests_mock.Mocker, github: GitHubClient
) -> None:
    http.get(requests_mock.ANY, json=[])

    assert github.get_page(url).gists == []


@pytest.mark.parametrize("status", [400, 403, 406, 410])
def test_the_same_rejection_of_different_people_is_about_us(
    status: int, http: requests_mock.Mocker, github: GitHubClient
) -> None:
    http.get(requests_mock.ANY, status_code=status, json={"message": "no"})
    errors = []
    for number in range(6):
        with pytest.raises(SyncError) as caught:
            github.get_account(f"person-{number}")
        errors.append(type(caught.value))

    assert errors == [*[RejectedError] * 4, *[ConfigurationError] * 2]
    assert http.call_count == 5


def test_a_success_in_between_makes_rejections_single_cases(http: requests_mock.Mocker, github: GitHubClient) -> None:
    http.get(requests_mock.ANY, status_code=403, json={"message": "no"})
    http.get(f"{GITHUB}/users/good", json={"id": 1, "login": "good"})
    for number in range(12):
        if number % 3 == 0:
            github.get_account("good")
        else:
            with pytest.raises(RejectedError):
                github.get_account(f"person-{number}")

    assert github.api.circuit.error is None


@pytest.mark.parametrize(
    ("status", "body"), [(451, {"message": "blocked"}), (403, {"message": "no", "block": {"reason": "dmca"}})]
)
def test_blocked_accounts_are_single_cases(
    status: int, body: dict[str, Any], http: requests_mock.Mocker, github: GitHubClient
) -> None:
    http.get(requests_mock.ANY, status_code=status, json=body)
    for number in range(8):
        with pytest.raises(RejectedError):
            github.get_account(f"person-{number}")

    assert github.api.circuit.error is None


def test_a_single_401_is_checked_again(http: requests_mock.Mocker, github: GitHubClient) -> None:
    http.get(f"{GITHUB}/users/ada", [{"status_code": 401}, {"json": {"id": 1, "login": "ada"}}])

    assert github.get_account("ada").id == 1


def test_a_422_with_rate_limit_words_is_a_rate_limit(http: requests_mock.Mocker, github: GitHubClient) -> None:
    limited = {"status_code": 422, "json": {"message": "API rate limit exceeded for 1.2.3.4"}}
    http.get(f"{GITHUB}/user/7/gists", [limited, {"json": []}])

    assert github.get_page("/user/7/gists").gists == []


@pytest.mark.parametrize("value", ["1e308", "inf", "nan", "-5", "99999999999999999999", "soon", ""])
@pytest.mark.parametrize("header", ["retry-after", "x-ratelimit-reset", "x-ratelimit-remaining"])
def test_numbers_outside_any_range_are_clamped(
    header: str, value: str, http: requests_mock.Mocker, github: GitHubClient
) -> None:
    headers = {"x-ratelimit-remaining": "0", header: value}
    http.get(requests_mock.ANY, status_code=403, headers=headers, json={"message": "rate limit"})

    with pytest.raises(CircuitOpenError):
        github.get_account("ada")


def test_a_deprecated_api_version_is_noted(http: requests_mock.Mocker, github: GitHubClient) -> None:
    http.get(GISTS, json=[], headers={"Sunset": "Fri, 10 Mar 2028 00:00:00 GMT", "Deprecation": "true"})

    github.get_first_page("ada")

    assert "10 Mar 2028" in github.deprecation


def test_a_base_url_may_have_a_path(http: requests_mock.Mocker) -> None:
    http.get("https://ghe.test/api/v3/users/ada", json={"id": 1, "login": "ada"})

    assert GitHubClient("https://ghe.test/api/v3/", "x").get_account("ada").id == 1


# --- both sides of each limit, twins, and waits ---
class Waits(threading.Event):
    """Notes how long the client waits, and never waits."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout or 0.0)
        return False


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_each_kind_of_redirect_is_followed(status: int, http: requests_mock.Mocker, github: GitHubClient) -> None:
    http.get(f"{GITHUB}/users/ada", status_code=status, headers={"location": "/user/7"})
    http.get(f"{GITHUB}/user/7", json={"id": 7, "login": "ada"})

    assert github.get_account("ada").id == 7


def test_an_account_with_another_login_is_not_taken_for_the_person(
    http: requests_mock.Mocker, github: GitHubClient
) -> None:
    http.get(f"{GITHUB}/users/ada", status_code=301, headers={"location": "/user/7"})
    http.get(f"{GITHUB}/user/7", json={"id": 7, "login": "countess"})

    with pytest.raises(InvalidResponseError, match="the account of another login"):
        github.get_account("ada")


@pytest.mark.parametrize(("number", "is_read"), [(2, True), (3, False)])
def test_redirects_are_followed_up_to_a_number(
    number: int, is_read: bool, http: requests_mock.Mocker, github: GitHubClient
) -> None:
    for step in range(number):
        http.get(f"{GITHUB}/users/{step or 'ada'}", status_code=302, headers={"location": f"/users/{step + 1}"})
    http.get(f"{GITHUB}/users/{number}", json={"id": 7, "login": "ada"})

    if is_read:
        assert github.get_account("ada").id == 7
    else:
        with pytest.raises(InvalidResponseError, match="redirects in a loop"):
            github.get_account("ada")


@pytest.mark.parametrize(("extra", "is_read"), [(0, True), (1, False)])
def test_a_body_is_read_up_to_a_size(
    extra: int, is_read: bool, http: requests_mock.Mocker, github: GitHubClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b'{"id": 7, "login": "ada"}'
    monkeypatch.setattr("sync.clients.transport.MAX_BODY_BYTES", len(body))
    http.get(f"{GITHUB}/users/ada", content=body + b" " * extra)

    if is_read:
        assert github.get_account("ada").id == 7
    else:
        with pytest.raises(InvalidResponseError, match="returned more than"):
            github.get_account("ada")


def test_a_retry_waits_longer_each_time(http: requests_mock.Mocker) -> None:
    waits = Waits()
    client = GitHubClient(GITHUB, "x", timing=Timing(retry=1.0), stopping=waits)
    http.get(f"{GITHUB}/users/ada", status_code=500)

    with pytest.raises(RepeatedServerError):
        client.get_account("ada")

    retries = [seconds for seconds in waits.seconds if seconds >= 1]
    assert [1 <= retries[0] < 2, 2 <= retries[1] < 4, 4 <= retries[2] < 8] == [True] * 3
    assert len(retries) == 3


def test_a_pause_that_an_api_orders_is_waited_out(http: requests_mock.Mocker) -> None:
    waits = Waits()
    client = GitHubClient(GITHUB, "x", timing=NO_WAITS, stopping=waits)
    http.get(
        f"{GITHUB}/users/ada",
        [{"status_code": 429, "headers": {"retry-after": "0.2"}}, {"json": {"id": 7, "login": "ada"}}],
    )

    assert client.get_account("ada").id == 7
    assert max(waits.seconds) > 0.1


OUTAGES: dict[str, dict[str, Any]] = {
    "500": {"status_code": 500},
    "502": {"status_code": 502, "text": "<html>"},
    "refused": {"exc": requests.exceptions.ConnectionError},
    "connect timeout": {"exc": requests.exceptions.ConnectTimeout},
    "read timeout": {"exc": requests.exceptions.ReadTimeout},
}


@pytest.mark.parametrize("kind", OUTAGES)
def test_each_kind_of_outage_opens_the_circuit(kind: str, http: requests_mock.Mocker, github: GitHubClient) -> None:
    http.get(requests_mock.ANY, **OUTAGES[kind])

    for name in ("ada", "ben"):
        with pytest.raises((OutageError, RetryNextRunError)):
            github.get_account(name)

    assert isinstance(github.api.circuit.error, OutageError)


@pytest.mark.parametrize("kind", OUTAGES)
def test_four_failures_and_a_success_open_no_circuit(
    kind: str, http: requests_mock.Mocker, github: GitHubClient
) -> None:
    http.get(f"{GITHUB}/users/ada", **OUTAGES[kind])
    http.get(f"{GITHUB}/users/ben", json={"id": 8, "login": "ben"})
    http.get(f"{GITHUB}/user", **OUTAGES[kind])

    for _ in range(3):
        with pytest.raises(RetryNextRunError):
            github.get_account("ada")  # four tries
        github.get_account("ben")

    assert github.api.circuit.error is None


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, True),
        ({"REQUESTS_CA_BUNDLE": "/a.pem"}, "/a.pem"),
        ({"CURL_CA_BUNDLE": "/b.pem"}, "/b.pem"),
        ({"REQUESTS_CA_BUNDLE": "/a.pem", "CURL_CA_BUNDLE": "/b.pem"}, "/a.pem"),
    ],
)
def test_the_certificates_of_the_environment_are_trusted(
    variables: dict[str, str], expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert new_session(GITHUB, {}, 1).verify == expected


def test_no_login_of_a_netrc_file_replaces_the_token(
    http: requests_mock.Mocker, github: GitHubClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine api.github.test login mallory password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    http.get(f"{GITHUB}/users/ada", json={"id": 7, "login": "ada"})

    GitHubClient(GITHUB, "gh-secret").get_account("ada")

    assert last_request(http).headers["Authorization"] == "Bearer gh-secret"


def test_without_a_token_messages_are_shown_as_they_are(http: requests_mock.Mocker) -> None:
    http.get(f"{GITHUB}/users/ada", status_code=403, json={"message": "Sorry, not today"})

    with pytest.raises(RejectedError, match="Sorry, not today"):
        GitHubClient(GITHUB).get_account("ada")


def test_the_end_of_a_used_up_limit_is_named(http: requests_mock.Mocker, github: GitHubClient) -> None:
    reset = int(time.time()) + 1800
    limits = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(reset)}
    http.get(f"{GITHUB}/users/ada", status_code=403, headers=limits)

    with pytest.raises(CircuitOpenError) as caught:
        github.get_account("ada")

    assert caught.value.resets_at
    assert abs(caught.value.resets_at.timestamp() - reset) < 60
    assert f"{caught.value.resets_at:%Y-%m-%d %H:%M} UTC" in str(caught.value)
