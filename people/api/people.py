"""The people API: which rows, and who may. The OpenAPI description stands beside each act."""

from collections import Counter
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import mixins, status, viewsets
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from people import bulk, visits
from people.api import schema_examples as examples
from people.api.authentication import get_consumer
from people.api.base import ApiView
from people.api.export import as_csv
from people.api.filters import PAGING, PersonFilter, PrefixSearch, StrictOrdering, names_of, reject_unknown
from people.api.pagination import PagePagination
from people.api.parsers import CsvParser, JsonParser
from people.api.rows import locked, not_tracked, shown, tracked
from people.api.schema import EVERYWHERE, NOT_FOUND, UNSUPPORTED, USERNAME, described
from people.api.serializers import (
    ALL_GISTS_LIMIT,
    BulkAnswerSerializer,
    BulkRowSerializer,
    NewPersonSerializer,
    PersonChangesSerializer,
    PersonSerializer,
    PersonWithGistsSerializer,
    WindowQuerySerializer,
)
from people.models import Person

DEFAULT_GISTS = 100
FORMATS = ("json", "csv")


class PersonViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Person], ApiView):
    """The people who are tracked."""

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

    def get_object(self) -> Person:
        return tracked(self.kwargs["username"])

    @extend_schema(
        operation_id="list_people",
        summary="Who is tracked, newest first",
        parameters=[OpenApiParameter("format", str, enum=FORMATS, description="csv: all of them, as a file")],
        responses={
            (200, "application/json"): described("A page of people.", examples.PERSON, PersonSerializer(many=True)),
            (200, "text/csv"): described("All of them.", examples.PEOPLE_CSV, str),
            400: described("A filter that is not known, or a bad value.", examples.BAD_FILTER),
            404: described("There is no such page.", {"detail": "Invalid page."}),
            **EVERYWHERE,
        },
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        wanted = request.query_params.get("format", "json")
        if wanted not in FORMATS:
            raise ValidationError({"format": [f"Must be one of: {', '.join(FORMATS)}."]})
        paging = {"ordering"} if wanted == "csv" else PAGING
        reject_unknown(request, paging | {"search", "format"} | names_of(PersonFilter))
        people = self.filter_queryset(self.get_queryset())
        if wanted == "csv":
            return as_csv(people.with_counts())
        page = self.paginate_queryset(people)
        # Counted for the page alone, after the page was chosen.
        counted = Person.objects.filter(pk__in=[person.pk for person in page or []]).with_counts().in_bulk()
        rows = [counted[person.pk] for person in page or [] if person.pk in counted]
        return self.get_paginated_response(PersonSerializer(rows, many=True).data)

    @extend_schema(
        operation_id="track_person",
        summary="Track a person",
        request=NewPersonSerializer,
        responses={
            201: described("Tracked. The next sync imports the gists.", examples.NEW_PERSON, PersonSerializer),
            400: OpenApiResponse(
                dict[str, Any],
                description="Not a GitHub user name, already tracked, or a bad choice.",
                examples=[
                    OpenApiExample("Bad name", value=examples.BAD_NAME),
                    OpenApiExample("Already tracked", value=examples.ALREADY_TRACKED),
                ],
            ),
            415: UNSUPPORTED,
            **EVERYWHERE,
        },
        examples=[OpenApiExample("Ada", value={"username": "ada", "backfill": "10"}, request_only=True)],
    )
    def create(self, request: Request) -> Response:
        reject_unknown(request, set())
        wanted = NewPersonSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        person = wanted.save()
        address = reverse("person-detail", args=[person.github_username])
        return Response(
            shown(person),
            status=status.HTTP_201_CREATED,
            headers={"Location": request.build_absolute_uri(address)},
        )

    @extend_schema(
        operation_id="visit_person",
        summary="The gists first seen since your last visit",
        description=(
            "Shows the gists that were stored since your last visit, oldest first, and moves your marker to the last "
            "one shown. The first visit shows all. With `getAllGists=true` or `since` the marker stays where it is, "
            "and so it does for HEAD. Each API key has markers of its own."
        ),
        parameters=[USERNAME, WindowQuerySerializer],
        responses={
            200: described("The person and the gists.", examples.PERSON_WITH_GISTS, PersonWithGistsSerializer),
            400: described("A bad query parameter.", examples.BAD_QUERY),
            404: NOT_FOUND,
            **EVERYWHERE,
        },
    )
    def retrieve(self, request: Request, username: str) -> Response:
        reject_unknown(request, set(WindowQuerySerializer().fields))
        query = WindowQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        options = query.validated_data
        person, window = self._window(self.get_object(), options)
        context = {"window": window, "next": self._next(window, options) if window.more else None}
        return Response(PersonWithGistsSerializer(person, context=context).data)

    def _window(self, person: Person, options: dict[str, Any]) -> tuple[Person, visits.Window]:
        everything, who = options["getAllGists"], get_consumer(self.request)
        limit = options.get("page_size", ALL_GISTS_LIMIT if everything else DEFAULT_GISTS)
        if everything or "since" in options:
            return person, visits.replay(person, who, options.get("since", 0), limit)
        if self.request.method == "HEAD":
            return person, visits.peek(person, who, limit)
        try:
            return visits.visit(person.pk, who, limit)
        except Person.DoesNotExist:
            raise not_tracked(person.github_username) from None

    def _next(self, window: visits.Window, options: dict[str, Any]) -> str:
        """A visit goes on with the next visit; a replay goes on after the last gist shown."""
        address = self.request.build_absolute_uri()
        if options["getAllGists"] or "since" in options:
            return replace_query_param(address, "since", window.cursor)
        return address

    @extend_schema(
        operation_id="change_person",
        summary="Change whom a person is filed under, pause it, or widen its backfill",
        parameters=[USERNAME],
        request=PersonChangesSerializer,
        responses={
            200: described("The person as it is now.", examples.PERSON, PersonSerializer),
            400: described("A bad value, or nothing to change.", examples.BAD_CHANGES),
            404: NOT_FOUND,
            415: UNSUPPORTED,
            **EVERYWHERE,
        },
        examples=[OpenApiExample("Pause", value={"state": "paused"}, request_only=True)],
    )
    def partial_update(self, request: Request, username: str) -> Response:
        reject_unknown(request, set())
        changes = PersonChangesSerializer(data=request.data)
        changes.is_valid(raise_exception=True)
        with transaction.atomic():
            person = locked(self.get_object())
            person.apply(changes.validated_data)
        return Response(shown(person))

    @extend_schema(
        operation_id="untrack_person",
        summary="Stop tracking a person",
        description="Forgets the person, its gists and visits here. Pipedrive keeps its records.",
        parameters=[USERNAME],
        responses={204: OpenApiResponse(description="Forgotten."), 404: NOT_FOUND, **EVERYWHERE},
    )
    def destroy(self, request: Request, username: str) -> Response:
        reject_unknown(request, set())
        with transaction.atomic():
            # Locked first, as visits and the sync do, so that nobody adds rows while these go.
            locked(self.get_object()).delete()
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        operation_id="request_sync",
        summary="Let the next run take this person first",
        parameters=[USERNAME],
        request=None,
        responses={
            202: described("RecordedRequest for.", examples.PERSON, PersonSerializer),
            400: described("The person is paused, or a query parameter is not known.", {"detail": "@ada is paused."}),
            404: NOT_FOUND,
            **EVERYWHERE,
        },
    )
    def request_sync(self, request: Request, username: str) -> Response:
        reject_unknown(request, set())
        person = self.get_object()
        if person.state == Person.State.PAUSED:
            raise ValidationError({"detail": f"{person} is paused; PATCH its state to active first."})
        Person.objects.filter(pk=person.pk).request_sync()
        return Response(shown(person), status=status.HTTP_202_ACCEPTED)


