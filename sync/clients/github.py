"""GitHub's REST API: accounts and the public gists they list.

Sources: https://docs.github.com/rest/gists/gists, https://docs.github.com/rest/users/users,
https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api
"""

import hashlib
import json
import re
import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from pydantic import AwareDatetime, BeforeValidator, Field, StringConstraints, TypeAdapter, ValidationError
from requests.utils import parse_header_links

from sync.clients.errors import (
    InvalidResponseError,
    NotFoundError,
    OutageError,
    RejectedError,
    RepeatedServerError,
    RetryNextRunError,
)
from sync.clients.rate_limit import MAX_PAUSE, MAX_WAIT, Pause, RateLimiter, SlidingWindow, parse_number, server_time
from sync.clients.transport import Api, Response, Timing

MAX_SECONDARY_WAIT = 70.0  # seconds; the secondary limit's own minimum is 60
LIMIT_WORDS = (b"rate limit", b"abuse detection")  # distinguish a rate-limit 403 from a permission 403
MAX_LISTED_GISTS = 3000  # GitHub lists no more than the newest 3,000 of an account
MAX_FILES = 1000  # of a gist; GitHub lists at most 300
MAX_DESCRIPTION_LENGTH = 100_000  # characters
GIST_ID = r"^[0-9a-zA-Z]{1,64}$"
PAGE_SIZE = 100  # gists; the most that GitHub allows
SMALL_PAGE_SIZE = 20  # gists; a divisor of PAGE_SIZE
STREAM_READ_SECONDS, STREAM_SECONDS = 10.0, 20.0  # as in Timing: runs wait for the stream, which is read again soon
API_VERSION, ENTERPRISE_API_VERSION = "2026-03-10", "2022-11-28"
ANONYMOUS_REQUESTS_PER_HOUR = 60  # from one address without a token
MIN_TOKEN_LIFE = 3600.0  # seconds; GitHub has shown the current time as the end of a token (google/go-github#3708)
# The account that GitHub shows in place of deleted ones, on its Enterprise Server, too. Every token may read it, while
# tokens of GitHub Apps may not call /user.
CONTROL_LOGIN = "ghost"
CONTROL_PATH = f"/users/{CONTROL_LOGIN}"

HttpUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s\x00-\x1f]+$")]
Id = Annotated[int, Field(ge=1, le=2**63 - 1)]
# What users write about themselves proves nothing, so what is no text counts as absent.
ProfileText = Annotated[str | None, BeforeValidator(lambda value: _clean(value) if isinstance(value, str) else None)]
# Every database can store it, and later arithmetic with it cannot overflow.
Moment = Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(9001, 1, 1, tzinfo=UTC))]


@dataclass(frozen=True)
class Account:
    """A user or an organisation. `id` never changes; `login` can."""

    id: Id
    login: Annotated[str, StringConstraints(max_length=39)]
    type: str = "User"
    name: ProfileText = None
    email: ProfileText = None  # the public one; visible to authenticated callers only
    company: ProfileText = None
    location: ProfileText = None
    public_gists: int | None = None


@dataclass(frozen=True)
class RateLimit:
    """Requests an hour. `reset` is in epoch seconds."""

    limit: Annotated[int, Field(ge=0)]
    remaining: Annotated[int, Field(ge=0)]
    reset: Annotated[int, Field(ge=0, le=2**32)]


@dataclass(frozen=True)
class Resources:
    core: RateLimit  # of all requests but searches and GraphQL


@dataclass(frozen=True)
class RateLimits:
    resources: Resources


@dataclass(frozen=True)
class Owner:
    id: Id
    login: str


@dataclass(frozen=True)
class GistFile:
    filename: Annotated[str, StringConstraints(max_length=1000)]
    raw_url: Annotated[HttpUrl, Field(max_length=2000)]
    language: Annotated[str, StringConstraints(max_length=100)] | None = None
    size: Annotated[int, Field(ge=0, le=2**53)] = 0  # bytes


