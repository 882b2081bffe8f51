"""Views of the runs."""

from typing import Any

from rest_framework import mixins, viewsets
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from gisttracker.common.error_codes import ErrorCode
from gisttracker.common.numbers import parse_whole_number
from gisttracker.common.texts import show
from people.api.base import ApiView
from people.api.filters import StrictOrdering
from people.api.pagination import Pagination
from people.api.validation import PAGING, validate_query
from sync.api import schema
from sync.api.serializers import SyncRunSerializer
from sync.health.groups import load_groups
from sync.models import SyncRun


class SyncRunViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[SyncRun], ApiView):
    """The runs of the last 90 days (sync.run.records.KEEP_FOR)."""

    queryset = SyncRun.objects.all()
    required_permissions = {"list": "sync.view_syncrun", "retrieve": "sync.view_syncrun"}
    serializer_class = SyncRunSerializer
    pagination_class = Pagination
    filter_backends = [StrictOrdering]
    ordering_fields = ["id"]
    ordering = ["-id"]

    @schema.list_sync_runs
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        validate_query(request, PAGING)
        return super().list(request, *args, **kwargs)

    def paginate_queryset(self, queryset: Any) -> Any:
        page = super().paginate_queryset(queryset)
        load_groups(*(page or []))
        return page

    @schema.get_sync_run
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        validate_query(request, set())
        run_id = kwargs["pk"]
        run = SyncRun.objects.filter(pk=_parse_id(run_id)).first()
        if run is None:
            raise NotFound(f"Run {show(run_id, 40)} does not exist.", ErrorCode.RUN_NOT_FOUND)
        load_groups(run)
        return Response(SyncRunSerializer(run).data)


def _parse_id(text: str) -> int:
    """Return the number, or 0, which no run has."""
    try:
        return parse_whole_number(text)
    except ValueError:
        return 0
