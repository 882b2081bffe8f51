"""The people API: which rows, and who may. The OpenAPI description stands beside each act."""

from typing import Any

from django.db import transaction
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.urls import reverse
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import mixins, status, viewsets
from rest_framework.exceptions import NotFound
from rest_framework.filters import OrderingFilter, SearchFilter
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from people import examples, visits
from people.models import Gist, Person
from people.pagination import Pages
from people.serializers import (
    ALL_GISTS_LIMIT,
    NewPersonSerializer,
    PersonSerializer,
    PersonWithGistsSerializer,
    WindowQuerySerializer,
)

DEFAULT_GISTS = 100
ANONYMOUS = "anonymous"  # the one consumer there is while the API is open


def described(what: str, example: Any, shape: Any = dict[str, Any]) -> OpenApiResponse:
    return OpenApiResponse(shape, description=what, examples=[OpenApiExample(what, value=example)])


NOT_FOUND = described("Nobody of that name is tracked.", examples.NOT_TRACKED)


class PersonViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Person]):
    """The people who are tracked."""

    serializer_class = PersonSerializer
    pagination_class = Pages
    filter_backends = [SearchFilter, OrderingFilter]
    search_fields = ["github_username", "name", "email"]
    ordering_fields = ["id", "github_username", "created_at", "polled_at"]
    ordering = ["-id"]
    lookup_field = "username"
    lookup_value_regex = "[^/]+"

    def get_queryset(self) -> QuerySet[Person]:
        return self.list_queryset()

    @staticmethod
    def list_queryset() -> QuerySet[Person]:
        """People with what a list shows of their gists."""
        return Person.objects.annotate(
            gist_count=count_gists(),
            pending_count=count_gists(push_state__in=[Gist.PushState.PENDING, Gist.PushState.STARTED]),
            rejected_count=count_gists(push_state=Gist.PushState.REJECTED),
        )

    def get_object(self) -> Person:
        username = self.kwargs["username"]
        person = Person.objects.named(username).first()
        if person is None:
            raise not_tracked(username)
        return person

    @extend_schema(
        operation_id="list_people",
        summary="Who is tracked, newest first",
        responses={
            200: described("A page of people.", examples.PERSON, PersonSerializer(many=True)),
            404: described("There is no such page.", {"detail": "Invalid page."}),
        },
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

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
            415: described("A body that is neither JSON nor a form.", {"detail": 'Unsupported media type "x".'}),
        },
        examples=[OpenApiExample("Ada", value={"username": "ada", "backfill": "10"}, request_only=True)],
    )
    def create(self, request: Request) -> Response:
        wanted = NewPersonSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        person = wanted.save()
        address = reverse("person-detail", args=[person.github_username])
        return Response(
            PersonSerializer(self.list_queryset().get(pk=person.pk)).data,
            status=status.HTTP_201_CREATED,
            headers={"Location": request.build_absolute_uri(address)},
        )

    @extend_schema(
        operation_id="visit_person",
        summary="The gists first seen since your last visit",
        description=(
            "Shows the gists that were stored since your last visit, oldest first, and moves your marker to the last "
            "one shown. The first visit shows all. With `getAllGists=true` or `since` the marker stays where it is, "
            "and so it does for HEAD."
        ),
        parameters=[WindowQuerySerializer],
        responses={
            200: described("The person and the gists.", examples.PERSON_WITH_GISTS, PersonWithGistsSerializer),
            400: described("A bad query parameter.", examples.BAD_QUERY),
            404: NOT_FOUND,
        },
    )
    def retrieve(self, request: Request, username: str) -> Response:
        query = WindowQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        options = query.validated_data
        person, window = self._window(self.get_object(), options)
        context = {"window": window, "next": self._next(window, options) if window.more else None}
        return Response(PersonWithGistsSerializer(person, context=context).data)

    def _window(self, person: Person, options: dict[str, Any]) -> tuple[Person, visits.Window]:
        everything = options["getAllGists"]
        limit = options.get("page_size", ALL_GISTS_LIMIT if everything else DEFAULT_GISTS)
        if everything or "since" in options:
            return person, visits.replay(person, ANONYMOUS, options.get("since", 0), limit)
        if self.request.method == "HEAD":
            return person, visits.peek(person, ANONYMOUS, limit)
        try:
            return visits.visit(person.pk, ANONYMOUS, limit)
        except Person.DoesNotExist:
            raise not_tracked(person.github_username) from None

    def _next(self, window: visits.Window, options: dict[str, Any]) -> str:
        """A visit goes on with the next visit; a replay goes on after the last gist shown."""
        address = self.request.build_absolute_uri()
        if options["getAllGists"] or "since" in options:
            return replace_query_param(address, "since", window.cursor)
        return address

    @extend_schema(
        operation_id="untrack_person",
        summary="Stop tracking a person",
        description="Forgets the person, its gists and visits here. Pipedrive keeps its records.",
        responses={204: OpenApiResponse(description="Forgotten."), 404: NOT_FOUND},
    )
    def destroy(self, request: Request, username: str) -> Response:
        with transaction.atomic():
            # Locked first, as visits and the sync do, so that nobody adds rows while these go.
            person = Person.objects.select_for_update().filter(pk=self.get_object().pk).first()
            if person is None:
                raise not_tracked(username)
            person.delete()
        return Response(status=status.HTTP_204_NO_CONTENT)


def not_tracked(username: str) -> NotFound:
    return NotFound(f"Nobody named {username[:40]} is tracked; POST /api/v1/people tracks somebody.")


def count_gists(**which: Any) -> Coalesce:
    """Per listed person, the number of such gists; only the rows of the page are counted."""
    gists = Gist.objects.filter(person=OuterRef("pk"), **which).order_by().values("person")
    return Coalesce(Subquery(gists.annotate(number=Count("pk")).values("number")), 0)
