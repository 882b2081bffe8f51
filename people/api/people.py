"""Views of people."""

from typing import Any, cast

from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework import mixins, status, viewsets
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from people import bulk, visits
from people.api import schema
from people.api.authentication import get_consumer
from people.api.base import (
    ApiView,
    PersonNotTrackedError,
    get_tracked_person,
    lock_tracked_person,
    parse_tracked_login,
)
from people.api.export import FORMATS, csv_response
from people.api.filters import PersonFilter, PrefixSearch, StrictOrdering
from people.api.pagination import PagePagination
from people.api.parsers import CsvParser, JsonParser
from people.api.serializers import (
    DEFAULT_PAGE_SIZE,
    MAX_PAGE_SIZE,
    BulkReportSerializer,
    NewPersonSerializer,
    PersonChangesSerializer,
    PersonSerializer,
    PersonWithGistsSerializer,
    UntrackQuerySerializer,
    VisitQuerySerializer,
)
from people.api.validation import PAGING, filter_names, validate_query
from people.forget import forget_login
from people.models import Person, PersonQuerySet


class PersonViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Person], ApiView):
    """The tracked people."""

    serializer_class = PersonSerializer
    pagination_class = PagePagination
    filter_backends = [DjangoFilterBackend, PrefixSearch, StrictOrdering]
    filterset_class = PersonFilter
    ordering_fields = ["id", "github_username", "created_at", "polled_at"]
    ordering = ["-id"]
    lookup_field = "username"
    lookup_value_regex = "[^/]+"

    def get_queryset(self) -> QuerySet[Person]:
        return Person.objects.all()

    @schema.list_people
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        requested_format = request.query_params.get("format", "json")
        if requested_format not in FORMATS:
            raise ValidationError({"format": [f"Must be one of: {', '.join(FORMATS)}."]})
        paging = {"ordering"} if requested_format == "csv" else PAGING
        validate_query(request, paging | {"search", "format"} | filter_names(PersonFilter))
        people = cast(PersonQuerySet, self.filter_queryset(self.get_queryset()))
        if requested_format == "csv":
            return csv_response(people.with_counts())
        page = self.paginate_queryset(people) or []
        # The gists are counted for this page only: counting before paginating would count for all people.
        counted = Person.objects.filter(pk__in=[person.pk for person in page]).with_counts().in_bulk()
        rows = [counted[person.pk] for person in page if person.pk in counted]
        return self.get_paginated_response(PersonSerializer(rows, many=True).data)

    @schema.track_person
    def create(self, request: Request) -> Response:
        validate_query(request, set())
        new_person = NewPersonSerializer(data=request.data)
        new_person.is_valid(raise_exception=True)
        person = new_person.save()
        url = request.build_absolute_uri(reverse("person-detail", args=[person.github_username]))
        return Response(serialize_with_counts(person), status=status.HTTP_201_CREATED, headers={"Location": url})

    @schema.visit_person
    def retrieve(self, request: Request, username: str) -> Response:
        validate_query(request, set(VisitQuerySerializer().fields))
        query = VisitQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        options = query.validated_data
        person, gist_slice = self._get_slice(get_tracked_person(username), options)
        context = {
            "slice": gist_slice,
            "next": self._get_next_url(gist_slice, options) if gist_slice.has_more else None,
        }
        return Response(PersonWithGistsSerializer(person, context=context).data)

    def _get_slice(self, person: Person, options: dict[str, Any]) -> tuple[Person, visits.GistSlice]:
        consumer, all_gists = get_consumer(self.request), options["getAllGists"]
        limit = options.get("page_size", MAX_PAGE_SIZE if all_gists else DEFAULT_PAGE_SIZE)
        if all_gists or "since" in options:
            return person, visits.read_since(person, consumer, options.get("since", 0), limit)
        if self.request.method == "HEAD":
            return person, visits.preview_visit(person, consumer, limit)
        try:
            return visits.visit(person.pk, consumer, limit)
        except Person.DoesNotExist:  # deleted since it was found
            raise PersonNotTrackedError(person.github_username) from None

    def _get_next_url(self, gist_slice: visits.GistSlice, options: dict[str, Any]) -> str:
        """After a visit: the same URL, because the marker moved. Otherwise: the URL with the next cursor."""
        url = self.request.build_absolute_uri()
        if options["getAllGists"] or "since" in options:
            return replace_query_param(url, "since", gist_slice.cursor)
        return url

    @schema.change_person
    def partial_update(self, request: Request, username: str) -> Response:
        validate_query(request, set())
        changes = PersonChangesSerializer(data=request.data)
        changes.is_valid(raise_exception=True)
        with transaction.atomic():
            person = lock_tracked_person(username)
            person.apply(changes.validated_data)
        return Response(serialize_with_counts(person))

    @schema.untrack_person
    def destroy(self, request: Request, username: str) -> Response:
        validate_query(request, set(UntrackQuerySerializer().fields))
        query = UntrackQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        if query.validated_data["forget"] == "true":
            forget_login(parse_tracked_login(username), by=get_consumer(request))
            return Response(status=status.HTTP_204_NO_CONTENT)
        with transaction.atomic():
            # Visits and the sync take the same lock, so none of them adds rows while these are deleted.
            lock_tracked_person(username).delete()
        return Response(status=status.HTTP_204_NO_CONTENT)

    @schema.request_sync
    def request_sync(self, request: Request, username: str) -> Response:
        validate_query(request, set())
        person = get_tracked_person(username)
        if person.state == Person.State.PAUSED:
            raise ValidationError({"detail": f"{person} is paused. Set its state to active with PATCH first."})
        Person.objects.filter(pk=person.pk).request_sync()
        return Response(serialize_with_counts(person), status=status.HTTP_202_ACCEPTED)


class BulkViewSet(PersonViewSet):
    """POST tracks many people. The other methods are about the person with the login `bulk`."""

    parser_classes = [JsonParser, CsvParser]

    @schema.track_people
    def track_people(self, request: Request, username: str) -> Response:
        validate_query(request, set())
        try:
            rows = bulk.check_list(request.data)
        except ValueError as error:
            raise ParseError(str(error)) from None
        return Response(BulkReportSerializer(bulk.track(rows)).data)


def serialize_with_counts(person: Person) -> Any:
    """Return the person as in a list, read again from the database."""
    counted = Person.objects.filter(pk=person.pk).with_counts().first()
    if counted is None:  # deleted meanwhile
        raise PersonNotTrackedError(person.github_username)
    return PersonSerializer(counted).data
