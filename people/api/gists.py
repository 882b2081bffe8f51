"""Views of a person's gists."""

from typing import Any, cast

from django.db.models import QuerySet
from rest_framework import mixins, status, viewsets
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response

from gisttracker.common.database import retried_on_conflict
from gisttracker.common.error_codes import ErrorCode
from people.api import schema
from people.api.base import ApiView, GistNotFoundError, get_tracked_person
from people.api.filters import GistFilter, QueryFilterBackend, StrictOrdering
from people.api.pagination import Pagination
from people.api.serializers import GistSerializer
from people.api.validation import PAGING, filter_names, reject_body, validate_query
from people.models import Gist, GistQuerySet
from people.representations import represent_gists, select_gists


class GistNotPushableError(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = ErrorCode.GIST_NOT_PUSHABLE

    def __init__(self, push_state: str) -> None:
        super().__init__(f"The gist is {push_state}. Only a rejected or skipped gist can be pushed again.")


class GistViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Gist], ApiView):
    """The gists of one person. Listing them does not move a visit marker."""

    required_permissions = {"list": "people.view_gist", "push": "people.change_gist"}
    serializer_class = GistSerializer
    pagination_class = Pagination
    filter_backends = [QueryFilterBackend, StrictOrdering]
    filterset_class = GistFilter
    ordering_fields = ["id", "created_at", "github_created_at", "github_updated_at"]
    ordering = ["id"]
    queryset = Gist.objects.none()  # for drf-spectacular, which reads the model from it

    def get_queryset(self) -> QuerySet[Gist]:
        if "username" not in self.kwargs:  # drf-spectacular inspects the view without a request
            return Gist.objects.none()
        return get_tracked_person(self.kwargs["username"]).gists.all()

    @schema.list_gists
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        validate_query(request, PAGING | filter_names(GistFilter))
        person = get_tracked_person(self.kwargs["username"])
        gists = cast(GistQuerySet, self.filter_queryset(person.gists.all()))
        rows = self.paginate_queryset(select_gists(gists)) or []
        return self.get_paginated_response(represent_gists(rows, vars(person)))

    @schema.push_gist
    @retried_on_conflict
    def push(self, request: Request, username: str, github_id: str) -> Response:
        validate_query(request, set())
        reject_body(request)
        gist = self.get_queryset().filter(github_id=github_id).first()
        if gist is None:
            raise GistNotFoundError(username, github_id)
        count = Gist.objects.filter(pk=gist.pk).push_again()
        gist.refresh_from_db()
        if not count:
            raise GistNotPushableError(gist.push_state)
        return Response(GistSerializer(gist).data, status=status.HTTP_202_ACCEPTED)
