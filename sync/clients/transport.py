"""Every request to GitHub and Pipedrive goes through `Api.get`, `post`, `patch` or `delete`.

One place decides how long a request may take, whether it may be repeated, when it may be sent, and how an invalid
response is classified.
"""

import json
import random
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from pydantic import TypeAdapter, ValidationError
from requests.structures import CaseInsensitiveDict

from sync.clients.boot_clock import boot_clock
from sync.clients.circuit import Circuit
from sync.clients.errors import (
    CircuitOpenError,
    ConfigurationError,
    CredentialsError,
    InvalidResponseError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitedError,
    RejectedError,
    RepeatedServerError,
    RetryNextRunError,
    RunStoppedError,
    SyncError,
)
from sync.clients.network_errors import describe
from sync.clients.rate_limit import GENERAL, Hit, Pause, RateLimiter
from sync.clients.session import new_session, time_limit

MAX_BODY_BYTES = 64 * 1024 * 1024  # a page of 100 gists with 300 files each has about 12 MB
MAX_RETRIES = 3
MAX_REDIRECTS = 3
READ_CHUNK_BYTES = 64 * 1024
PERSONAL_FIELDS = {"name", "value", "subject", "note", "term"}  # of Pipedrive's bodies, items of e-mails, and searches
MIN_PERSONAL_LENGTH = 3  # replacing a shorter text would damage ordinary words
# What a path is about: a login, or the number of an account, person or activity. No message has it: messages about the
# same endpoint are equal, and those that are kept for the API as a whole name no person.
SUBJECT = re.compile(r"(?<!/v1/users/)(?<=/users/)(?P<login>[^/]+)|(?<=/)(?P<id>\d+)(?=/|$)")
T = TypeVar("T")


@dataclass(frozen=True)
class Timing:
    """Seconds. `total` limits a whole response, however slowly it trickles; `retry` is doubled with each retry.

    `burst_pause` and `secondary_pause` are the pauses after a refusal for Pipedrive's two-second limit and for GitHub's
    secondary limit when the response names none.
    """

    connect: float = 5.0
    read: float = 20.0
    total: float = 60.0
    retry: float = 0.5
    burst_pause: float = 2.0
    secondary_pause: float = 60.0  # GitHub documents "at least one minute"


