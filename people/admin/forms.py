"""The forms of people. The rules and messages are those of the API."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminIntegerFieldWidget, AdminTextInputWidget

from gisttracker.common.texts import to_sentence
from people.bulk import MAX_ROWS
from people.models import Person
from people.models.github_names import MAX_LENGTH
from people.person_fields import parse_backfill, parse_pipedrive_id
from people.tracking import parse_new_login


class ParsedField(forms.Field):
    """A text that a parser of the API reads."""

    def __init__(self, parse: Callable[[str], Any], *, empty_value: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.parse, self.empty_value = parse, empty_value

    def to_python(self, value: Any) -> Any:
        text = str(value or "").strip()
        if not text:
            return self.empty_value
        try:
            return self.parse(text)
        except ValueError as error:
            raise forms.ValidationError(to_sentence(error)) from None


class PersonForm(forms.ModelForm):  # type: ignore[type-arg]  # generic only in the stubs
    pipedrive_id = ParsedField(
        parse_pipedrive_id,
        required=False,
        widget=AdminIntegerFieldWidget,
        label="Pipedrive person",
        help_text="the id of the person who gets the activities; empty: one is found or created",
    )

    class Meta:
        model = Person
        fields = ["pipedrive_id"]


class NewPersonForm(PersonForm):
    github_username = ParsedField(
        parse_new_login,
        widget=AdminTextInputWidget(attrs={"maxlength": MAX_LENGTH}),
        label="GitHub user",
        help_text="a login, @login or profile URL, in any case",
    )
    backfill = ParsedField(
        parse_backfill,
        required=False,
        empty_value="",
        widget=AdminTextInputWidget(attrs={"maxlength": 10}),
        help_text="old gists to export: all, none or those since a date such as 2026-01-31; "
        "empty: the setting BACKFILL decides",
    )

    class Meta(PersonForm.Meta):
        fields = ["github_username", "pipedrive_id", "backfill"]


class ImportForm(forms.Form):
    file = forms.FileField(
        label="CSV file",
        help_text=f"UTF-8, at most {MAX_ROWS:,} rows; the first line is username[,pipedrive_id][,backfill]",
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,text/csv"}),
    )
