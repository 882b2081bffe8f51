"""Authentication with API keys, and the consumer that a request belongs to."""

from django.contrib.auth.models import AnonymousUser, User
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from gisttracker.common.error_codes import ErrorCode
from people.keys import find_key, get_anonymous_consumer, get_user_consumer
from people.models import ApiKey, Consumer

SCHEME = "Bearer"
SCHEMES = {"bearer", "api-key"}  # the second one is that of djangorestframework-api-key


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer ...`, or `Api-Key ...`; `request.auth` is then the ApiKey."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, ApiKey] | None:
        parts = get_authorization_header(request).decode("latin-1").split()
        if not parts or parts[0].lower() not in SCHEMES:
            return None
        if len(parts) != 2:
            detail = f"Send the key as `Authorization: {SCHEME} YOUR-KEY`."
            raise AuthenticationFailed(detail, ErrorCode.MALFORMED_AUTHORIZATION)
        key = find_key(parts[1])
        if key is None:
            raise AuthenticationFailed("This API key is unknown or revoked.", ErrorCode.INVALID_KEY)
        if key.has_expired:
            detail = f"This API key expired on {key.expiry_date:%Y-%m-%d}."
            raise AuthenticationFailed(detail, ErrorCode.EXPIRED_KEY)
        key.record_use()
        return AnonymousUser(), key

    def authenticate_header(self, request: Request) -> str:
        return f'{SCHEME} realm="gisttracker"'


class StaffSessionAuthentication(SessionAuthentication):
    """The session of the admin; `request.auth` is then the Consumer."""

    def authenticate(self, request: Request) -> tuple[User, Consumer] | None:
        authenticated = super().authenticate(request)
        return (authenticated[0], get_user_consumer(authenticated[0])) if authenticated else None

    def enforce_csrf(self, request: Request) -> None:
        try:
            super().enforce_csrf(request)
        except PermissionDenied as error:
            raise PermissionDenied(str(error.detail), ErrorCode.CSRF_FAILED) from None


def get_consumer(request: Request) -> Consumer:
    """Return the consumer of the key or of the staff member, else the one of all requests without a key."""
    if isinstance(request.auth, ApiKey):
        return request.auth.consumer
    return request.auth if isinstance(request.auth, Consumer) else get_anonymous_consumer()


def is_anonymous(request: Request) -> bool:
    return request.auth is None
