"""View of the consumer that sends the request."""

from rest_framework.request import Request
from rest_framework.response import Response

from people.api import schema
from people.api.authentication import get_consumer
from people.api.base import ApiView
from people.api.permissions import may_write
from people.api.serializers import Access, MeSerializer
from people.api.throttling import get_limit
from people.api.validation import validate_query
from people.feed import find_newest
from people.models import ApiKey


class MeView(ApiView):
    """Who the consumer is, and what it may do."""

    required_permissions = {"get": None}  # It is about the account itself.

    @schema.get_me
    def get(self, request: Request) -> Response:
        validate_query(request, set())
        consumer = get_consumer(request)
        body = {
            "consumer": consumer.name,
            "access": Access.READ_WRITE if may_write(request) else Access.READ,
            "key": request.auth if isinstance(request.auth, ApiKey) else None,
            "feed_cursor": consumer.feed_cursor,
            "feed_end": find_newest(),
            "requests_per_minute": get_limit(request),
        }
        return Response(MeSerializer(body).data)
