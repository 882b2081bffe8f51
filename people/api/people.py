"""Views of people."""

from typing import Any, cast

from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils.http import parse_etags
from rest_framework import mixins, status, viewsets
from rest_framework.exceptions import ParseError
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from gisttracker.common.database import retried_on_conflict
from gisttracker.common.error_codes import CodedError
from people import bulk, search, visits
from people.api import schema
from people.api.authentication import get_consumer
from people.api.base import (
    NO_STORE,
    ApiView,
    PersonNotTrackedError,
    PersonPausedError,
    PreconditionFailedError,
    get_tracked_person,
    lock_tracked_person,
    parse_tracked_login,
)
from people.api.errors import PersonAlreadyTrackedError
from people.api.export import CsvRenderer, csv_response, is_csv_requested
from people.api.filters import BoundedSearch, PersonFilter, QueryFilterBackend, StrictOrdering
from people.api.pagination import Pagination
from people.api.parsers import CsvParser, JsonParser
from people.api.renderers import JsonRenderer
from people.api.serializers import (
    DEFAULT_PAGE_SIZE,
    MAX_PAGE_SIZE,
    BulkReportSerializer,
    NewPersonSerializer,
    PersonChangesSerializer,
    PersonSerializer,
    UntrackQuerySerializer,
    VisitQuerySerializer,
)
from people.api.validation import PAGING, filter_names, parse_query, reject_body, validate_query
from people.forget import forget_login
from people.models import Person, PersonQuerySet
from people.representations import person_etag, read_people
from people.tracking import AlreadyTrackedError, change, stop_tracking, sync_soon

LIST_PARAMETERS = PAGING | {"search", "format"} | filter_names(PersonFilter)


class PersonViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Person], ApiView):
    """The tracked people."""

    required_permissions = {
        **dict.fromkeys(("list", "retrieve"), "people.view_person"),
        **dict.fromkeys(("create", "track_people"), "people.add_person"),
        **dict.fromkeys(("partial_update", "request_sync"), "people.change_person"),
        "destroy": "people.delete_person",
    }
    serializer_class = PersonSerializer
    pagination_class = Pagination
    filter_backends = [QueryFilterBackend, BoundedSearch, StrictOrdering]
    filterset_class = PersonFilter
    search_fields = search.FIELDS
    ordering_fields = ["id", "github_username", "created_at", "polled_at"]
    ordering = ["-id"]

    def get_queryset(self) -> QuerySet[Person]:
        return Person.objects.all()

    def get_renderers(self) -> list[BaseRenderer]:
        return [JsonRenderer(), *([CsvRenderer()] if self.action == "list" else [])]

    @schema.list_people
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        validate_query(request, LIST_PARAMETERS)
        people = cast(PersonQuerySet, self.filter_queryset(self.get_queryset()))
        if is_csv_requested(request):
            Pagination().check_parameters(request)
            return csv_response(people)
        keys = self.paginate_queryset(people.values_list("pk", flat=True)) or []
        return self.get_paginated_response(read_people(keys))

    @schema.track_person
    @retried_on_conflict
    def create(self, request: Request) -> Response:
        validate_query(request, set())
        new_person = NewPersonSerializer(data=request.data)
        new_person.is_valid(raise_exception=True)
        try:
            person = new_person.save()
        except AlreadyTrackedError as error:
            raise PersonAlreadyTrackedError(str(error), self._get_url(error.login)) from None
        url = self._get_url(person.github_username)
        return respond_with_person(person, status=status.HTTP_201_CREATED, location=url)

    def _get_url(self, login: str) -> str:
        return self.request.build_absolute_uri(reverse("person-detail", args=[login]))

    @schema.visit_person
    @retried_on_conflict
    def retrieve(self, request: Request, username: str) -> Response:
        options = parse_query(request, VisitQuerySerializer)
        try:
            gist_slice = self._get_slice(username, options)
        except Person.DoesNotExist:
            raise PersonNotTrackedError(username) from None
        body = {
            **gist_slice.person,
            "etag": person_etag(gist_slice.person),
            "last_visit": gist_slice.marker.visited_at,
            "cursor": gist_slice.cursor,
            "previous_cursor": gist_slice.marker.cursor,
            "next": self._get_next_url(gist_slice, options) if gist_slice.has_more else None,
            "gists": gist_slice.gists,
        }
        return Response(body, headers={"Cache-Control": NO_STORE})

    def _get_slice(self, username: str, options: dict[str, Any]) -> visits.GistSlice:
        consumer, all_gists = get_consumer(self.request), options["getAllGists"]
        limit = options.get("page_size", MAX_PAGE_SIZE if all_gists else DEFAULT_PAGE_SIZE)
        if all_gists or "since" in options:
            return visits.read_since(username, consumer, options.get("since", 0), limit)
        if self.request.method == "HEAD":
            return visits.preview_visit(username, consumer, limit)
        return visits.visit(username, consumer, limit)

    def _get_next_url(self, gist_slice: visits.GistSlice, options: dict[str, Any]) -> str:
        """After a visit: the same URL, because the marker moved. Otherwise: the URL with the next cursor."""
        url = self.request.build_absolute_uri()
        if options["getAllGists"] or "since" in options:
            return replace_query_param(url, "since", gist_slice.cursor)
        return url

    @schema.change_person
    @retried_on_conflict
    def partial_update(self, request: Request, username: str) -> Response:
        validate_query(request, set())
        changes = PersonChangesSerializer(data=request.data)
        changes.is_valid(raise_exception=True)
        with transaction.atomic():
            person = lock_tracked_person(username)
            check_if_match(request, person)
            change(person, changes.validated_data)
        return respond_with_person(person)

    @schema.untrack_person
    @retried_on_conflict
    def destroy(self, request: Request, username: str) -> Response:
        query = parse_query(request, UntrackQuerySerializer)
        reject_body(request, "use ?forget=true")
        if query["forget"] == "true":
            login = parse_tracked_login(username)
            if tracked := Person.objects.named(login).first():
                check_if_match(request, tracked)
            forget_login(login, by=get_consumer(request).name)
            return Response(status=status.HTTP_204_NO_CONTENT)
        if not stop_tracking(Person.objects.named(username), lambda people: check_if_match(request, *people)):
            raise PersonNotTrackedError(username)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @schema.request_sync
    @retried_on_conflict
    def request_sync(self, request: Request, username: str) -> Response:
        validate_query(request, set())
        reject_body(request)
        person = get_tracked_person(username)
        if person.state == Person.State.PAUSED:
            raise PersonPausedError(f"{person} is paused. Set its state to active with PATCH first.")
        sync_soon(Person.objects.filter(pk=person.pk))
        return respond_with_person(person, status=status.HTTP_202_ACCEPTED)


class BulkViewSet(PersonViewSet):
    """POST tracks many people. The other methods are about the person with the login `bulk`."""

    parser_classes = [JsonParser, CsvParser]

    @schema.track_people
    @retried_on_conflict
    def track_people(self, request: Request, username: str) -> Response:
        validate_query(request, set())
        try:
            rows = bulk.check_list(request.data)
        except CodedError as error:
            raise ParseError(str(error), error.code) from None
        return Response(BulkReportSerializer(bulk.track(rows)).data)


def check_if_match(request: Request, *people: Person) -> None:
    """Raise PreconditionFailedError if the header If-Match names another version of the person."""
    expected = parse_etags(request.headers.get("If-Match", "*"))
    for person in people:
        if "*" not in expected and person_etag(vars(person)) not in expected:
            raise PreconditionFailedError(person.github_username)


def respond_with_person(person: Person, *, status: int = status.HTTP_200_OK, location: str = "") -> Response:
    """Return the person as in a list, read again from the database."""
    rows = read_people([person.pk])
    if not rows:  # deleted meanwhile
        raise PersonNotTrackedError(person.github_username)
    headers = {"ETag": rows[0]["etag"], **({"Location": location} if location else {})}
    return Response(rows[0], status=status, headers=headers)
