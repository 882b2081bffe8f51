"""Fields of the request bodies that are stricter, or accept more, than the library's."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.utils import html

from gisttracker.common.error_codes import ErrorCode
from gisttracker.common.numbers import MAX_BIGINT, parse_whole_number, whole_number_rule
from gisttracker.common.texts import show, to_sentence
from people.models.github_names import MAX_LENGTH
from people.person_fields import NOT_TEXT, parse_backfill, parse_username

NOT_BOOLEAN = "Must be true or false."


class WholeNumberField(serializers.IntegerField):
    """A number from `min_value` to `max_value` by the rule of common.numbers. One message, whatever is wrong."""

    def __init__(self, *, min_value: int, max_value: int = MAX_BIGINT, **options: Any) -> None:
        rule = f"{whole_number_rule(min_value, max_value).capitalize()}."
        messages: dict[str, Any] = dict.fromkeys(("invalid", "min_value", "max_value"), rule)
        super().__init__(min_value=min_value, max_value=max_value, error_messages=messages, **options)

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, int) and not isinstance(data, bool):
            return data  # The validators check the range.
        try:
            return parse_whole_number(data)
        except ValueError:
            self.fail("invalid")


class ShortChoiceField(serializers.ChoiceField):
    """A choice whose message shows what is allowed, and only the beginning of what was sent."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str) or data not in self.choices:
            raise serializers.ValidationError(
                f"Must be one of: {', '.join(map(str, self.choices))}; not {show(data, 40)}.", code="invalid_choice"
            )
        return data


@extend_schema_field({"type": "string", "minLength": 1, "maxLength": MAX_LENGTH})
class LoginField(serializers.Field[str, Any, str, Any]):
    """A login, @login or profile URL."""

    default_error_messages = {"null": to_sentence(ValueError(NOT_TEXT))}

    def to_internal_value(self, data: Any) -> str:
        try:
            return parse_username(data)
        except ValueError as error:
            raise serializers.ValidationError(to_sentence(error), code=ErrorCode.INVALID_LOGIN) from None


@extend_schema_field({"type": "string", "maxLength": 10})
class BackfillField(serializers.Field[str, Any, str, Any]):
    """A backfill choice: a word or a date. Empty: open."""

    allow_blank = True  # for forms

    def to_internal_value(self, data: Any) -> str:
        try:
            return parse_backfill(data)
        except ValueError as error:
            raise serializers.ValidationError(to_sentence(error), code=ErrorCode.INVALID_BACKFILL) from None


@extend_schema_field({"anyOf": [{"$ref": "#/components/schemas/RowCode"}]})  # allow_null adds null
class RowCodeField(serializers.CharField):
    """An ErrorCode."""


class StrictBooleanField(serializers.BooleanField):
    """true or false. The library's field accepts many other values as well."""

    default_error_messages = {"invalid": NOT_BOOLEAN}
    default_empty_html = serializers.empty  # a form without the field

    def to_internal_value(self, data: Any) -> bool:
        values: list[Any] = ["true", "false"] if html.is_html_input(self.root.initial_data) else [True, False]
        if (isinstance(data, int) and not isinstance(data, bool)) or data not in values:
            self.fail("invalid", input=data)
        return data in (True, "true")
