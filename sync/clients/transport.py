"""The only way out: every request to GitHub and Pipedrive goes through `Api.get`, `post` or `patch`.

Here it is decided, once, how long a request may take, whether it may be repeated, when it may be sent at all,
and what an answer that is no answer means.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.cookiejar import DefaultCookiePolicy
from typing import Any, NoReturn, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from pydantic import TypeAdapter, ValidationError
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.structures import CaseInsensitiveDict

from sync.clients.errors import (
    CircuitOpenError,
    CredentialsError,
    InvalidResponseError,
    NotFoundError,
    NotSentError,
    OutageError,
    OutcomeUnknownError,
    RateLimitedError,
    RejectedError,
    RetryNextRunError,
    RunStoppedError,
    SyncError,
)
from sync.clients.rate_limit import MAX_WAIT, Limits, Pause

CONNECT_TIMEOUT = 5.0  # seconds
READ_TIMEOUT = 20.0  # seconds without a byte
TOTAL_TIMEOUT = 60.0  # seconds for a whole answer, however it trickles
MAX_BODY_BYTES = 64 * 1024 * 1024  # bytes; a page of 100 gists with 300 files each has about 12 MB
RETRIES = 3
RETRY_SECONDS = 0.5  # doubled with each retry, plus up to as much again by chance
REDIRECTS = 3
OUTAGE = 5  # failed attempts in a row after which the API is left alone
T = TypeVar("T")


def now() -> float:
    """Seconds of a clock that goes on while the machine sleeps, unlike time.monotonic() on Linux."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(frozen=True)
