"""Fields of the request bodies that are stricter, or accept more, than the library's."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.utils import html

from people.api.validation import validate_backfill


@extend_schema_field(
    {"anyOf": [{"type": "string", "maxLength": 10}, {"type": "integer", "minimum": 0, "maximum": 9999999}]}
)
class BackfillField(serializers.CharField):
    """A backfill choice: a word, a date, or a number, as a string or an integer."""

    def to_internal_value(self, data: Any) -> str:
        return validate_backfill(super().to_internal_value(data))


class StrictBooleanField(serializers.BooleanField):
    """true or false. The library's field accepts many other values as well."""

    default_empty_html = serializers.empty  # a form without the field

    def to_internal_value(self, data: Any) -> bool:
        values: list[Any] = ["true", "false"] if html.is_html_input(self.root.initial_data) else [True, False]
        if (isinstance(data, int) and not isinstance(data, bool)) or data not in values:
            self.fail("invalid", input=data)
        return data in (True, "true")
