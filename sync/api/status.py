"""View of the status."""

from rest_framework.request import Request
from rest_framework.response import Response

from people.api.base import ApiView
from people.api.validation import validate_query
from sync.api import schema
from sync.api.serializers import StatusSerializer
from sync.claims import database_clock
from sync.status import get_status


class StatusView(ApiView):
    """The state of the sync."""

    @schema.get_status
    def get(self, request: Request) -> Response:
        validate_query(request, set())
        status = get_status(database_clock(), use_cache=True)
        return Response(StatusSerializer(status).data)