class Answer:
    """What came back: status 200-299 or 304."""

    call: str  # API, method and path, for messages
    status: int
    headers: CaseInsensitiveDict[str]
    body: bytes

    def read(self, shape: TypeAdapter[T]) -> T:
        """The body as `shape`. InvalidResponseError if it is something else."""
        try:
            return shape.validate_json(self.body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidResponseError(
                f"{self.call} answered {self.status} with a wrong body: {first['msg']} {where}"
            ) from None


class Api:
    """One remote API for the time of one run; its methods may be called from several threads.

    `limits_told` reads a pause out of an answer; it is the client's knowledge.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        headers: Mapping[str, str],
        *,
        secrets: tuple[str, ...] = (),
        limits: Limits,
        limits_told: Callable[[Answer], Pause | None],
        stopping: threading.Event | None = None,
        concurrency: int = 8,
    ) -> None:
        self.name = name
        self.ended: CircuitOpenError | None = None
        self.requests = 0
        self.limits = limits
        self._base_url = base_url
        self._secrets = tuple(secret for secret in secrets if secret)
        self._limits_told = limits_told
        self._stopping = stopping or threading.Event()
        self._failures = 0  # in a row
        self._lock = threading.Lock()
        self._session = requests.Session()
        self._session.auth = _NoNetrc()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.headers.update(headers)
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=concurrency)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def get(
        self, url: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """GET a path or a whole URL of this host; repeated up to three times when it fails on the way or with 5xx.

        Raises CircuitOpenError, RetryNextRunError, RejectedError, RunStoppedError.
        """
        return self._repeatable("GET", url, params=params, headers=headers)

    def patch(self, path: str, body: Mapping[str, Any]) -> Answer:
        """PATCH with JSON; repeated as a GET is, since doing it twice changes nothing."""
        return self._repeatable("PATCH", path, json=body)

    def post(self, path: str, body: Mapping[str, Any], *, not_after: float | None = None) -> Answer:
        """POST JSON, once. `not_after`: a time of `now()` after which it is not sent any more.

        A refusal for the API's limits is no answer: nothing was done, so it is sent again after the wait. Raises
        CircuitOpenError and NotSentError when nothing was done, RejectedError when it was refused, OutcomeUnknownError when it
        may or may not have been done.
        """
        call = f"{self.name} POST {path}"
        for _ in range(RETRIES + 1):
            self._wait_for_turn()
            if not_after is not None and now() > not_after:
                raise NotSentError(f"{call} came too late to be sent")
            try:
                return self._judge(self._send(call, "POST", urljoin(self._base_url, path), json=body))
            except RateLimitedError:
                continue
            except _OnTheWayError as error:
                # A connection that was never made carried nothing; anything else may have arrived.
                raise NotSentError(str(error)) if error.unsent else OutcomeUnknownError(str(error)) from None
            except (_ServerError, InvalidResponseError) as error:
                raise OutcomeUnknownError(str(error)) from None
        raise self._kept_refusing()

    def _repeatable(self, method: str, url: str, **parts: Any) -> Answer:
        url = urljoin(self._base_url, url)
        call = f"{self.name} {method} {urlsplit(url).path}"
        self._same_host(call, url)
        for attempt in range(RETRIES + 1):
            self._wait_for_turn()
            try:
                return self._follow(call, method, url, parts)
            except RateLimitedError:
                continue
            except (_OnTheWayError, _ServerError) as error:
                if attempt == RETRIES:
                    raise RetryNextRunError(str(error)) from None
                self._sleep(RETRY_SECONDS * 2**attempt * (1 + random.random()))  # noqa: S311  # jitter, no secret
        raise self._kept_refusing()

    def _follow(self, call: str, method: str, url: str, parts: dict[str, Any]) -> Answer:
        for _ in range(REDIRECTS):
            answer = self._send(call, method, url, **parts)
            location = answer.headers.get("location")
            if answer.status not in (301, 302, 307, 308) or not location:
                return self._judge(answer)
            url, parts = urljoin(url, location), {**parts, "params": None}
            self._same_host(call, url)
        raise InvalidResponseError(f"{call} is redirected in circles")

    def _same_host(self, call: str, url: str) -> None:
        """The token goes to no other host than the configured one."""
        if urlsplit(url)[:2] != urlsplit(self._base_url)[:2]:
            raise InvalidResponseError(
                f"{call} leads to another host, {urlsplit(url).netloc[:100]}; it is not followed"
            )

    def _send(self, call: str, method: str, url: str, **parts: Any) -> Answer:
        with self._lock:
            self.requests += 1
        started = time.monotonic()
        timeout = (CONNECT_TIMEOUT, READ_TIMEOUT)
        try:
            with self._session.request(
                method, url, timeout=timeout, allow_redirects=False, stream=True, **parts
            ) as response:
                body = bytearray()
                # read1 hands over what is there; the other ways of reading wait for a full buffer, however long.
                while chunk := response.raw.read1(64 * 1024, decode_content=True):
                    body += chunk
                    if len(body) > MAX_BODY_BYTES:
                        raise InvalidResponseError(f"{call} answered with more than {MAX_BODY_BYTES >> 20} MB")
                    if time.monotonic() - started > TOTAL_TIMEOUT:
                        raise requests.Timeout
                return Answer(call, response.status_code, response.headers, bytes(body))
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            failure = _OnTheWayError(call, error)
            self._count_failure(failure)
            raise failure from None

    def _judge(self, answer: Answer) -> Answer:
        """The status -> error table."""
        pause = self._limits_told(answer)
        if pause:
            self.limits.pause(pause)
        status = answer.status
        said = f"{answer.call} answered {status}: {self._excerpt(answer)}"
        if status >= 500:
            failure = _ServerError(said)
            self._count_failure(failure)
            raise failure
        with self._lock:
            self._failures = 0
        if 200 <= status < 300 or status == 304:
            return answer
        if status == 401:
            self.end(CredentialsError(f"{said} - {self.name.upper()}_TOKEN is refused: make a new one"))
        if status == 402:
            self.end(CredentialsError(f"{said} - the account of {self.name.upper()}_TOKEN is not open: is it paid?"))
        if pause and pause.refused:
            raise RateLimitedError(said)
        if status in (404, 410):
            raise NotFoundError(said, status)
        if 400 <= status < 500:
            raise RejectedError(said, status)
        raise InvalidResponseError(said)

    def _excerpt(self, answer: Answer) -> str:
        text = answer.body[:2000].decode("utf-8", "replace")
        try:
            content = json.loads(answer.body)
            text = str(content.get("message") or content.get("error") or text)
        except (ValueError, AttributeError, RecursionError):
            pass
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return " ".join(text.split())[:200]

    def _wait_for_turn(self) -> None:
        if self.ended:
            raise self.ended
        seconds = self.limits.reserve()
        if seconds > MAX_WAIT:
            free_at = datetime.now(UTC) + timedelta(seconds=seconds)
            sentence = f"{self.name} is free again at {free_at:%Y-%m-%d %H:%M} UTC ({self.limits.why})"
            self.end(CircuitOpenError(sentence, free_at))
        self._sleep(seconds)
        if self.ended:
            raise self.ended

    def _sleep(self, seconds: float) -> None:
        if self._stopping.wait(seconds) if seconds > 0 else self._stopping.is_set():
            raise RunStoppedError("the run was told to stop")

    def _count_failure(self, failure: SyncError) -> None:
        with self._lock:
            self._failures += 1
            failures = self._failures
        if failures >= OUTAGE and not self.ended:
            self.ended = OutageError(f"{self.name} failed {failures} times in a row; the last: {failure}")

    def end(self, error: CircuitOpenError) -> NoReturn:
        """Leave this API alone for the rest of the run, in every thread; the first reason counts."""
        self.ended = self.ended or error
        raise self.ended

    def _kept_refusing(self) -> CircuitOpenError:
        self.ended = self.ended or CircuitOpenError(
            f"{self.name} keeps refusing requests for its limits ({self.limits.why})"
        )
        return self.ended


class _NoNetrc(AuthBase):
    """Keeps requests from putting a login of ~/.netrc in the place of our token."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _OnTheWayError(SyncError):
    def __init__(self, call: str, error: Exception) -> None:
        super().__init__(f"{call} failed on the way ({type(error).__name__})")
        reason = getattr(error.args[0], "reason", None) if error.args else None
        self.unsent = isinstance(error, requests.ConnectTimeout) or type(reason).__name__ == "NewConnectionError"


class _ServerError(SyncError):
    pass