@dataclass(frozen=True)
class PublicGist:
    """A gist as lists contain it, without file contents. `truncated`: it has more files than the 300 listed."""

    id: Annotated[str, StringConstraints(pattern=GIST_ID)]
    html_url: Annotated[HttpUrl, Field(max_length=500)]
    git_pull_url: Annotated[HttpUrl, Field(max_length=500)]
    created_at: Moment
    updated_at: Moment
    files: Annotated[dict[str, GistFile | None], Field(max_length=MAX_FILES)]
    description: Annotated[str, StringConstraints(max_length=MAX_DESCRIPTION_LENGTH)] | None = None
    public: bool = True
    truncated: bool = False
    owner: Owner | None = None


@dataclass(frozen=True)
class StreamEntry:
    """A gist as the stream of all public gists contains it: what a hint needs. The owner may be unknown."""

    id: Annotated[str, StringConstraints(pattern=GIST_ID)]
    updated_at: Moment
    owner: Owner | None = None
    created_at: Moment | None = None


@dataclass(frozen=True)
class StreamPage:
    """One page of the stream. `size` counts its items, also those that cannot be read."""

    entries: list[StreamEntry]
    size: int
    next_url: str = ""


@dataclass(frozen=True)
class UnreadableGist:
    """A listed gist that cannot be read. `id` is empty if even that is not readable."""

    id: str
    reason: str


@dataclass(frozen=True)
class GistPage:
    """One page of a list. `unchanged`: the response was 304, which has no gists. `next_url` is empty on the last.

    `is_redirected`: the login was renamed.
    `is_small`: it has at most SMALL_PAGE_SIZE gists, because GitHub fails to return the whole page; no ETag covers it.
    """

    gists: list[PublicGist]
    etag: str = ""
    next_url: str = ""
    unchanged: bool = False
    is_redirected: bool = False
    is_small: bool = False
    unreadable_gists: list[UnreadableGist] = field(default_factory=list)


ACCOUNT = TypeAdapter(Account)
GIST = TypeAdapter(PublicGist)
ENTRY = TypeAdapter(StreamEntry)
MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)
RATE_LIMITS = TypeAdapter(RateLimits)


