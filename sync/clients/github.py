"""GitHub's REST API: accounts and the public gists they list.

Facts and habits: https://docs.github.com/rest/gists/gists, https://docs.github.com/rest/users/users,
https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api
"""

import hashlib
import threading
from dataclasses import dataclass
from typing import Annotated

from pydantic import AwareDatetime, Field, StringConstraints, TypeAdapter
from requests.utils import parse_header_links

from sync.clients.rate_limit import Limits, Pause, header_number, server_time
from sync.clients.transport import Answer, Api

API_VERSION = "2026-03-10"
SECONDARY_PAUSE = 60.0  # seconds; GitHub's own advice where it names none
LIMIT_WORDS = (b"rate limit", b"abuse detection")  # by which a 403 for limits is told from one for permissions
REACH = 3000  # gists that a listing goes back at most
ANONYMOUS_REQUESTS_PER_HOUR = 60  # from one address without a token


@dataclass(frozen=True)
class Account:
    """A user or organisation. `id` never changes; `login` may."""

    id: int
    login: Annotated[str, StringConstraints(max_length=39)]
    type: str = "User"
    name: str | None = None
    email: str | None = None  # the public one; GitHub shows it to authenticated callers only


@dataclass(frozen=True)
class Owner:
    id: int
    login: str


@dataclass(frozen=True)
class GistFile:
    filename: str
    raw_url: str
    language: str | None = None
    size: int = 0  # bytes


@dataclass(frozen=True)
class PublicGist:
    """A gist as lists show it: no file contents. `truncated`: it has more files than the 300 listed."""

    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-zA-Z]{1,64}$")]
    html_url: Annotated[str, StringConstraints(pattern=r"^https?://", max_length=500)]
    git_pull_url: Annotated[str, StringConstraints(pattern=r"^https?://", max_length=500)]
    created_at: AwareDatetime
    updated_at: AwareDatetime
    files: dict[str, GistFile | None]
    description: str | None = None
    public: bool = True
    truncated: bool = False
    owner: Owner | None = None


@dataclass(frozen=True)
class GistPage:
    """One page of a listing. `unchanged`: GitHub answered 304, nothing else is known."""

    gists: list[PublicGist]
    etag: str = ""
    next_url: str = ""
    unchanged: bool = False


ACCOUNT = TypeAdapter(Account)
GISTS = TypeAdapter(Annotated[list[PublicGist], Field(max_length=100)])


class GitHubClient:
    """Asks GitHub, as the owner of `token` or, without one, as anybody (60 requests an hour)."""

    def __init__(
        self,
        base_url: str,
        token: str = "",
        *,
        requests_per_minute: int = 900,
        concurrency: int = 8,
        stopping: threading.Event | None = None,
    ) -> None:
        headers = {
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": API_VERSION,
            "User-Agent": "gisttracker",
        }
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.remaining: dict[str, float | None] = {}
        self.api = Api(
            "GitHub",
            base_url,
            headers,
            secrets=(token,),
            limits=Limits(per_minute=requests_per_minute),
            limits_told=self._limits_told,
            stopping=stopping,
            concurrency=concurrency,
        )
        # An ETag is valid for this URL, token and version only. Not reversible: the token is long and random.
        scope = f"{base_url} {API_VERSION} {token} {self._gists_url('{login}')}"
        self.etag_scope = hashlib.sha256(scope.encode()).hexdigest()

    def account(self, login: str) -> Account:
        """https://docs.github.com/rest/users/users#get-a-user - NotFoundError if there is none of that name."""
        return self.api.get(f"/users/{login}").read(ACCOUNT)

    def account_by_id(self, account_id: int) -> Account:
        """https://docs.github.com/rest/users/users#get-a-user-using-their-id - whatever its login is by now."""
        return self.api.get(f"/user/{account_id}").read(ACCOUNT)

    def first_page(self, login: str, etag: str = "") -> GistPage:
        """https://docs.github.com/rest/gists/gists#list-gists-for-a-user - `unchanged` if the ETag still holds.

        The URL is the same at every poll: another page size or a moving `since` would have another ETag.
        """
        headers = {"If-None-Match": etag} if etag else None
        return self._page(self.api.get(self._gists_url(login), headers=headers))

    def page(self, url: str) -> GistPage:
        """A further page, by the link in the page before."""
        return self._page(self.api.get(url))

    @staticmethod
    def _gists_url(login: str) -> str:
        return f"/users/{login}/gists?per_page=100"

    @staticmethod
    def _page(answer: Answer) -> GistPage:
        if answer.status == 304:
            return GistPage([], unchanged=True)
        links = {link.get("rel"): link["url"] for link in parse_header_links(answer.headers.get("link", ""))}
        gists = [gist for gist in answer.read(GISTS) if gist.public]
        return GistPage(gists, answer.headers.get("etag", ""), links.get("next", ""))

    def _limits_told(self, answer: Answer) -> Pause | None:
        """https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api"""
        remaining = header_number(answer.headers, "x-ratelimit-remaining")
        reset = header_number(answer.headers, "x-ratelimit-reset")  # epoch seconds
        if remaining is not None:
            self.remaining = {"remaining": remaining, "reset": reset}
        until_reset = max(reset - server_time(answer.headers), 0) + 1 if reset is not None else SECONDARY_PAUSE
        if answer.status in (403, 429, 503):
            told = header_number(answer.headers, "retry-after")
            if told is not None:
                return Pause(told, True, "its retry-after")
        if answer.status in (403, 429):
            if remaining == 0:
                return Pause(until_reset, True, "the hourly limit is used up")
            if answer.status == 429 or any(words in answer.body[:2000].lower() for words in LIMIT_WORDS):
                return Pause(SECONDARY_PAUSE, True, "its secondary limit")
        elif remaining == 0:
            return Pause(until_reset, False, "the hourly limit is used up")
        return None
