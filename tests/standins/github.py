"""A stand-in for GitHub's REST API: accounts, their gists, ETags, paging, rate limits, renames."""

import hashlib
import itertools
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from tests.standins.wire import RecordedRequest, Response, StandIn, json_response

VERSIONS = ("2022-11-28", "2026-03-10")
MAX_LISTED_GISTS = 3000


@dataclass
class Account:
    id: int
    login: str
    name: str | None
    email: str | None
    type: str
    company: str | None = None
    location: str | None = None
    gists: dict[str, dict[str, Any]] = field(default_factory=dict)


class GitHubStandIn(StandIn):
    operations: tuple[tuple[str, str, str], ...] = (
        ("own_account", "GET", r"/user"),
        ("rate_limit", "GET", r"/rate_limit"),
        ("account", "GET", r"/users/[^/]+"),
        ("account_by_id", "GET", r"/user/\d+"),
        ("gists", "GET", r"/users/[^/]+/gists|/user/\d+/gists"),
        ("stream", "GET", r"/gists/public"),
    )

    def __init__(
        self,
        port: int = 0,
        *,
        tokens: tuple[str, ...] = (),
        hourly: int = 5000,
        host: str = "127.0.0.1",
        prefix: str = "",
    ) -> None:
        super().__init__(port, host=host, prefix=prefix)
        self.versions: tuple[str, ...] = VERSIONS
        self.tokens = set(tokens)
        self.app_tokens: set[str] = set()  # installation tokens of GitHub Apps, which have no user
        self.hourly = {True: hourly, False: 60}  # with a token, without
        self.used = {True: 0, False: 0}
        self._hour_ends_at = int(time.time()) + 1800
        self.announcements: dict[str, str] = {}  # headers of each response, such as Sunset
        self.token_end = f"{datetime.now(UTC) + timedelta(days=90):%Y-%m-%d %H:%M:%S} UTC"  # of each token; "": none
        self.accounts: dict[int, Account] = {}
        self._by_login: dict[str, Account] = {}
        self.stream: list[tuple[Account, dict[str, Any]]] = []  # all gists, in the order of their publication
        self._ids = itertools.count(1001)
        self._clock = datetime(2026, 1, 1, tzinfo=UTC)

    # --- events at GitHub ---
    def add_account(
        self, login: str, *, name: str | None = None, email: str | None = None, type: str = "User", **profile: Any
    ) -> Account:
        """`profile`: company and location."""
        with self.lock:
            account = Account(next(self._ids), login, name, email, type, **profile)
            self.restore_account(account)
            return account

    def publish(self, login: str, description: str | None = "", **fields: Any) -> str:
        """Publish a gist, one minute after the last event; `fields` overrides any part of GitHub's response."""
        with self.lock:
            account = self._named(login)
            self._clock += timedelta(minutes=1)
            moment = self._clock.strftime("%Y-%m-%dT%H:%M:%SZ")
            gist_id = hashlib.md5(f"{account.id}/{self._clock}".encode(), usedforsecurity=False).hexdigest()
            files = fields.pop("files", {"notes.md": "Markdown"})
            raw = f"https://gist.githubusercontent.com/{account.login}/{gist_id}/raw/{gist_id[:8]}/"
            account.gists[gist_id] = {
                "id": gist_id,
                "html_url": f"https://gist.github.com/{account.login}/{gist_id}",
                "git_pull_url": f"https://gist.github.com/{gist_id}.git",
                "public": True,
                "created_at": moment,
                "updated_at": moment,
                "description": description,
                "files": {
                    name: {
                        "filename": name,
                        "type": "text/plain",
                        "language": language,
                        "raw_url": raw + name,
                        "size": 7,
                    }
                    for name, language in files.items()
                },
                "comments": 0,
                "truncated": False,
                **fields,
            }
            self.stream.append((account, account.gists[gist_id]))
            return gist_id

    def gist_ids(self, login: str) -> list[str]:
        """The ids of an account's gists, oldest first."""
        with self.lock:
            return list(self._named(login).gists)

    def edit(self, login: str, gist_id: str, **fields: Any) -> None:
        with self.lock:
            account = self._named(login)
            self._clock += timedelta(minutes=1)
            moment = self._clock.strftime("%Y-%m-%dT%H:%M:%SZ")
            account.gists[gist_id].update({"updated_at": moment, **fields})

    def remove(self, login: str, gist_id: str) -> None:
        with self.lock:
            account = self._named(login)
            del account.gists[gist_id]

    def rename(self, old: str, new: str) -> None:
        with self.lock:
            account = self._by_login.pop(old.lower())
            account.login = new
            self._by_login[new.lower()] = account

    def delete_account(self, login: str) -> Account:
        with self.lock:
            return self.accounts.pop(self._by_login.pop(login.lower()).id)

    def restore_account(self, account: Account) -> None:
        with self.lock:
            self.accounts[account.id] = self._by_login[account.login.lower()] = account

    def new_hour(self) -> None:
        with self.lock:
            self.used = {True: 0, False: 0}
            self._hour_ends_at = int(time.time()) + 1800

    @staticmethod
    def etag(account: Account, token: str, page: int = 1, per_page: int = 100) -> str:
        """The ETag of a page. Like GitHub's, it differs between tokens and changes only with the page's content."""
        listed = sorted(account.gists.values(), key=lambda gist: str(gist["created_at"]), reverse=True)
        content = [f"{gist['updated_at']}{gist['id']}" for gist in listed[(page - 1) * per_page : page * per_page]]
        key = f"{account.id}{account.login}{page}{per_page}{content}{token}".encode()
        digest = hashlib.md5(key, usedforsecurity=False).hexdigest()
        return f'"{digest}"' if token else f'W/"{digest}"'

    def _named(self, login: str) -> Account:
        return self._by_login[login.lower()]

    # --- responses ---
    def respond(self, request: RecordedRequest) -> Response:
        if not request.headers.get("user-agent"):
            return Response(403, b"Request forbidden by administrative rules.", {"content-type": "text/html"})
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in self.tokens | self.app_tokens:
            return json_response(401, {"message": "Bad credentials", "status": "401"})
        if request.headers.get("x-github-api-version", VERSIONS[0]) not in self.versions:
            return json_response(400, {"message": "Unsupported API version"})
        if request.operation == "rate_limit":
            return self._rate_limit(bool(token))
        if self.used[bool(token)] >= self.hourly[bool(token)]:
            message = {"message": "API rate limit exceeded for user ID 1."}
            return json_response(403, message, self._rate_headers(bool(token)))
        response = self._route(request, token)
        if not (response.status == 304 and token):
            self.used[bool(token)] += 1
        return Response(response.status, response.body, {**response.headers, **self._rate_headers(bool(token))})

    def _rate_headers(self, with_token: bool) -> dict[str, str]:
        limit, used = self.hourly[with_token], self.used[with_token]
        end = {"github-authentication-token-expiration": self.token_end} if with_token and self.token_end else {}
        return {
            "x-ratelimit-limit": str(limit),
            "x-ratelimit-remaining": str(max(limit - used, 0)),
            "x-ratelimit-reset": str(self._hour_ends_at),
            "x-ratelimit-resource": "core",
            **end,
            **self.announcements,
        }

    def _rate_limit(self, with_token: bool) -> Response:
        headers = self._rate_headers(with_token)
        core = {name: int(headers[f"x-ratelimit-{name}"]) for name in ("limit", "remaining", "reset")}
        return json_response(200, {"resources": {"core": {**core, "used": self.used[with_token]}}}, headers)

    def _own_account(self, token: str) -> Response:
        if not token:
            return json_response(401, {"message": "Requires authentication", "status": "401"})
        if token in self.app_tokens:
            return json_response(403, {"message": "Resource not accessible by integration", "status": "403"})
        return json_response(200, {"login": "operator", "id": 2, "type": "User", "public_gists": 0})

    def _route(self, request: RecordedRequest, token: str) -> Response:
        if request.path == "/users/ghost":
            return json_response(200, {"login": "ghost", "id": 1, "type": "User", "public_gists": 0})
        if request.operation == "own_account":
            return self._own_account(token)
        if request.operation == "stream":
            return self._list_all(request)
        parts = request.path.strip("/").split("/")
        try:
            account = self.accounts[int(parts[1])] if parts[0] == "user" else self._named(parts[1])
        except (KeyError, IndexError, ValueError):
            return json_response(404, {"message": "Not Found", "status": "404"})
        if request.operation == "gists":
            return self._list(account, request, token)
        profile = {
            "login": account.login,
            "id": account.id,
            "type": account.type,
            "name": account.name,
            "email": account.email if token else None,
            "company": account.company,
            "location": account.location,
            "public_gists": len(account.gists),
        }
        digest = hashlib.md5(f"{profile}{token}".encode(), usedforsecurity=False).hexdigest()
        headers = {"etag": f'"{digest}"'}
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(304, b"", headers)
        return json_response(200, profile, headers)

    def _list(self, account: Account, request: RecordedRequest, token: str) -> Response:
        per_page = min(int(request.query.get("per_page", 30)), 100)
        page = int(request.query.get("page", 1))
        if page > 1 and (page - 1) * per_page >= MAX_LISTED_GISTS:
            return json_response(422, {"message": "In order to keep the API fast, pagination is limited."})
        etag = self.etag(account, token, page, per_page)
        headers = {"etag": etag, "content-type": "application/json; charset=utf-8"}
        if request.headers.get("if-none-match") == etag:
            return Response(304, b"", headers)
        public = [gist for gist in account.gists.values() if gist["public"]]
        public.sort(key=lambda gist: str(gist["created_at"]), reverse=True)
        last = max(-(-min(len(public), MAX_LISTED_GISTS) // per_page), 1)
        if page < last:
            # GitHub may send links in the numeric form; clients must follow links, not build them.
            link = f"<http://{request.headers['host']}{self.prefix}/user/{account.id}/gists?per_page={per_page}&page="
            headers["link"] = f'{link}{page + 1}>; rel="next", {link}{last}>; rel="last"'
        owner = {"login": account.login, "id": account.id, "type": account.type}
        rows = [{"owner": owner, **gist} for gist in public[(page - 1) * per_page : page * per_page]]
        return json_response(200, rows, headers)

    def _list_all(self, request: RecordedRequest) -> Response:
        """The public gists of all accounts, by `created_at`, filtered by `updated_at`."""
        since, page = request.query.get("since", ""), int(request.query.get("page", 1))
        per_page = min(int(request.query.get("per_page", 30)), 100)
        if (page - 1) * per_page >= MAX_LISTED_GISTS:
            return json_response(422, {"message": "In order to keep the API fast, pagination is limited."})
        found = [
            {"owner": {"login": account.login, "id": account.id, "type": account.type}, **gist}
            for account, gist in self.stream
            if gist["updated_at"] >= since and gist["public"] and account.gists.get(gist["id"]) is gist
        ]
        listed = sorted(found, key=lambda gist: str(gist["created_at"]), reverse=True)[:MAX_LISTED_GISTS]
        headers = {"cache-control": "private, max-age=60"}
        if page * per_page < len(listed):
            query = urlencode({**request.query, "page": page + 1})
            headers["link"] = f'<http://{request.headers["host"]}{self.prefix}/gists/public?{query}>; rel="next"'
        return json_response(200, listed[(page - 1) * per_page : page * per_page], headers)
