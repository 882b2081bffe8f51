"""The forms of people. The rules and messages are those of the API."""

from django import forms
from django.contrib.admin.widgets import AdminTextInputWidget

from people import backfill
from people.bulk import MAX_ID, MAX_ROWS
from people.models import Person
from people.tracking import parse_new_login

MAX_LOGIN_LENGTH = 200  # characters of a name or URL, as in the API


class PersonForm(forms.ModelForm):  # type: ignore[type-arg]  # generic only in the stubs
    pipedrive_id = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MAX_ID,
        label="Pipedrive person",
        help_text="the id of the person who gets the activities; empty: one is found or created",
    )

    class Meta:
        model = Person
        fields = ["pipedrive_id", "watched"]


class NewPersonForm(PersonForm):
    github_username = forms.CharField(
        max_length=MAX_LOGIN_LENGTH,
        widget=AdminTextInputWidget,
        label="GitHub user",
        help_text="a login, @login or profile URL, in any case",
    )
    backfill = forms.CharField(
        required=False,
        max_length=10,
        widget=AdminTextInputWidget,
        help_text="existing gists to export: all, none, a number (the newest N) or a date such as 2026-01-31; "
        "empty: the setting BACKFILL decides when the gists are read for the first time",
    )

    class Meta(PersonForm.Meta):
        fields = ["github_username", "pipedrive_id", "backfill", "watched"]

    def clean_github_username(self) -> str:
        try:
            return parse_new_login(self.cleaned_data["github_username"])
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None

    def clean_backfill(self) -> str:
        choice: str = self.cleaned_data["backfill"]
        try:
            return backfill.parse(choice) if choice else ""
        except ValueError as error:
            raise forms.ValidationError(f"backfill {error}.") from None


class ImportForm(forms.Form):
    file = forms.FileField(
        label="CSV file",
        help_text=f"UTF-8, at most {MAX_ROWS:,} rows; the first line is username[,pipedrive_id][,backfill]",
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,text/csv"}),
    )
