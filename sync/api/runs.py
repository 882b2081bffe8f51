"""Views of the runs."""

from typing import Any

from rest_framework import mixins, viewsets
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from people.api.base import ApiView
from people.api.filters import StrictOrdering
from people.api.pagination import Pagination
from people.api.validation import PAGING, validate_query
from sync.api import schema
from sync.api.serializers import SyncRunSerializer
from sync.models import SyncRun

MAX_ID_DIGITS = 18  # all such numbers fit into 64 bits


class SyncRunViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[SyncRun], ApiView):
    """The runs of the last 90 days (sync.runs.KEEP_FOR)."""

    queryset = SyncRun.objects.all()
    serializer_class = SyncRunSerializer
    pagination_class = Pagination
    filter_backends = [StrictOrdering]
    ordering_fields = ["id"]
    ordering = ["-id"]

    @schema.list_sync_runs
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        validate_query(request, PAGING)
        return super().list(request, *args, **kwargs)

    @schema.get_sync_run
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        validate_query(request, set())
        run_id = kwargs["pk"]
        is_id = run_id.isascii() and run_id.isdigit() and len(run_id) <= MAX_ID_DIGITS
        run = SyncRun.objects.filter(pk=int(run_id)).first() if is_id else None
        if run is None:
            raise NotFound(f"Run {run_id[:40]} does not exist.")
        return Response(SyncRunSerializer(run).data)
