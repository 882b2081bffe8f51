"""Views of the feed of all people's gists."""

from typing import Any, cast

from rest_framework import viewsets
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from gisttracker.common.database import retried_on_conflict
from gisttracker.common.error_codes import ErrorCode
from people.api import schema
from people.api.authentication import get_consumer
from people.api.base import ApiView
from people.api.filters import GistFilter, QueryFilterBackend
from people.api.serializers import AcknowledgementSerializer, FeedGistSerializer, FeedQuerySerializer
from people.api.validation import filter_names, parse_query, validate_query
from people.feed import acknowledge, read_feed
from people.models import Gist, GistQuerySet

FILTERS = frozenset(filter_names(GistFilter))


class FeedViewSet(viewsets.GenericViewSet[Gist], ApiView):
    """The gists of all people. Reading moves no marker; acknowledging moves the consumer's own."""

    required_permissions = {"list": "people.view_gist", "acknowledge": "people.view_gist"}
    serializer_class = FeedGistSerializer
    filter_backends = [QueryFilterBackend]
    filterset_class = GistFilter
    pagination_class = None
    queryset = Gist.objects.all()
    moves_own_marker_only = True

    @schema.read_feed
    def list(self, request: Request) -> Response:
        query = parse_query(request, FeedQuerySerializer, others=FILTERS)
        after = query.get("after", get_consumer(request).feed_cursor)
        is_filtered = not FILTERS.isdisjoint(request.query_params)
        filtered = cast(GistQuerySet, self.filter_queryset(self.get_queryset())) if is_filtered else None
        rows, has_more = read_feed(after, query["page_size"], filtered)
        cursor = rows[-1]["id"] if rows else after
        url = replace_query_param(request.build_absolute_uri(), "after", cursor) if has_more else None
        return Response({"results": rows, "cursor": cursor, "next": url})

    @schema.acknowledge_feed
    @retried_on_conflict
    def acknowledge(self, request: Request) -> Response:
        validate_query(request, set())
        body = AcknowledgementSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        options: dict[str, Any] = body.validated_data
        try:
            cursor = acknowledge(get_consumer(request), options["cursor"], force=options["force"])
        except ValueError as error:
            raise ValidationError({"cursor": [str(error)]}, ErrorCode.CURSOR_BEYOND_END) from None
        return Response({"cursor": cursor})
