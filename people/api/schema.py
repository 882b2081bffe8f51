"""Pieces of the API's description that several addresses share."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse

from people.api import schema_examples as examples
from people.api.authentication import SCHEME, ApiKeyAuthentication


def described(what: str, example: Any, shape: Any = dict[str, Any]) -> OpenApiResponse:
    return OpenApiResponse(shape, description=what, examples=[OpenApiExample(what, value=example)])


NOT_FOUND = described("Nobody of that name is tracked.", examples.NOT_TRACKED)
UNSUPPORTED = described("A body of another type than those.", {"detail": 'Unsupported media type "x/y" in request.'})
EVERYWHERE = {
    401: described("No key, or one that is wrong, revoked or expired.", examples.UNAUTHORIZED),
    403: described("The key is read-only.", examples.FORBIDDEN),
    406: described("Only JSON is answered.", {"detail": "Could not satisfy the request Accept header."}),
    414: OpenApiResponse(description="The address has more than 4,094 characters; the server itself says so, in HTML."),
    429: described("Too many requests; `Retry-After` says how many seconds to wait.", examples.THROTTLED),
}
USERNAME = OpenApiParameter("username", str, OpenApiParameter.PATH, description="a GitHub login, in any case")


class ApiKeyScheme(OpenApiAuthenticationExtension):
    """How the API's description shows the key."""

    target_class = ApiKeyAuthentication
    name = "ApiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": f"`{SCHEME} YOUR-KEY`, made in the admin or with `manage.py create_api_key NAME`",
        }


def tidy_addresses(endpoints: list[Any]) -> list[Any]:
    """Without the last slash, which may be left out; at /people/bulk without what is for somebody called "bulk"."""
    tidy = []
    for path, pattern, method, view in endpoints:
        if "<username>bulk" not in pattern:
            tidy.append((path.rstrip("/"), pattern, method, view))
        elif method == "POST":
            tidy.append(("/api/v1/people/bulk", pattern, method, view))
    return tidy
