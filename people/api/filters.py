"""Filters, search and ordering of the lists."""

from collections.abc import Iterable
from datetime import UTC
from typing import Any

from django import forms
from django.db.models import Exists, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django_filters import rest_framework as filters
from django_filters.fields import IsoDateTimeField
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import extend_schema_field
from rest_framework.exceptions import ValidationError
from rest_framework.filters import OrderingFilter, SearchFilter
from rest_framework.request import Request

from gisttracker.common.error_codes import CodedError, ErrorCode
from people.api.authentication import get_consumer
from people.api.validation import filter_names
from people.models import Gist, Person, Visit
from people.models.github_names import login_key, parse_login
from people.search import MAX_WORDS


def messages_of(choices: Iterable[str]) -> dict[str, str]:
    """The error messages of a filter with these choices."""
    return {"invalid_choice": f"Must be one of: {', '.join(choices)}; not %(value)s."}


class StrictBooleanFilter(filters.TypedChoiceFilter):  # type: ignore[misc]  # django_filters has no types
    """Accepts `true` and `false`. The library's BooleanFilter ignores other values instead of rejecting them."""

    def __init__(self, **options: Any) -> None:
        choices = [("true", "true"), ("false", "false")]
        messages = messages_of(["true", "false"])
        super().__init__(choices=choices, coerce=lambda value: value == "true", error_messages=messages, **options)
        extend_schema_field({"type": "boolean", "description": options["help_text"]})(self)


class TimeField(IsoDateTimeField):  # type: ignore[misc]  # django_filters has no types
    """A time with an offset that is out of range in UTC, in which the database has it, is invalid."""

    default_error_messages = {"invalid": "Must be a time such as 2026-01-31T12:00:00Z."}

    def to_python(self, value: Any) -> Any:
        try:
            moment = super().to_python(value)
            return moment and moment.astimezone(UTC)
        except (OverflowError, ValueError):
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid") from None


class TimeFilter(filters.IsoDateTimeFilter):  # type: ignore[misc]  # django_filters has no types
    field_class = TimeField


class QueryFilterBackend(DjangoFilterBackend):  # type: ignore[misc]  # django_filters has no types
    """Builds the filter set and its form only for requests with filters."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        if filter_names(view.filterset_class).isdisjoint(request.query_params):
            return queryset
        filtered: QuerySet[Any] = super().filter_queryset(request, queryset, view)
        return filtered


class BoundedSearch(SearchFilter):
    """The library's search, for a few terms only."""

    search_description = "parts of the login, name or e-mail address; all of them must match"

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        if "\0" in request.query_params.get(self.search_param, ""):
            raise ValidationError({"search": ["NUL characters are not allowed."]}, ErrorCode.INVALID_CHARACTERS)
        if len(self.get_search_terms(request)) > MAX_WORDS:
            detail = f"Too many terms. At most {MAX_WORDS} are allowed."
            raise ValidationError({"search": [detail]}, ErrorCode.TOO_MANY_TERMS)
        selected: QuerySet[Any] = super().filter_queryset(request, queryset, view)
        return selected


class StrictOrdering(OrderingFilter):
    """Rejects unknown fields. The library's filter ignores them."""

    def remove_invalid_fields(self, queryset: Any, fields: Any, view: Any, request: Any) -> Any:
        valid = {name for name, _ in self.get_valid_fields(queryset, view, {"request": request})}
        if not {field.removeprefix("-") for field in fields} <= valid:
            allowed = ", ".join(sorted(valid))
            detail = f"Unknown field. Allowed: {allowed}; with - for descending order."
            raise ValidationError({"ordering": [detail]}, ErrorCode.INVALID_CHOICE)
        if len({field.removeprefix("-") for field in fields}) < len(fields):
            raise ValidationError({"ordering": ["Each field may be given once."]}, ErrorCode.INVALID_CHOICE)
        return fields

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        field = f"-?({'|'.join(view.ordering_fields)})"
        names = ", ".join(view.ordering_fields)
        description = f"one or more of {names}, comma-separated; with - for descending order"
        schema = {"type": "string", "pattern": f"^{field}(,{field})*$"}
        return [{"name": "ordering", "required": False, "in": "query", "description": description, "schema": schema}]


class PersonFilter(filters.FilterSet):  # type: ignore[misc]  # django_filters has no types
    username = filters.CharFilter(
        method="filter_username", help_text="exactly this login, @login or profile URL, in any case"
    )
    state = filters.MultipleChoiceFilter(
        choices=Person.State.choices, error_messages=messages_of(Person.State.values), help_text="one or more states"
    )
    added_after = TimeFilter(field_name="created_at", lookup_expr="gte", help_text="ISO 8601")
    added_before = TimeFilter(field_name="created_at", lookup_expr="lte", help_text="ISO 8601")
    polled_after = TimeFilter(field_name="polled_at", lookup_expr="gte", help_text="ISO 8601")
    polled_before = TimeFilter(field_name="polled_at", lookup_expr="lte", help_text="ISO 8601")
    has_rejected = StrictBooleanFilter(method="filter_has_rejected", help_text="has gists that Pipedrive rejected")
    has_unvisited = StrictBooleanFilter(method="filter_has_unvisited", help_text="has gists that are new to you")

    class Meta:
        model = Person
        fields: list[str] = []

    def filter_username(self, people: QuerySet[Person], name: str, value: str) -> QuerySet[Person]:
        try:
            return people.filter(username_key=login_key(parse_login(value)))
        except CodedError as error:
            raise ValidationError({name: [str(error)]}, error.code) from None

    def filter_has_rejected(self, people: QuerySet[Person], name: str, value: bool) -> QuerySet[Person]:
        rejected = Gist.objects.filter(push_state=Gist.PushState.REJECTED).order_by().values("person")
        return people.filter(pk__in=rejected) if value else people.exclude(pk__in=rejected)

    def filter_has_unvisited(self, people: QuerySet[Person], name: str, value: bool) -> QuerySet[Person]:
        marker = Visit.objects.filter(person=OuterRef("pk"), consumer=get_consumer(self.request)).values("cursor")
        newer = Gist.objects.filter(person=OuterRef("pk"), id__gt=OuterRef("cursor"))
        people = people.annotate(cursor=Coalesce(Subquery(marker), 0))
        return people.filter(Exists(newer)) if value else people.filter(~Exists(newer))


class GistFilter(filters.FilterSet):  # type: ignore[misc]  # django_filters has no types
    push_state = filters.MultipleChoiceFilter(
        choices=Gist.PushState.choices,
        error_messages=messages_of(Gist.PushState.values),
        help_text="one or more states",
    )
    removed = StrictBooleanFilter(
        field_name="removed_at", lookup_expr="isnull", exclude=True, help_text="GitHub does not list the gist any more"
    )
    created_after = TimeFilter(field_name="created_at", lookup_expr="gte", help_text="when it was stored, ISO 8601")
    created_before = TimeFilter(field_name="created_at", lookup_expr="lte", help_text="when it was stored, ISO 8601")

    class Meta:
        model = Gist
        fields: list[str] = []