class BulkViewSet(PersonViewSet):
    """Many people by POST; anything else is about the person who is called "bulk"."""

    parser_classes = [JsonParser, CsvParser]

    @extend_schema(
        operation_id="track_people",
        summary="Track many people",
        description=(
            f"A JSON list of names or objects, or CSV with the header `username[,pipedrive_id][,backfill]`; "
            f"{bulk.MAX_ROWS} rows at most. Good rows are kept whatever the others are."
        ),
        request={
            "application/json": BulkRowSerializer(many=True),
            "text/csv": {"type": "string", "example": "username,backfill\nada,10\ngrace,\n"},
        },
        responses={
            200: described("One result for each row.", examples.BULK_ANSWER, BulkAnswerSerializer),
            400: described("Not a list of people at all.", examples.BAD_CSV),
            415: UNSUPPORTED,
            **EVERYWHERE,
        },
    )
    def track_people(self, request: Request, username: str) -> Response:
        reject_unknown(request, set())
        try:
            rows = bulk.check_list(request.data)
        except ValueError as error:
            raise ParseError(str(error)) from None
        results = bulk.track(rows)
        counts = Counter(result.result for result in results)
        summary = {name: counts[name] for name in ("created", "already_tracked", "refused")}
        return Response({**summary, "results": [result.as_json() for result in results]})
