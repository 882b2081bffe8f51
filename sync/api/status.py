"""View of the status."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from people.api.base import ApiView
from people.api.validation import validate_query
from sync.api import schema
from sync.api.serializers import StatusSerializer
from sync.clock import database_clock
from sync.health.status import get_status


class StatusView(ApiView):
    """The state of the sync."""

    required_permissions = {"get": "sync.view_syncrun"}

    @schema.get_status
    def get(self, request: Request) -> Response:
        validate_query(request, set())
        status = get_status(database_clock(), use_cache=True)
        body = StatusSerializer(status).data
        return Response(body, headers={"ETag": compute_etag(body)})


def compute_etag(body: Mapping[str, Any]) -> str:
    """A weak ETag: `age_seconds` grows, and the state stays the same."""
    state = json.dumps({**body, "age_seconds": None}, default=str)
    return f'W/"{hashlib.sha256(state.encode()).hexdigest()[:32]}"'
