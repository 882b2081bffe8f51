"""How Pipedrive announces its limits, and how a block by the gateway in front of it looks.

Source: https://pipedrive.readme.io/docs/core-api-concepts-rate-limiting - the reset is in seconds, not an epoch. The
headers of the daily tokens are not documented, and may be missing.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sync.clients.rate_limit import Pause, parse_number, server_time
from sync.clients.transport import Response

BLOCKED_PAUSE = 900.0  # seconds without requests after a block by Cloudflare that names no time
DAY = 24 * 3600.0  # seconds
DAILY_PAUSE = 3600.0  # seconds until it is tried again whether the daily budget was reset


@dataclass(frozen=True)
class DailyTokens:
    """What is left of the API tokens of the whole company. `limit` is None if it was not reported."""

    day: str  # in UTC, such as 2026-12-31
    remaining: int
    limit: int | None = None

    def is_of(self, now: datetime) -> bool:
        return self.day == f"{now:%Y-%m-%d}"

    def describe(self, now: datetime) -> str:
        """ "148,127 of 150,000 tokens of today" """
        limit = "" if self.limit is None else f" of {self.limit:,}"
        return f"{self.remaining:,}{limit} tokens of {'today' if self.is_of(now) else self.day}"


def read_daily_tokens(response: Response) -> DailyTokens | None:
    """None if they are not reported. With a limit below 1, which is nonsense, the rest is not believed either."""
    remaining = parse_number(response.headers, "x-daily-ratelimit-token-remaining")
    limit = parse_number(response.headers, "x-daily-ratelimit-token-limit")
    if remaining is None or (limit is not None and limit < 1):
        return None
    day = f"{datetime.fromtimestamp(server_time(response.headers), UTC):%Y-%m-%d}"
    return DailyTokens(day, int(min(remaining, limit or remaining)), None if limit is None else int(limit))


def is_own(response: Response) -> bool:
    """Is this Pipedrive's own response? Its JSON has the key `success`; refusals of a request have at least `error`.

    A gateway's 404 proves nothing, so that it must not look like Pipedrive's. 204 has no body.
    """
    if response.status == 204 or response.status >= 500:
        return True
    body = json_object(response)
    if body is None:
        return False
    is_refusal = response.status in (400, 401, 402, 409, 413, 415, 422)
    return "success" in body or (is_refusal and "error" in body)


def json_object(response: Response) -> dict[str, Any] | None:
    """The body, if it is a JSON object."""
    try:
        body = json.loads(response.body)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def find_long_pause(response: Response, tokens: DailyTokens | None) -> Pause | None:
    """A block by Cloudflare, which follows too many requests, or a budget of the day that is used up.

    A budget is used up by a request that succeeds, too. `tokens`: as this response reports them.
    """
    if response.status in (403, 429) and not is_own(response):
        # `retry_after` is a key of Cloudflare's problem document.
        named = parse_number({"retry_after": str((json_object(response) or {}).get("retry_after"))}, "retry_after")
        seconds = named or parse_number(response.headers, "retry-after") or BLOCKED_PAUSE
        return Pause(seconds, True, "Cloudflare blocks this token for a while", max_wait=0)
    time_of_day = server_time(response.headers) % DAY  # in UTC
    seconds = DAY - time_of_day
    if response.method != "GET" and parse_number(response.headers, "x-daily-requests-left") == 0:
        reason = "the daily number of POST and PUT requests of this token is used up"
    elif tokens and tokens.remaining == 0:
        reason = "the daily API tokens of the company are used up"
        # So early, the figure may still be that of the day before.
        seconds = DAILY_PAUSE if time_of_day < DAILY_PAUSE else seconds
    else:
        return None
    return Pause(seconds, response.status == 429, reason, max_wait=0)


def find_short_pause(response: Response, burst_pause: float) -> Pause | None:
    """A refusal for a rate limit. `burst_pause`: seconds, if the two-second limit names no reset."""
    reset = parse_number(response.headers, "x-ratelimit-reset")
    retry_after = parse_number(response.headers, "retry-after")
    if response.status in (429, 503) and retry_after is not None:
        return Pause(retry_after, True, "Retry-After")
    if response.status == 429 and parse_number(response.headers, "x-ratelimit-remaining"):
        return Pause(DAILY_PAUSE, True, "the daily budget is used up")
    if response.status == 429:
        return Pause(min(reset or burst_pause, 60.0), True, "the two-second limit")
    return None
