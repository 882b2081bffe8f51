"""Rate limits of consumers, and of the addresses of requests without a valid key."""

import math
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle

from gisttracker.web.client_address import get_limited_address
from people.api.authentication import get_consumer, is_anonymous

if TYPE_CHECKING:  # rest_framework.views imports the throttles, so importing it here would be a cycle.
    from rest_framework.views import APIView

WINDOW_SECONDS = 60
POLICY = "default"  # its name in the headers


@dataclass(frozen=True)
class RateLimit:
    """How much of the limit is used. The window is the present minute."""

    limit: int  # requests
    count: int
    resets_in: int  # seconds

    def set_headers(self, response: Response) -> None:
        """https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-10"""
        response["RateLimit-Policy"] = f'"{POLICY}";q={self.limit};w={WINDOW_SECONDS}'
        response["RateLimit"] = f'"{POLICY}";r={max(self.limit - self.count, 0)};t={self.resets_in}'


class RequestCounts:
    """The requests of each client in the present minute. Those of earlier minutes are dropped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minute = 0
        self._counts: Counter[str] = Counter()

    def hit(self, client: str) -> int:
        """Count a request and return the client's count in this minute."""
        with self._lock:
            minute = int(time.time() // WINDOW_SECONDS)
            if minute != self._minute:
                self._minute, self._counts = minute, Counter()
            self._counts[client] += 1
            return self._counts[client]

    def clear(self) -> None:
        self._minute = 0


request_counts = RequestCounts()  # of this web process


class MinuteThrottle(BaseThrottle):
    """Limits each consumer with keys, each staff member, and each address (of IPv6: /64 network) without a valid key.

    Each web process counts its own requests, so that no read begins with a write.
    """

    def allow_request(self, request: Request, view: "APIView") -> bool:
        if is_anonymous(request):
            client = f"address:{get_limited_address(request._request)}"
        else:
            client = f"consumer:{get_consumer(request).pk}"
        limit, count = get_limit(request), request_counts.hit(client)
        # An ApiView shows it in its response.
        view.rate_limit = RateLimit(limit, count, math.ceil(self.wait()))  # type: ignore[attr-defined]
        return count <= limit

    def wait(self) -> float:
        """Return the seconds until the next minute begins."""
        return WINDOW_SECONDS - time.time() % WINDOW_SECONDS


def get_limit(request: Request) -> int:
    """Return the maximum number of requests per minute."""
    limit: int = settings.ANONYMOUS_REQUESTS_PER_MINUTE if is_anonymous(request) else settings.API_REQUESTS_PER_MINUTE
    return limit
