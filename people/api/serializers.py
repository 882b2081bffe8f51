"""Shapes of the API's answers, and the rules for what comes in."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from people import backfill
from people.api.filters import reject_unknown_names
from people.github_names import login_key, parse_login
from people.models import Gist, Person
from people.visits import Window

MAX_CURSOR = 2**63 - 1
ALL_GISTS_LIMIT = 5000


class FileSerializer(serializers.Serializer[dict[str, Any]]):
    name = serializers.CharField()
    raw_url = serializers.URLField()
    language = serializers.CharField(allow_null=True)
    size = serializers.IntegerField(help_text="bytes")


class GistSerializer(serializers.ModelSerializer[Gist]):
    files = FileSerializer(many=True)

    class Meta:
        model = Gist
        fields = [
            "id",
            "github_id",
            "description",
            "html_url",
            "pull_url",
            "truncated",
            "files",
            "github_created_at",
            "github_updated_at",
            "created_at",
            "updated_at",
            "removed_at",
            "push_state",
            "push_error",
            "pipedrive_activity_id",
        ]
        read_only_fields = fields


class PersonSerializer(serializers.ModelSerializer[Person]):
    """A person in a list: counts instead of gists."""

    gist_count = serializers.IntegerField(read_only=True, help_text="gists stored, removed ones included")
    pending_count = serializers.IntegerField(read_only=True, help_text="gists whose activity is still to be made")
    rejected_count = serializers.IntegerField(read_only=True, help_text="gists that Pipedrive refused")

    class Meta:
        model = Person
        fields = [
            "id",
            "github_username",
            "name",
            "email",
            "state",
            "last_error",
            "pipedrive_id",
            "backfill",
            "polled_at",
            "sync_requested_at",
            "gist_count",
            "pending_count",
            "rejected_count",
            "created_at",
            "updated_at",
        ]
        read_only_fields = fields


class PersonWithGistsSerializer(serializers.ModelSerializer[Person]):
    """A person with some of its gists; the context holds the `window` and the address of the `next` one."""

    last_visit = serializers.SerializerMethodField(help_text="your visit before this one")
    cursor = serializers.SerializerMethodField(help_text="ask again with since=cursor for what comes after")
    next = serializers.SerializerMethodField(help_text="where the gists go on, if there are more")
    gists = serializers.SerializerMethodField()

    class Meta:
        model = Person
        fields = [
            "id",
            "github_username",
            "name",
            "email",
            "state",
            "last_error",
            "pipedrive_id",
            "last_visit",
            "cursor",
            "next",
            "created_at",
            "updated_at",
            "gists",
        ]
        read_only_fields = fields

    def get_last_visit(self, person: Person) -> datetime | None:
        return self._window.last_visit

    def get_cursor(self, person: Person) -> int:
        return self._window.cursor

    def get_next(self, person: Person) -> str | None:
        address: str | None = self.context["next"]
        return address

    @extend_schema_field(GistSerializer(many=True))
    def get_gists(self, person: Person) -> list[dict[str, Any]]:
        return list(GistSerializer(self._window.gists, many=True).data)

    @property
    def _window(self) -> Window:
        window: Window = self.context["window"]
        return window


class StrictMixin:
    """Refuses fields that it does not know: a misspelt one must not be passed over."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            known = set(self.fields)  # type: ignore[attr-defined]  # a serializer's
            reject_unknown_names(set(map(str, data)) - known, known)
        return super().to_internal_value(data)  # type: ignore[misc]


@extend_schema_field(
    {"anyOf": [{"type": "string", "maxLength": 10}, {"type": "integer", "minimum": 0, "maximum": 9999999}]}
)
class BackfillField(serializers.CharField):
    """A word, a date, or a number, which may come as one."""


