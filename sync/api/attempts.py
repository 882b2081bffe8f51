"""View of the attempts to push a gist."""

from typing import Any

from django.db.models import QuerySet
from rest_framework import mixins, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from people.api.base import ApiView, GistNotFoundError, get_tracked_person
from people.api.filters import StrictOrdering
from people.api.pagination import Pagination
from people.api.validation import PAGING, validate_query
from sync.api import schema
from sync.api.serializers import PushAttemptSerializer
from sync.models import PushAttempt


class PushAttemptViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[PushAttempt], ApiView):
    """The attempts of one gist in the last 90 days (sync.run.records.KEEP_FOR)."""

    queryset = PushAttempt.objects.none()
    required_permissions = {"list": "sync.view_pushattempt"}
    serializer_class = PushAttemptSerializer
    pagination_class = Pagination
    filter_backends = [StrictOrdering]
    ordering_fields = ["id"]
    ordering = ["-id"]

    def get_queryset(self) -> QuerySet[PushAttempt]:
        if "username" not in self.kwargs:  # drf-spectacular inspects the view without a request
            return PushAttempt.objects.none()
        username, github_id = self.kwargs["username"], self.kwargs["github_id"]
        gist = get_tracked_person(username).gists.filter(github_id=github_id).first()
        if gist is None:
            raise GistNotFoundError(username, github_id)
        return PushAttempt.objects.filter(gist=gist)

    @schema.list_attempts
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        validate_query(request, PAGING)
        return super().list(request, *args, **kwargs)
