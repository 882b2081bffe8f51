"""How the sync is doing, for consumers of the API."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from people.api.base import ApiView
from people.api.filters import PAGING, StrictOrdering, reject_unknown
from people.api.pagination import PagePagination
from people.api.schema import EVERYWHERE, described
from sync.api import schema_examples as examples
from sync.claims import database_clock
from sync.models import SyncRun
from sync.status import status

COUNTED_WITHIN = 30  # seconds


class SyncRunSerializer(serializers.ModelSerializer[SyncRun]):
    """One run of sync_gists."""

    problems = serializers.SerializerMethodField(help_text="what went wrong, a line each")

    class Meta:
        model = SyncRun
        fields = [
            *(
                "id",
                "trigger",
                "started_at",
                "finished_at",
                "outcome",
                "counts",
                "limits",
                "problems",
                "host",
                "version",
            )
        ]
        read_only_fields = fields

    def get_problems(self, run: SyncRun) -> list[str]:
        return run.errors.splitlines()


class RejectedSerializer(serializers.Serializer[dict[str, Any]]):
    person = serializers.CharField()
    gist = serializers.CharField()
    reason = serializers.CharField(allow_blank=True)


class StatusSerializer(serializers.Serializer[dict[str, Any]]):
    """Numbers about the sync; those of people and gists are half a minute old at most."""

    last_run = SyncRunSerializer(allow_null=True)
    last_successful_run = SyncRunSerializer(allow_null=True, help_text="of those for everybody")
    age_seconds = serializers.IntegerField(allow_null=True, help_text="since the last good run ended")
    people = serializers.DictField(child=serializers.IntegerField(), help_text="by state")
    gists = serializers.DictField(child=serializers.IntegerField(), help_text="by push state")
    backlog = serializers.IntegerField(help_text="gists whose activity is still to be made or looked for")
    oldest_backlog_at = serializers.DateTimeField(allow_null=True)
    oldest_poll_at = serializers.DateTimeField(allow_null=True)
    rejected = RejectedSerializer(many=True, help_text="the newest twenty")
    limits = serializers.DictField(child=serializers.DictField(), help_text="what the APIs told the last run")


class StatusView(ApiView):
    """How the sync is doing."""

    @extend_schema(
        operation_id="get_status",
        summary="How the sync is doing: last run, its age, backlog, rejected, limits",
        responses={
            200: described("The status.", examples.STATUS, StatusSerializer),
            400: described("A query parameter that is not known.", {"x": ["Unknown here. Known: none."]}),
            **EVERYWHERE,
        },
    )
    def get(self, request: Request) -> Response:
        reject_unknown(request, set())
        return Response(status(database_clock(), counted_within=COUNTED_WITHIN).as_json())


class SyncRunViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[SyncRun], ApiView):
    """The runs of the last 90 days."""

    queryset = SyncRun.objects.all()
    serializer_class = SyncRunSerializer
    pagination_class = PagePagination
    filter_backends = [StrictOrdering]
    ordering_fields = ["id"]
    ordering = ["-id"]

    @extend_schema(
        operation_id="list_sync_runs",
        summary="The runs, newest first",
        responses={
            200: described("A page of runs.", examples.RUN, SyncRunSerializer(many=True)),
            400: described("A query parameter that is not known.", {"x": ["Unknown here. Known: page, ..."]}),
            404: described("There is no such page.", {"detail": "Invalid page."}),
            **EVERYWHERE,
        },
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        reject_unknown(request, PAGING)
        return super().list(request, *args, **kwargs)

    @extend_schema(
        operation_id="get_sync_run",
        summary="One run",
        responses={
            (200, "application/json"): described("The run.", examples.RUN, SyncRunSerializer),
            400: described("A query parameter that is not known.", {"x": ["Unknown here. Known: none."]}),
            404: described("There is no such run.", {"detail": "There is no run 7."}, OpenApiTypes.OBJECT),
            **EVERYWHERE,
        },
    )
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        reject_unknown(request, set())
        number = kwargs["pk"]
        is_number = number.isascii() and number.isdigit() and len(number) < 19
        run = SyncRun.objects.filter(pk=int(number)).first() if is_number else None
        if run is None:
            raise NotFound(f"There is no run {number[:40]}.")
        return Response(SyncRunSerializer(run).data)
