"""What lists can be narrowed down by. An unknown parameter is an error: a misspelt filter must not mean all."""

from typing import Any

from django.db.models import Exists, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework.exceptions import ValidationError
from rest_framework.filters import OrderingFilter, SearchFilter
from rest_framework.request import Request

from people.api.authentication import get_consumer
from people.models import Gist, Person, SearchTerm, Visit

MAX_TERMS = 8
REPEATABLE = {"state", "push_state"}
PAGING = {"page", "page_size", "ordering"}


@extend_schema_field(OpenApiTypes.BOOL)
class StrictBooleanFilter(filters.TypedChoiceFilter):
    """Unlike the library's, it refuses other words instead of passing over them."""

    def __init__(self, **options: Any) -> None:
        choices = [("true", "true"), ("false", "false")]
        super().__init__(choices=choices, coerce=lambda word: word == "true", **options)


class PrefixSearch(SearchFilter):
    """People of whom some word begins with each of the terms: in login, name or e-mail address, in any case."""

    search_description = "beginnings of words in login, name or e-mail address; all of them must be found"

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        if "\0" in request.query_params.get(self.search_param, ""):
            raise ValidationError({"search": ["NUL characters are not allowed."]})
        terms = self.get_search_terms(request)
        if len(terms) > MAX_TERMS:
            raise ValidationError({"search": [f"{MAX_TERMS} terms are allowed."]})
        for term in terms:
            queryset = queryset.filter(
                pk__in=SearchTerm.objects.filter(term__istartswith=term[:64].lower()).values("person")
            )
        return queryset


class StrictOrdering(OrderingFilter):
    """Refuses what it cannot order by, instead of passing over it."""

    def remove_invalid_fields(self, queryset: Any, fields: Any, view: Any, request: Any) -> Any:
        valid = {name for name, _ in self.get_valid_fields(queryset, view, {"request": request})}
        if not {field.removeprefix("-") for field in fields} <= valid:
            raise ValidationError({"ordering": [f"Order by one of: {', '.join(sorted(valid))}; with - descending."]})
        return fields

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        one = f"-?({'|'.join(view.ordering_fields)})"
        says = f"one or more of {', '.join(view.ordering_fields)}, by commas; with - descending"
        schema = {"type": "string", "pattern": f"^{one}(,{one})*$"}
        return [{"name": "ordering", "required": False, "in": "query", "description": says, "schema": schema}]


class PersonFilter(filters.FilterSet):
    state = filters.MultipleChoiceFilter(choices=Person.State.choices, help_text="one or more states")
    added = filters.IsoDateTimeFromToRangeFilter(
        field_name="created_at", help_text="added_after and added_before: ISO 8601"
    )
    polled = filters.IsoDateTimeFromToRangeFilter(
        field_name="polled_at", help_text="polled_after and polled_before: ISO 8601"
    )
    has_rejected = StrictBooleanFilter(method="with_rejected", help_text="gists that Pipedrive refused")
    has_unvisited = StrictBooleanFilter(method="with_unvisited", help_text="gists that your next visit would show")

    class Meta:
        model = Person
        fields: list[str] = []

    def with_rejected(self, people: QuerySet[Person], name: str, wanted: bool) -> QuerySet[Person]:
        rejected = Gist.objects.filter(push_state=Gist.PushState.REJECTED).order_by().values("person")
        return people.filter(pk__in=rejected) if wanted else people.exclude(pk__in=rejected)

    def with_unvisited(self, people: QuerySet[Person], name: str, wanted: bool) -> QuerySet[Person]:
        marker = Visit.objects.filter(person=OuterRef("pk"), consumer=get_consumer(self.request)).values("cursor")
        newer = Gist.objects.filter(person=OuterRef("pk"), id__gt=OuterRef("cursor"))
        people = people.annotate(cursor=Coalesce(Subquery(marker), 0))
        return people.filter(Exists(newer)) if wanted else people.filter(~Exists(newer))


class GistFilter(filters.FilterSet):
    push_state = filters.MultipleChoiceFilter(choices=Gist.PushState.choices, help_text="one or more states")
    removed = StrictBooleanFilter(
        field_name="removed_at", lookup_expr="isnull", exclude=True, help_text="GitHub does not list it any more"
    )
    created = filters.IsoDateTimeFromToRangeFilter(
        field_name="created_at", help_text="created_after and created_before: when it was first seen, ISO 8601"
    )

    class Meta:
        model = Gist
        fields: list[str] = []


def reject_unknown(request: Request, known: set[str]) -> None:
    """ValidationError for query parameters that mean nothing here, say nothing, or say two things."""
    reject_unknown_names(set(request.query_params) - known, known)
    empty = [name for name in known - {"search"} if request.query_params.get(name) == ""]
    if empty:
        raise ValidationError({name: ["Must not be empty."] for name in sorted(empty)})
    twice = [name for name in known - REPEATABLE if len(request.query_params.getlist(name)) > 1]
    if twice:
        raise ValidationError({name: ["Must be given once."] for name in sorted(twice)})


def reject_unknown_names(unknown: set[str], known: set[str]) -> None:
    if unknown:
        errors: dict[str, Any] = {
            name[:100]: [f"Unknown here. Known: {', '.join(sorted(known)) or 'none'}."] for name in sorted(unknown)
        }
        raise ValidationError(errors)


def names_of(filterset: type[filters.FilterSet]) -> set[str]:
    """The query parameters of a set of filters; a range has two."""
    names = set()
    for name, one in filterset.base_filters.items():
        is_range = isinstance(one, filters.IsoDateTimeFromToRangeFilter)
        names |= {f"{name}_after", f"{name}_before"} if is_range else {name}
    return names