class NewPersonSerializer(StrictMixin, serializers.ModelSerializer[Person]):
    """What a POST needs to track a person."""

    username = serializers.CharField(
        max_length=200, help_text="a GitHub login, @login or profile URL; case does not matter"
    )
    pipedrive_id = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=MAX_CURSOR,
        help_text="the Pipedrive person to file under; found or made when not given",
    )
    backfill = BackfillField(
        required=False,
        allow_blank=True,
        max_length=10,
        help_text="old gists to export: all, none, a number (the newest N) or a date; default: setting BACKFILL",
    )

    class Meta:
        model = Person
        fields = ["username", "pipedrive_id", "backfill"]

    def validate_username(self, value: str) -> str:
        try:
            login = parse_login(value)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from None
        if Person.objects.filter(username_key=login_key(login)).exists():
            raise already_tracked(login)
        return login

    def validate_backfill(self, value: str) -> str:
        return parsed_backfill(value)

    def create(self, validated_data: dict[str, Any]) -> Person:
        login = validated_data["username"]
        try:
            with transaction.atomic():
                return Person.objects.create(
                    github_username=login,
                    pipedrive_id=validated_data.get("pipedrive_id"),
                    backfill=validated_data.get("backfill") or settings.BACKFILL,
                )
        except IntegrityError:  # Somebody else was quicker; the database lets only one in.
            raise serializers.ValidationError({"username": already_tracked(login).detail}) from None


def parsed_backfill(value: str) -> str:
    """The choice in its stored spelling; nothing stays nothing."""
    try:
        return backfill.parse(value) if value else ""
    except ValueError as error:
        raise serializers.ValidationError(str(error)) from None


class PersonChangesSerializer(StrictMixin, serializers.Serializer[dict[str, Any]]):
    """What a PATCH may change of a person; what is left out stays as it is."""

    pipedrive_id = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=MAX_CURSOR,
        help_text="file under this Pipedrive person from now on; null: find or make one",
    )
    state = serializers.ChoiceField(
        required=False,
        choices=[Person.State.ACTIVE, Person.State.PAUSED],
        help_text="paused: kept, but not polled; active: polled again",
    )
    backfill = BackfillField(
        required=False,
        allow_blank=True,
        max_length=10,
        help_text="a wider choice puts skipped gists back to be exported",
    )

    def validate_backfill(self, value: str) -> str:
        return parsed_backfill(value)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs = {name: value for name, value in attrs.items() if value != ""}  # A form's empty field is not given.
        if not attrs:
            raise serializers.ValidationError(f"Give at least one of: {', '.join(self.fields)}.")
        return attrs


class BulkRowSerializer(serializers.Serializer[dict[str, Any]]):
    """One row of POST /people/bulk."""

    username = serializers.CharField()
    pipedrive_id = serializers.IntegerField(required=False, allow_null=True)
    backfill = BackfillField(required=False, allow_null=True)


class BulkResultSerializer(serializers.Serializer[dict[str, Any]]):
    """What became of a row."""

    row = serializers.IntegerField(help_text="counts from 1")
    username = serializers.CharField()
    result = serializers.ChoiceField(choices=["created", "already_tracked", "refused"])
    reason = serializers.CharField(allow_blank=True)


class BulkAnswerSerializer(serializers.Serializer[dict[str, Any]]):
    created = serializers.IntegerField()
    already_tracked = serializers.IntegerField()
    refused = serializers.IntegerField()
    results = BulkResultSerializer(many=True)


def already_tracked(login: str) -> serializers.ValidationError:
    return serializers.ValidationError(f"@{login} is already tracked.", code="unique")


class WindowQuerySerializer(serializers.Serializer[dict[str, Any]]):
    """The query of GET /people/{username}."""

    getAllGists = serializers.BooleanField(  # noqa: N815  # the name is the contract's
        required=False, default=False, help_text="every gist; the visit marker stays where it is"
    )
    since = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=MAX_CURSOR,
        help_text="every gist after this cursor; the visit marker stays where it is",
    )
    page_size = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=500,
        help_text=f"gists at most; default 100, with getAllGists {ALL_GISTS_LIMIT}",
    )
