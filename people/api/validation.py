"""Strict input: unknown, empty or repeated parameters and unknown fields are errors, because a typo in a filter or a
field would otherwise be ignored silently.
"""

from collections.abc import Mapping
from typing import Any

from django_filters import rest_framework as filters
from rest_framework.exceptions import ValidationError
from rest_framework.fields import Field, empty
from rest_framework.request import Request
from rest_framework.serializers import Serializer

from people import backfill

PAGING = {"page", "page_size", "after", "ordering"}
REPEATABLE = {"state", "push_state"}
MAY_BE_EMPTY = {"search"}


def validate_query(request: Request, allowed: set[str]) -> None:
    """Raise ValidationError for query parameters that are unknown, empty or given twice."""
    reject_unknown("parameter", set(request.query_params), allowed)
    empty = [name for name in allowed - MAY_BE_EMPTY if request.query_params.get(name) == ""]
    if empty:
        raise ValidationError({name: ["Must not be empty."] for name in sorted(empty)})
    repeated = [name for name in allowed - REPEATABLE if len(request.query_params.getlist(name)) > 1]
    if repeated:
        raise ValidationError({name: ["Must be given once."] for name in sorted(repeated)})


def parse_query(
    request: Request, parameters: type[Serializer[Any]], *, others: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """Return the values of the query parameters that a serializer declares. Raises ValidationError.

    `others`: parameters that are allowed, and are read elsewhere.
    The fields are used as they are: building a serializer copies them, which takes longer than the parsing.
    """
    fields: dict[str, Field[Any, Any, Any, Any]] = parameters._declared_fields
    validate_query(request, set(fields) | others)
    values: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    for name, field in fields.items():
        if name not in request.query_params:
            values |= {} if field.default is empty else {name: field.default}
            continue
        try:
            values[name] = field.run_validation(request.query_params[name])
        except ValidationError as error:
            errors[name] = error.detail
    if errors:
        raise ValidationError(errors)
    return values


def reject_unknown(kind: str, names: set[str], allowed: set[str]) -> None:
    """Raise ValidationError if one of the `names` is not allowed. `kind` is what they name: "parameter" or "field"."""
    hint = f"Allowed: {', '.join(sorted(allowed)) or 'none'}."
    errors: dict[str, Any] = {
        name[:100]: [f"Unknown {kind} `{name[:100]}`. {hint}"] for name in sorted(names - allowed)
    }
    if errors:
        raise ValidationError(errors)


def filter_names(filterset: type[filters.FilterSet]) -> set[str]:
    """Return the query parameters of a filter set. A range has two."""
    names: set[str] = set()
    for name, declared in filterset.base_filters.items():
        is_range = isinstance(declared, filters.IsoDateTimeFromToRangeFilter)
        names |= {f"{name}_after", f"{name}_before"} if is_range else {name}
    return names


def validate_backfill(value: str) -> str:
    """Return the choice as it is stored. Raises ValidationError with the rule."""
    try:
        return backfill.parse(value)
    except ValueError as error:
        raise ValidationError(str(error)) from None


class StrictMixin:
    """For serializers: rejects unknown fields."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            allowed = set(self.fields)  # type: ignore[attr-defined]  # of the serializer
            reject_unknown("field", set(map(str, data)), allowed)
        return super().to_internal_value(data)  # type: ignore[misc]  # of the serializer