@dataclass(frozen=True)
class Response:
    """A response with status 200-299 or 304."""

    call: str  # API, method and endpoint, for messages
    status: int
    headers: CaseInsensitiveDict[str]
    body: bytes
    url: str = ""
    is_redirected: bool = False
    method: str = "GET"
    sent: Any = None  # the request's body and query, which the API may repeat in an error

    def parse(self, shape: TypeAdapter[T]) -> T:
        """The JSON body as `shape`. InvalidResponseError if it does not match."""
        try:
            return shape.validate_json(self.body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidResponseError(
                f"{self.call} returned {self.status} with an invalid body: {first['msg']} {where}"
            ) from None


class Api:
    """One remote API for the duration of one run; its methods may be called from several threads.

    `parse_rate_limit` reads a pause from a response; how an API announces its limits is the client's knowledge.
    `not_found` are the statuses that mean so. With `advice`, the same rejection of several requests in a row opens the
    circuit, and the advice is part of the message. `probe_path` is requested to tell an outage from a few objects that
    fail; without it, all failures in a row are an outage. `is_own` separates the API's own responses from those of a
    gateway or of another service, which prove nothing. Redirects are followed unless `follows_redirects` is false.
    Without `shows_excerpts`, no message repeats anything of a body: it may have what others have published.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        headers: Mapping[str, str],
        *,
        secrets: tuple[str, ...] = (),
        limiter: RateLimiter,
        parse_rate_limit: Callable[[Response, str], Pause | None],
        stopping: threading.Event | None = None,
        concurrency: int = 8,
        timing: Timing | None = None,
        not_found: tuple[int, ...] = (404, 410),
        advice: str = "",
        probe_path: str = "",
        is_own: Callable[[Response], bool] = lambda response: True,
        follows_redirects: bool = True,
        shows_excerpts: bool = True,
    ) -> None:
        self.name = name
        self.circuit = Circuit(name)
        self.limiter = limiter
        self.request_count = 0
        self.identity = (base_url, *secrets)  # of whoever a pause is about
        self._base_url = base_url
        self._secrets = tuple(secret for secret in secrets if secret)
        self._parse_rate_limit = parse_rate_limit
        self._not_found, self._advice, self._probe_path = not_found, advice, probe_path
        self._is_own, self._max_redirects = is_own, MAX_REDIRECTS if follows_redirects else 0
        self._shows_excerpts = shows_excerpts
        self._stopping = stopping or threading.Event()
        self._timing = timing or Timing()
        self._lock = threading.Lock()
        self._session = new_session(base_url, headers, concurrency)
        self.may_send: Callable[[], bool] = lambda: True  # False: another process has taken over

    def get(
        self,
        url: str,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        window: str = GENERAL,
    ) -> Response:
        """GET a path, or a whole URL of this host. Transport errors and 5xx are retried up to three times.

        Raises CircuitOpenError, RetryNextRunError, RejectedError, RunStoppedError.
        """
        return self._send_repeatable("GET", url, window, params=params, headers=headers)

    def patch(self, path: str, body: Mapping[str, Any]) -> Response:
        """PATCH with JSON. Retried as a GET is, because a second PATCH changes nothing."""
        return self._send_repeatable("PATCH", path, GENERAL, json=body)

    def delete(self, path: str) -> Response:
        """DELETE. Retried as a GET is: the second one of an object that is deleted raises NotFoundError."""
        return self._send_repeatable("DELETE", path, GENERAL)

    def post(
        self, path: str, body: Mapping[str, Any], *, subject: str = "", not_after: float | None = None
    ) -> Response:
        """POST JSON, once. `not_after`: a time of `boot_clock()` after which it is not sent any more.

        `subject` is the object that it is about: failures of one subject only are not an outage (see
        Circuit.record_failure).

        Rate-limited requests were not processed, so it is safe to resend them. Raises CircuitOpenError and
        NotSentError when nothing was done, RejectedError when it was refused, OutcomeUnknownError when it may have
        been processed.
        """
        call = f"{self.name} POST {path}"
        for _ in range(MAX_RETRIES + 1):
            hit = self._wait_for_turn(GENERAL)
            if not_after is not None and boot_clock() > not_after:
                raise NotSentError(f"{call} was too late to be sent")
            try:
                response = self._send(call, "POST", self._url(path), json=body)
                self.limiter.finish(hit, "POST")
                return self._raise_for_status(response, GENERAL)
            except (RateLimitedError, ResendError):
                continue
            except TransportError as error:
                self._record_failure(call + subject, error)
                # A connection that was never established carried nothing; anything else may have arrived.
                raise NotSentError(str(error)) if error.unsent else OutcomeUnknownError(str(error)) from None
            except (ServerError, InvalidResponseError) as error:
                if isinstance(error, ServerError):
                    self._record_failure(call + subject, error)
                raise OutcomeUnknownError(str(error)) from None
        return self._stay_limited()

    def open_circuit(self, error: CircuitOpenError) -> NoReturn:
        """Send no more requests to this API, in any thread of this run."""
        self.circuit.open(error)
        raise self.circuit.error or error

    def raise_if_stopping(self) -> None:
        if self._stopping.is_set() or not self.may_send():
            raise RunStoppedError("the run is stopping")

    def _send_repeatable(self, method: str, url: str, window: str, **parts: Any) -> Response:
        url = self._url(url)
        path = urlsplit(url).path
        call = f"{self.name} {method} {SUBJECT.sub(_placeholder, path)}"
        self._check_host(call, url)
        for attempt in range(MAX_RETRIES + 1):
            hit = self._wait_for_turn(window)
            try:
                response = self._follow_redirects(call, method, url, parts)
                self.limiter.finish(hit, method)
                return self._raise_for_status(response, window)
            except RateLimitedError:
                continue
            except (TransportError, ServerError, ResendError) as error:
                if not isinstance(error, ResendError):
                    self._record_failure(f"{method} {path}", error)
                if attempt == MAX_RETRIES:
                    kind = RepeatedServerError if isinstance(error, ServerError) else RetryNextRunError
                    raise kind(str(error)) from None
                jitter = 1 + random.random()  # noqa: S311  # not a secret
                self._sleep(self._timing.retry * 2**attempt * jitter)
        return self._stay_limited()

    def _follow_redirects(self, call: str, method: str, url: str, parts: dict[str, Any]) -> Response:
        is_redirected = False
        for _ in range(max(self._max_redirects, 1)):
            response = self._send(call, method, url, **parts)
            location = response.headers.get("location")
            if response.status not in (301, 302, 307, 308) or not location or not self._max_redirects:
                return replace(response, is_redirected=is_redirected)
            url, parts = urljoin(url, location), {**parts, "params": None}
            self._check_host(call, url)
            is_redirected = True
        raise InvalidResponseError(f"{call} redirects in a loop")

    def _url(self, path: str) -> str:
        """A path below the base URL, which may have a path itself; whole URLs stay as they are."""
        is_whole = "://" in path or path.startswith("//")
        return urljoin(self._base_url, path) if is_whole else self._base_url.rstrip("/") + path

    def _check_host(self, call: str, url: str) -> None:
        """The token is sent to the configured host only."""
        if _origin(url) != _origin(self._base_url):
            host = urlsplit(url).netloc[:100]
            raise InvalidResponseError(f"{call} leads to another host, {host}, and is not followed")

    def _send(self, call: str, method: str, url: str, **parts: Any) -> Response:
        if not self.may_send():
            raise RunStoppedError("the run is stopping")
        with self._lock:
            self.request_count += 1
        timing = self._timing
        with time_limit(timing.total, self._stopping) as limit:
            try:
                with self._session.request(
                    method, url, timeout=(timing.connect, timing.read), allow_redirects=False, stream=True, **parts
                ) as response:
                    body = self._read_body(call, response)
                if limit.is_ended:  # Some bodies end with their connection, so a shortened one looks complete.
                    raise requests.ConnectionError
                sent = [parts.get("json"), parts.get("params")]
                return Response(call, response.status_code, response.headers, body, url, method=method, sent=sent)
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                late = f"no complete response within {timing.total:g} s" if limit.is_ended else ""
                raise TransportError(call, error, late or describe(error, url)) from None

    @staticmethod
    def _read_body(call: str, response: requests.Response) -> bytes:
        body = bytearray()
        # read1 returns what has arrived; other ways of reading wait for a full buffer, however long it takes.
        while chunk := response.raw.read1(READ_CHUNK_BYTES, decode_content=True):
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise InvalidResponseError(f"{call} returned more than {MAX_BODY_BYTES >> 20} MB")
        return bytes(body)

    def _raise_for_status(self, response: Response, window: str) -> Response:
        """The table of statuses and errors."""
        pause = self._parse_rate_limit(response, window)
        if pause:
            self.limiter.pause(pause)
        status = response.status
        is_success = 200 <= status < 300 or status == 304
        if is_success and self._is_own(response):
            self.circuit.record_success()
            return response
        message = f"{response.call} returned {status}{self._describe(response)}"
        if status >= 500:
            raise ServerError(message)
        self.circuit.record_response()
        token = f"{self.name.upper()}_TOKEN"
        if status == 401:
            self.circuit.record_error(CredentialsError(f"{message} - {token} was refused: create a new token"))
            self.circuit.raise_if_open()
            raise ResendError(message)
        if status == 402:
            self.open_circuit(CredentialsError(f"{message} - the account of {token} is not active: is it paid?"))
        if pause and pause.refused:
            raise RateLimitedError(message)
        if is_success or status < 400 or not self._is_own(response):
            message = f"{message} - this is not {self.name}'s own response: check {self.name.upper()}_API_URL"
            self._raise_foreign(response, message)
        if status in self._not_found:
            raise NotFoundError(message, status)
        self._record_rejection(response, message)
        raise RejectedError(message, status)

    def _raise_foreign(self, response: Response, message: str) -> NoReturn:
        self.circuit.record_error(ConfigurationError(message))
        if response.method != "POST":  # It may have been processed; the circuit opens for the next request.
            self.circuit.raise_if_open()
        raise InvalidResponseError(message)

    def _record_failure(self, call: str, failure: SyncError) -> None:
        self.circuit.record_failure(call, failure, self._is_alive)

    def _is_alive(self) -> bool:
        """Does the API respond to the probe? One attempt, outside the circuit."""
        if not self._probe_path:
            return False
        try:
            self.limiter.hit(GENERAL)
            return self._send(f"{self.name} probe", "GET", self._url(self._probe_path)).status < 500
        except SyncError:
            return False

    def _record_rejection(self, response: Response, message: str) -> None:
        """Blocked content (DMCA) and invalid pages are about one object, however many of them there are."""
        is_own = response.status in (409, 422, 451) or b'"block"' in response.body[:2000]
        if self._advice and not is_own:
            self.circuit.record_rejection(response.status, urlsplit(response.url).path, message, self._advice)
            self.circuit.raise_if_open()

    def _describe(self, response: Response) -> str:
        return f": {self.excerpt(response)}" if self._shows_excerpts else ""

    def excerpt(self, response: Response) -> str:
        """Up to 200 characters of a body: the API's own message if there is one. Without secrets and personal data."""
        text = response.body[:2000].decode("utf-8", "replace")
        if text.lstrip().startswith("["):
            return "a list"  # It is no message.
        try:
            content = json.loads(response.body)
            text = str(content.get("message") or content.get("error") or text)
        except (ValueError, AttributeError, RecursionError):
            pass
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        for personal in sorted(_personal_texts(response.sent), key=len, reverse=True):
            text = text.replace(personal, "[personal]")
        for subject in SUBJECT.finditer(urlsplit(response.url).path):
            whole_word = rf"(?<![\w-]){re.escape(subject[0])}(?![\w-])"
            text = re.sub(whole_word, _placeholder(subject), text, flags=re.IGNORECASE)
        return " ".join(text.split())[:200]

    def _wait_for_turn(self, window: str) -> Hit:
        """Wait until the rate limits allow a request, and count it. Opens the circuit when the wait is too long."""
        while True:
            self.circuit.raise_if_open()
            self.raise_if_stopping()
            hit = self.limiter.hit(window)
            if isinstance(hit, Hit):
                return hit
            if hit > self.limiter.max_wait:
                resets_at = datetime.now(UTC) + timedelta(seconds=hit)
                message = f"{self.name}'s rate limit resets at {resets_at:%Y-%m-%d %H:%M} UTC"
                self.open_circuit(CircuitOpenError(f"{message} ({self.limiter.pause_reason})", resets_at))
            self._sleep(hit)

    def _sleep(self, seconds: float) -> None:
        self._stopping.wait(seconds)
        self.raise_if_stopping()

    def _stay_limited(self) -> NoReturn:
        reason = self.limiter.pause_reason
        self.open_circuit(CircuitOpenError(f"{self.name} still limits the rate after {MAX_RETRIES} retries ({reason})"))


def _placeholder(subject: re.Match[str]) -> str:
    return f"{{{subject.lastgroup}}}"


def _personal_texts(parts: Any, key: str = "") -> Iterator[str]:
    """The texts of personal fields, anywhere in the body or the parameters of a request, and the names in them."""
    if isinstance(parts, dict):
        for name, part in parts.items():
            yield from _personal_texts(part, str(name))
    elif isinstance(parts, list):
        for part in parts:
            yield from _personal_texts(part, key)
    elif isinstance(parts, str) and key in PERSONAL_FIELDS and len(parts) >= MIN_PERSONAL_LENGTH:
        yield parts
        names = [word for word in re.split(r'[\s"<>()]+', parts) if "@" in word or "://" in word]
        # The end of a gist's address is its id; that of a profile's address is a login, which may be an ordinary word.
        names += [part for word in names if word.count("/") > 3 for part in word.rsplit("/", 1)]
        yield from (name for name in names if len(name) >= MIN_PERSONAL_LENGTH)


class TransportError(SyncError):
    """No complete response arrived. `unsent`: the request certainly did not reach the server."""

    def __init__(self, call: str, error: Exception, reason: str) -> None:
        super().__init__(f"{call} failed: {reason}")
        cause = getattr(error.args[0], "reason", None) if error.args else None
        self.unsent = isinstance(error, requests.ConnectTimeout) or isinstance(
            cause, urllib3.exceptions.NewConnectionError
        )


class ResendError(SyncError):
    """The request was refused in a way that may pass, and was not processed."""


class ServerError(SyncError):
    """A status of 500 or more."""


def _origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of a URL, whatever the case, and whether or not the default port is written."""
    try:
        parts = urlsplit(url)
        default = {"http": 80, "https": 443}.get(parts.scheme)
        return parts.scheme, parts.hostname or "", parts.port or default
    except ValueError:  # not a URL
        return "", url, None
