"""Authentication with API keys, and the consumer that a request belongs to."""

from typing import cast

from django.contrib.auth.models import AnonymousUser, User
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from people.models import ApiKey

SCHEME = "Api-Key"
ANONYMOUS = "anonymous"  # the only consumer while API_AUTH is "none"


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Api-Key ...`; `request.auth` is then the ApiKey."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, ApiKey] | None:
        parts = get_authorization_header(request).decode("latin-1").split()
        if not parts or parts[0].lower() != SCHEME.lower():
            return None
        if len(parts) != 2:
            raise AuthenticationFailed(f"Send the key as `Authorization: {SCHEME} YOUR-KEY`.")
        try:
            key = cast(ApiKey, ApiKey.objects.get_from_key(parts[1]))
        except ApiKey.DoesNotExist:
            raise AuthenticationFailed("This API key is unknown or revoked.") from None
        if key.has_expired:
            raise AuthenticationFailed(f"This API key expired on {key.expiry_date:%Y-%m-%d}.")
        key.record_use()
        return AnonymousUser(), key

    def authenticate_header(self, request: Request) -> str:
        return f'{SCHEME} realm="gisttracker"'


def get_consumer(request: Request) -> str:
    """Return the name under which visits and requests are counted: of the key, of the staff member, or ANONYMOUS."""
    if isinstance(request.auth, ApiKey):
        return f"key:{request.auth.prefix}"
    if isinstance(request.user, User):
        return f"user:{request.user.pk}"
    return ANONYMOUS
