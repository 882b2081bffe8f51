"""Strict input: unknown, empty or repeated parameters and unknown fields are errors, because a typo in a filter or a
field would otherwise be ignored silently.
"""

from collections.abc import Mapping
from heapq import nsmallest
from typing import Any, ClassVar

from django_filters import rest_framework as filters
from rest_framework.exceptions import ParseError, UnsupportedMediaType, ValidationError
from rest_framework.fields import Field, empty
from rest_framework.request import Request
from rest_framework.serializers import Serializer

from gisttracker.common.error_codes import CODES, ErrorCode
from gisttracker.common.numbers import parse_whole_number
from gisttracker.common.texts import show, to_sentence
from people.api.error_bounds import MAX_ERRORS, NON_FIELD_ERRORS_KEY

PAGING = {"page", "page_size", "after", "ordering"}
REPEATABLE = {"state", "push_state"}
MAY_BE_EMPTY = {"search"}


def validate_query(request: Request, allowed: set[str]) -> None:
    """Raise ValidationError for query parameters that are unknown, empty or given twice."""
    reject_unknown("parameter", set(request.query_params), allowed)
    empty = [name for name in allowed - MAY_BE_EMPTY if request.query_params.get(name) == ""]
    if empty:
        raise ValidationError({name: ["Must not be empty."] for name in sorted(empty)}, ErrorCode.BLANK)
    repeated = [name for name in allowed - REPEATABLE if len(request.query_params.getlist(name)) > 1]
    if repeated:
        raise ValidationError(
            {name: ["Must be given once."] for name in sorted(repeated)}, ErrorCode.REPEATED_PARAMETER
        )


def reject_body(request: Request, hint: str = "") -> None:
    """Raise ValidationError if the request of an operation without a body has one. An empty object or form is none."""
    try:
        has_body = bool(request.data)
    except (ParseError, UnsupportedMediaType):
        has_body = True
    if has_body:
        detail = f"This request has no body; {hint}." if hint else "This request has no body."
        raise ValidationError({NON_FIELD_ERRORS_KEY: [detail]}, ErrorCode.UNKNOWN_FIELD)


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
    unknown = names - allowed
    hint = f"Allowed: {', '.join(sorted(allowed)) or 'none'}."
    shown = [show(name) for name in nsmallest(MAX_ERRORS, unknown)]
    errors: dict[str, Any] = {name: [f"Unknown {kind} `{name}`. {hint}"] for name in shown}
    if len(unknown) > MAX_ERRORS:
        errors[NON_FIELD_ERRORS_KEY] = [f"{len(unknown) - MAX_ERRORS} more {kind}s are unknown."]
    if errors:
        raise ValidationError(errors, CODES[f"unknown_{kind}"])


def parse_number_parameter(request: Request, name: str, minimum: int, maximum: int, *, default: int) -> int:
    """Return the number in a query parameter. Raises ValidationError."""
    try:
        return parse_whole_number(request.query_params.get(name, default), minimum, maximum)
    except ValueError as error:
        raise ValidationError({name: [to_sentence(error)]}) from None


def filter_names(filterset: type[filters.FilterSet]) -> set[str]:
    """Return the query parameters of a filter set."""
    return set(filterset.base_filters)


class StrictMixin:
    """For serializers: rejects unknown fields."""

    default_error_messages: ClassVar[dict[str, Any]] = {"invalid": "Must be an object with fields; not {datatype}."}

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            allowed = set(self.fields)  # type: ignore[attr-defined]  # of the serializer
            reject_unknown("field", set(map(str, data)), allowed)
        return super().to_internal_value(data)  # type: ignore[misc]  # of the serializer
