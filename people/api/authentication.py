"""Who may use the API, as which consumer, and how often."""

import time
from typing import TYPE_CHECKING, cast

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from people.models import ApiKey, RequestCount

if TYPE_CHECKING:  # REST framework imports this module while it makes its views.
    from rest_framework.views import APIView

SCHEME = "Api-Key"
ANONYMOUS = "anonymous"  # the one consumer there is while the API is open


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Api-Key ...`; request.auth is the ApiKey then."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, ApiKey] | None:
        words = get_authorization_header(request).decode("latin-1").split()
        if not words or words[0].lower() != SCHEME.lower():
            return None
        if len(words) != 2:
            raise AuthenticationFailed(f"Give the key as `Authorization: {SCHEME} YOUR-KEY`.")
        try:
            key = cast(ApiKey, ApiKey.objects.get_from_key(words[1]))
        except ApiKey.DoesNotExist:
            raise AuthenticationFailed("This API key is unknown or revoked.") from None
        if key.has_expired:
            raise AuthenticationFailed(f"This API key expired on {key.expiry_date:%Y-%m-%d}.")
        return AnonymousUser(), key

    def authenticate_header(self, request: Request) -> str:
        return f'{SCHEME} realm="gisttracker"'


class MayUse(BasePermission):
    """Keys and staff; a read-only key, and staff who may not change people, only read."""

    message = "Your key is read-only, or your account may not change people."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if settings.API_AUTH == "none":
            return True
        key, user = request.auth, request.user
        if isinstance(key, ApiKey):
            return request.method in SAFE_METHODS or not key.read_only
        if not isinstance(user, User):
            raise NotAuthenticated(f"Give an API key as `Authorization: {SCHEME} YOUR-KEY`.")
        if not user.is_staff:
            self.message = "Only staff may use the API without a key."
            return False
        return request.method in SAFE_METHODS or user.has_perm("people.change_person")


class MayReadMetrics(MayUse):
    def has_permission(self, request: Request, view: "APIView") -> bool:
        return settings.METRICS_PUBLIC or super().has_permission(request, view)


def consumer(request: Request) -> str:
    """The name under which visits are remembered: each key, each staff member, or all together."""
    if isinstance(request.auth, ApiKey):
        return f"key:{request.auth.prefix}"
    if isinstance(request.user, User):
        return f"user:{request.user.pk}"
    return ANONYMOUS


class MinuteThrottle(BaseThrottle):
    """So many requests in a minute, counted in the database, so that it holds over all processes."""

    def allow_request(self, request: Request, view: "APIView") -> bool:
        who, most = self.whom_to_count(request)
        return not most or RequestCount.add(who) <= most

    def wait(self) -> float:
        return 60 - time.time() % 60

    def whom_to_count(self, request: Request) -> tuple[str, int]:
        """Under which name this request counts, and how many there may be; 0 means any number."""
        raise NotImplementedError


class ConsumerThrottle(MinuteThrottle):
    """Requests of each key and staff member."""

    def whom_to_count(self, request: Request) -> tuple[str, int]:
        who = consumer(request)
        return who, 0 if who == ANONYMOUS else settings.API_REQUESTS_PER_MINUTE


class StrangerThrottle(MinuteThrottle):
    """Requests of each address that shows no valid key; those are counted even though they are refused."""

    def whom_to_count(self, request: Request) -> tuple[str, int]:
        is_stranger = consumer(request) == ANONYMOUS
        return f"address:{self.get_ident(request)}", settings.STRANGER_REQUESTS_PER_MINUTE if is_stranger else 0