class GitHubClient:
    """Calls GitHub as the owner of `token`, or anonymously without one (60 requests an hour)."""

    def __init__(
        self,
        base_url: str,
        token: str = "",
        *,
        requests_per_minute: int = 900,
        concurrency: int = 8,
        stopping: threading.Event | None = None,
        timing: Timing | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        self.is_enterprise = bool(parts.path.strip("/"))  # a GitHub Enterprise Server
        self.is_of_one_company = self.is_enterprise or (parts.hostname or "").endswith(".ghe.com")
        # It may not know the newest version yet.
        api_version = ENTERPRISE_API_VERSION if self.is_enterprise else API_VERSION
        headers = {
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": api_version,
            "User-Agent": "gisttracker",
        }
        if token:
            headers["Authorization"] = f"Bearer {token}"
        # A window of one second: with one of a minute, a burst would be followed by a long pause.
        limit = max(requests_per_minute // 60, 1)
        self.remaining: dict[str, float | None] = {}
        new_api = partial(
            Api,
            "GitHub",
            base_url,
            headers,
            secrets=(token,),
            parse_rate_limit=self._parse_rate_limit,
            stopping=stopping,
            not_found=(404,),  # 410 means that the API version is not supported any more.
        )
        self.api = new_api(
            limiter=RateLimiter(SlidingWindow(limit, limit * 60 / requests_per_minute)),
            concurrency=concurrency,
            timing=timing,
            advice=f"Check GITHUB_API_URL and GITHUB_TOKEN, and that this GitHub supports API version {api_version}.",
            probe_path=CONTROL_PATH,
        )
        # Whatever it answers, it stops nothing else. What is true of the token shows in the other requests, too.
        self.stream_api = new_api(
            limiter=self.api.limiter.twin(),
            concurrency=1,
            shows_excerpts=False,
            timing=replace(timing or Timing(), read=STREAM_READ_SECONDS, total=STREAM_SECONDS),
        )
        self._api_version = api_version
        self._has_shown_account = False  # one that exists, in this run
        self._control_lock = threading.Lock()
        self._secondary_pause = (timing or Timing()).secondary_pause
        self._has_waited = False  # for the secondary limit
        self.has_token = bool(token)
        self.deprecation = ""  # what GitHub announced about this API version
        self.token_expires_at: datetime | None = None
        self.knows_token_end = False  # Has a response shown when the token ends, or that it does not?
        # An ETag is valid for this URL, token and version only. Not reversible: the token is long and random.
        scope = f"{base_url} {api_version} {token} {self._gists_url('{login}')}"
        self.etag_scope = hashlib.sha256(scope.encode()).hexdigest()

    @property
    def request_count(self) -> int:
        """Requests that were sent, all of which count against the token's limit."""
        return self.api.request_count + self.stream_api.request_count

    def get_account(self, login: str) -> Account:
        """https://docs.github.com/rest/users/users#get-a-user - NotFoundError if no account has this login.

        InvalidResponseError if the account has another login, also after a redirect: no account is taken for another.
        """
        response = self.api.get(f"/users/{login}")
        account = _parse_account(response)
        if account.login.lower() != login.lower():
            raise InvalidResponseError(f"{response.call} returned the account of another login")
        self._has_shown_account = True
        return account

    def get_account_by_id(self, account_id: int) -> Account:
        """https://docs.github.com/rest/users/users#get-a-user-using-their-id - also after its login was renamed.

        NotFoundError if the account does not exist any more. InvalidResponseError if it is another account.
        """
        response = self.api.get(f"/user/{account_id}")
        account = _parse_account(response)
        if account.id != account_id:
            raise InvalidResponseError(f"{response.call} returned another account, with the id {account.id}")
        self._has_shown_account = True
        return account

    def get_own_account(self) -> tuple[Account, str]:
        """https://docs.github.com/rest/users/users#get-the-authenticated-user - whose token it is, and its scopes.

        Only classic tokens have scopes. RejectedError for the installation token of a GitHub App, which has no user.
        """
        response = self.api.get("/user")
        return response.parse(ACCOUNT), response.headers.get("x-oauth-scopes", "")

    def get_rate_limit(self) -> RateLimit | None:
        """https://docs.github.com/rest/rate-limit/rate-limit - with any token, without cost.

        None: this GitHub Enterprise Server has no limit.
        """
        try:
            return self.api.get("/rate_limit").parse(RATE_LIMITS).resources.core
        except NotFoundError:
            if self.is_enterprise:
                return None
            raise

    def check_service(self) -> None:
        """A control: has GitHub shown, in this run, an account that exists? Else ask for one that does.

        Opens the circuit if GitHub does not show it: then nothing is concluded from what it does not show.
        """
        with self._control_lock:  # One control is enough.
            if self._has_shown_account:
                return
            try:
                self.get_account(CONTROL_LOGIN)
            except (RejectedError, RetryNextRunError) as error:
                self.api.open_circuit(
                    OutageError(
                        f"GitHub does not show {CONTROL_PATH}, which exists, so it is not believed about other "
                        f"accounts. Check GITHUB_API_URL, GITHUB_TOKEN and GitHub's status page. {error}"
                    )
                )

    def get_first_page(self, login: str, etag: str = "") -> GistPage:
        """https://docs.github.com/rest/gists/gists#list-gists-for-a-user - `unchanged` if the ETag still matches.

        The URL is the same in every poll: another page size or a moving `since` would have another ETag.
        """
        return self.get_page(self._gists_url(login), etag)

    @staticmethod
    def _gists_url(login: str) -> str:
        return f"/users/{login}/gists?per_page={PAGE_SIZE}"

    def get_page(self, url: str, etag: str = "") -> GistPage:
        """A page, by its URL. If every try fails with a 5xx, its gists are requested once more as smaller pages."""
        small_url = _small_page_url(url)
        try:
            return self._request_page(url, etag)
        except RepeatedServerError:
            if small_url in ("", url):
                raise
            return self._request_page(small_url)

    def _request_page(self, url: str, etag: str = "") -> GistPage:
        response = self.api.get(url, headers={"If-None-Match": etag} if etag else None)
        if response.status == 304 and not etag:
            raise InvalidResponseError(f"{response.call} returned 304 although the request had no ETag")
        link = response.headers.get("link")
        next_url = _next_url(link, response) if link else ""
        if response.status == 304:
            return GistPage([], next_url=next_url, unchanged=True, is_redirected=response.is_redirected)
        gists, unreadable_gists = _parse_gists(response)
        is_small = _small_page_url(url) == url
        self._has_shown_account |= any(gist.owner for gist in gists)
        return GistPage(
            [gist for gist in gists if gist.public],
            "" if is_small else response.headers.get("etag", ""),
            next_url,
            is_small=is_small,
            is_redirected=response.is_redirected,
            unreadable_gists=unreadable_gists,
        )

    def get_stream_page(self, url: str) -> StreamPage:
        """https://docs.github.com/rest/gists/gists#list-public-gists - a page of the stream; see `stream_url`.

        Items that cannot be read are left out. What it shows proves nothing, not even that GitHub shows accounts.
        """
        response = self.stream_api.get(url)
        entries = []
        rows = _parse_rows(response)
        for row in rows:
            with suppress(ValidationError):
                entries.append(ENTRY.validate_python(row))
        link = response.headers.get("link")
        return StreamPage(entries, len(rows), _next_url(link, response) if link else "")

    def _parse_rate_limit(self, response: Response, window: str) -> Pause | None:
        """https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api"""
        remaining = parse_number(response.headers, "x-ratelimit-remaining")
        reset = parse_number(response.headers, "x-ratelimit-reset")  # epoch seconds
        if remaining is not None:
            known = self.remaining.get("remaining") if self.remaining.get("reset") == reset else None
            # Responses of several threads come in any order.
            self.remaining = {"remaining": remaining if known is None else min(remaining, known), "reset": reset}
        self._note_deprecation(response)
        self._note_token_end(response)
        if response.status in (403, 422, 429, 503):
            return self._parse_refusal(response, remaining, reset)
        if remaining == 0:
            return Pause(_seconds_until(reset, response), False, "the hourly limit is used up")
        return None

    def _parse_refusal(self, response: Response, remaining: float | None, reset: float | None) -> Pause | None:
        has_limit_words = any(words in response.body[:2000].lower() for words in LIMIT_WORDS)
        retry_after = parse_number(response.headers, "retry-after")
        if response.status == 422 and not has_limit_words:
            return None  # an invalid request, or a page beyond the listed gists
        if retry_after is not None:
            return Pause(retry_after, True, "Retry-After", self._max_wait(has_limit_words))
        if response.status == 503:
            return None
        if remaining == 0:
            return Pause(_seconds_until(reset, response), True, "the hourly limit is used up")
        if response.status == 429 or has_limit_words:
            return Pause(self._secondary_pause, True, "the secondary limit", self._max_wait(True))
        return None

    def _max_wait(self, is_secondary: bool) -> float:
        """The secondary limit is waited out once a run."""
        if not is_secondary or self._has_waited:
            return MAX_WAIT
        self._has_waited = True
        return MAX_SECONDARY_WAIT

    def _note_deprecation(self, response: Response) -> None:
        sunset, version = response.headers.get("sunset"), self._api_version
        if sunset or response.headers.get("deprecation"):
            end = f" and stops working on {sunset}" if sunset else ""
            self.deprecation = f"GitHub's API version {version} is deprecated{end}. Upgrade gisttracker before then."

    def _note_token_end(self, response: Response) -> None:
        """https://github.blog/changelog/2021-07-26-expiration-options-for-personal-access-tokens/

        Tokens that do not end lack the header. So do refusals, and 304 has only some of the headers.
        """
        text = response.headers.get("github-authentication-token-expiration")
        end = _parse_token_end(text, server_time(response.headers)) if text is not None else None
        self.token_expires_at = end or self.token_expires_at
        self.knows_token_end |= bool(end) or (text is None and 200 <= response.status < 300)


def stream_url(since: datetime, page: int = 1) -> str:
    """Of the public gists of all accounts that were updated since then."""
    return f"/gists/public?per_page={PAGE_SIZE}&since={since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}&page={page}"


def _parse_account(response: Response) -> Account:
    try:
        return ACCOUNT.validate_python(_load_json(response))
    except ValidationError as error:
        reason = _format_reason(error, "The account")
        raise InvalidResponseError(
            f"{response.call} returned {response.status} with an invalid body: {reason}"
        ) from None


def _load_json(response: Response) -> Any:
    """None if the body is no JSON. A strict parser would refuse all of it for half of a surrogate pair."""
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError):
        return None


def _parse_rows(response: Response) -> list[Any]:
    """InvalidResponseError when the body is not a list of at most PAGE_SIZE items."""
    rows = _load_json(response)
    if not isinstance(rows, list):
        raise InvalidResponseError(f"{response.call} returned {response.status} with an invalid body: not a list")
    if len(rows) > PAGE_SIZE:
        raise InvalidResponseError(f"{response.call} returned {len(rows)} gists on a page of {PAGE_SIZE}")
    return rows


def _parse_gists(response: Response) -> tuple[list[PublicGist], list[UnreadableGist]]:
    """The gists of a page. One odd item is set aside with a reason; the others are read."""
    gists, unreadable_gists = [], []
    for row in _parse_rows(response):
        try:
            gists.append(GIST.validate_python(row))
        except ValidationError as error:
            unreadable_gists.append(UnreadableGist(_get_id(row), _format_reason(error, "The gist")))
    return gists, unreadable_gists


def _get_id(row: Any) -> str:
    gist_id = row.get("id") if isinstance(row, dict) else None
    return gist_id if isinstance(gist_id, str) and re.fullmatch(GIST_ID, gist_id) else ""


def _format_reason(error: ValidationError, whole: str) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return _clean(f"{where or whole}: {first['msg']}")[:200]


def _clean(text: str) -> str:
    """Without half surrogate pairs, which no database stores."""
    return text.encode("utf-8", "replace").decode()


def _small_page_url(url: str) -> str:
    """The first of the small pages with the same gists; the URL itself if it is one. Empty if that cannot be known."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    page, size = query.get("page", "1"), query.get("per_page", "")
    if size == str(SMALL_PAGE_SIZE):
        return url
    if size != str(PAGE_SIZE) or not re.fullmatch("[1-9][0-9]{0,2}", page):
        return ""
    first = (int(page) - 1) * (PAGE_SIZE // SMALL_PAGE_SIZE) + 1
    numbers = {"per_page": str(SMALL_PAGE_SIZE), "page": str(first)}
    return urlunsplit(parts._replace(query=urlencode({**query, **numbers})))


def _parse_token_end(text: str, now: float) -> datetime | None:
    """ "2026-12-31 23:59:59 UTC", or with a zone such as +0200. None if it cannot be the end of a token that works."""
    try:
        end = MOMENT.validate_python(datetime.strptime(text.replace("UTC", "+0000"), "%Y-%m-%d %H:%M:%S %z"))
    except ValueError:
        return None
    return end.astimezone(UTC) if end.timestamp() > now + MIN_TOKEN_LIFE else None


def _seconds_until(reset: float | None, response: Response) -> float:
    return max(reset - server_time(response.headers), 0) + 1 if reset is not None else MAX_PAUSE


def _next_url(link: str, response: Response) -> str:
    """The URL with the relation `next` in a Link header (RFC 8288: several relations, any case, relative URLs)."""
    for row in parse_header_links(link):
        relations = next((value for name, value in row.items() if name.lower() == "rel"), "")
        if "next" in relations.lower().split():
            try:
                return urljoin(response.url, row["url"])
            except ValueError:
                raise InvalidResponseError(f"{response.call} returned an invalid link to the next page") from None
    return ""
