"""A person's gists, one page after the other, and putting one back to be pushed."""

from typing import Any

from django.db.models import QuerySet
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, status, viewsets
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from people.api import schema_examples as examples
from people.api.base import ApiView
from people.api.filters import PAGING, GistFilter, StrictOrdering, names_of, reject_unknown
from people.api.pagination import PagePagination
from people.api.rows import tracked
from people.api.schema import EVERYWHERE, NOT_FOUND, USERNAME, described
from people.api.serializers import GistSerializer
from people.models import Gist


class GistViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Gist], ApiView):
    """The gists of one person. Looking here moves no visit marker."""

    queryset = Gist.objects.none()
    serializer_class = GistSerializer
    pagination_class = PagePagination
    filter_backends = [DjangoFilterBackend, StrictOrdering]
    filterset_class = GistFilter
    ordering_fields = ["id", "created_at", "github_created_at", "github_updated_at"]
    ordering = ["id"]

    def get_queryset(self) -> QuerySet[Gist]:
        if "username" not in self.kwargs:  # Only while the API describes itself.
            return Gist.objects.none()
        return Gist.objects.filter(person=tracked(self.kwargs["username"]))

    @extend_schema(
        operation_id="list_gists",
        summary="A person's gists, the first seen first",
        parameters=[USERNAME],
        responses={
            200: described("A page of gists.", examples.GIST, GistSerializer(many=True)),
            400: described("A filter that is not known, or a bad value.", examples.BAD_FILTER),
            404: NOT_FOUND,
            **EVERYWHERE,
        },
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        reject_unknown(request, PAGING | names_of(GistFilter))
        return super().list(request, *args, **kwargs)

    @extend_schema(
        operation_id="push_gist",
        summary="Put a rejected or skipped gist back to be pushed",
        parameters=[
            USERNAME,
            OpenApiParameter("github_id", str, OpenApiParameter.PATH, description="GitHub's gist id"),
        ],
        request=None,
        responses={
            202: described("The next run makes its activity.", examples.GIST, GistSerializer),
            400: described("A query parameter that is not known.", examples.BAD_FILTER),
            404: described("There is no such person or gist.", examples.NOT_A_GIST),
            409: described("It is pushed, or about to be.", examples.NOTHING_TO_PUSH),
            **EVERYWHERE,
        },
    )
    def push(self, request: Request, username: str, github_id: str) -> Response:
        reject_unknown(request, set())
        gists = self.get_queryset().filter(github_id=github_id)
        if not gists.exists():
            raise NotFound(f"@{username[:40]} has no gist {github_id[:64]} here.")
        put_back = Gist.objects.filter(pk__in=list(gists.values_list("pk", flat=True))).push_again()
        gist = gists.get()
        if not put_back:
            detail = f"The gist is {gist.push_state}; only a rejected or skipped one is pushed again."
            return Response({"detail": detail}, status=status.HTTP_409_CONFLICT)
        return Response(GistSerializer(gist).data, status=status.HTTP_202_ACCEPTED)
