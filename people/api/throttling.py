"""Rate limits of consumers, and of the addresses of requests without a valid key."""

import time
from typing import TYPE_CHECKING

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from people.api.authentication import ANONYMOUS, get_consumer
from people.models import RequestCount

if TYPE_CHECKING:  # rest_framework.views imports the throttles, so importing it here would be a cycle.
    from rest_framework.views import APIView


class MinuteThrottle(BaseThrottle):
    """A maximum number of requests per minute, counted in the database for all web processes together."""

    def allow_request(self, request: Request, view: "APIView") -> bool:
        client, max_requests = self.get_client_and_limit(request)
        return not max_requests or RequestCount.hit(client) <= max_requests

    def wait(self) -> float:
        """Return the seconds until the next minute begins."""
        return 60 - time.time() % 60

    def get_client_and_limit(self, request: Request) -> tuple[str, int]:
        """Return the client for which this request is counted, and its maximum per minute; 0 means unlimited."""
        raise NotImplementedError


class ConsumerThrottle(MinuteThrottle):
    """Limits each key and each staff member."""

    def get_client_and_limit(self, request: Request) -> tuple[str, int]:
        consumer = get_consumer(request)
        return consumer, 0 if consumer == ANONYMOUS else settings.API_REQUESTS_PER_MINUTE


class AnonymousThrottle(MinuteThrottle):
    """Limits each address that sends no valid key. Rejected requests count too."""

    def get_client_and_limit(self, request: Request) -> tuple[str, int]:
        is_anonymous = get_consumer(request) == ANONYMOUS
        return f"address:{self.get_ident(request)}", settings.ANONYMOUS_REQUESTS_PER_MINUTE if is_anonymous else 0
