"""The fields of the responses, and the validation of the input."""

from enum import StrEnum
from typing import Any

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers
from rest_framework.utils import html

from gisttracker.common.error_codes import CodedError, ErrorCode
from gisttracker.common.numbers import MAX_BIGINT
from people.api.fields import (
    NOT_BOOLEAN,
    BackfillField,
    LoginField,
    RowCodeField,
    ShortChoiceField,
    StrictBooleanField,
    WholeNumberField,
)
from people.api.validation import StrictMixin
from people.bulk import BulkReport, RowOutcome, RowResult
from people.models import ApiKey, Gist, Person
from people.models.github_names import parse_login
from people.representations import person_etag
from people.tracking import AlreadyTrackedError, parse_new_login, track

DEFAULT_PAGE_SIZE = 100  # gists of a visit
MAX_PAGE_SIZE = 5000  # gists; the default of getAllGists
MAX_FEED_PAGE_SIZE = 1000  # gists
CHOSEN_STATES = [(state.value, state.label) for state in (Person.State.ACTIVE, Person.State.PAUSED)]


class Access(StrEnum):
    """What a consumer may do."""

    READ = "read"
    READ_WRITE = "read_write"


class FileSerializer(serializers.Serializer[dict[str, Any]]):
    name = serializers.CharField()
    raw_url = serializers.URLField()
    language = serializers.CharField(allow_null=True)
    size = serializers.IntegerField(help_text="bytes")


class GistSerializer(serializers.ModelSerializer[Gist]):
    html_url = serializers.URLField()
    pull_url = serializers.URLField()
    files = FileSerializer(many=True)
    push_explanation = serializers.CharField(read_only=True, help_text="why the gist is, or is not, in Pipedrive")

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
            "push_explanation",
            "pipedrive_activity_id",
        ]
        read_only_fields = fields


class FeedGistSerializer(GistSerializer):
    """A gist of the feed."""

    person = serializers.CharField(source="person.github_username", read_only=True, help_text="the person's login")

    class Meta(GistSerializer.Meta):
        fields = ["person", *GistSerializer.Meta.fields]
        read_only_fields = fields


@extend_schema_serializer(many=False)  # The view lists, but not as pages.
class FeedSerializer(serializers.Serializer[dict[str, Any]]):
    """Gists of all people, in the order in which they were stored."""

    results = FeedGistSerializer(many=True)
    cursor = serializers.IntegerField(help_text="acknowledge it, or send it as `after` to get the gists after these")
    next = serializers.URLField(allow_null=True, help_text="URL of the next gists, if there are more")


class FeedQuerySerializer(serializers.Serializer[dict[str, Any]]):
    """The query parameters of GET /gists, besides the filters."""

    after = WholeNumberField(
        required=False,
        min_value=0,
        max_value=MAX_BIGINT,
        help_text="return the gists after this cursor, of the feed or of a visit; by default after your feed marker",
    )
    page_size = WholeNumberField(
        default=DEFAULT_PAGE_SIZE, min_value=1, max_value=MAX_FEED_PAGE_SIZE, help_text="maximum number of gists"
    )


class AcknowledgementSerializer(StrictMixin, serializers.Serializer[dict[str, Any]]):
    """The body of POST /feed/ack."""

    cursor = WholeNumberField(
        min_value=0, max_value=MAX_BIGINT, help_text="the `cursor` of the last response that you have processed"
    )
    force = StrictBooleanField(default=False, help_text="move the marker also backwards, to get gists again")


class FeedMarkerSerializer(serializers.Serializer[dict[str, Any]]):
    cursor = serializers.IntegerField(help_text="where your feed marker is now")


class OwnKeySerializer(serializers.ModelSerializer[ApiKey]):
    """The key of the request."""

    created_at = serializers.DateTimeField(source="created", read_only=True)
    expires_at = serializers.DateTimeField(source="expiry_date", read_only=True, allow_null=True)

    class Meta:
        model = ApiKey
        fields = ["prefix", "created_at", "expires_at"]
        read_only_fields = fields


class MeSerializer(serializers.Serializer[dict[str, Any]]):
    """The consumer of the request."""

    consumer = serializers.CharField(help_text="your name; visits and the feed marker belong to it, not to the key")
    access = serializers.ChoiceField(choices=[(access.value, access.name) for access in Access])
    key = OwnKeySerializer(allow_null=True, help_text="null for staff, and if the API needs no key")
    feed_cursor = serializers.IntegerField(help_text="your feed marker")
    feed_end = serializers.IntegerField(help_text="the id of the newest gist")
    requests_per_minute = serializers.IntegerField(help_text="your limit")


class UnreadableGistSerializer(serializers.Serializer[dict[str, str]]):
    """A gist that GitHub lists and that cannot be read."""

    id = serializers.CharField(allow_blank=True, help_text="GitHub's gist id, if that is readable")
    reason = serializers.CharField()


class PersonSerializer(serializers.ModelSerializer[Person]):
    """A person in a list: counts instead of gists."""

    gist_count = serializers.IntegerField(read_only=True, help_text="stored gists, including removed ones")
    pending_count = serializers.IntegerField(read_only=True, help_text="gists whose activity is not created yet")
    rejected_count = serializers.IntegerField(read_only=True, help_text="gists that Pipedrive rejected")
    unreadable_gists = serializers.SerializerMethodField(help_text="listed gists that cannot be read")
    etag = serializers.SerializerMethodField(help_text="send it as If-Match to change just this version")

    class Meta:
        model = Person
        fields = [
            "id",
            "github_username",
            "name",
            "email",
            "company",
            "location",
            "state",
            "last_error",
            "push_error",
            "unreadable_gists",
            "pipedrive_id",
            "backfill",
            "polled_at",
            "sync_requested_at",
            "gist_count",
            "pending_count",
            "rejected_count",
            "created_at",
            "updated_at",
            "etag",
        ]
        read_only_fields = fields

    def get_etag(self, person: Person) -> str:
        return person_etag(vars(person))

    @extend_schema_field(UnreadableGistSerializer(many=True))
    def get_unreadable_gists(self, person: Person) -> list[dict[str, str]]:
        return person.unreadable_gists or []


class PersonWithGistsSerializer(serializers.ModelSerializer[Person]):
    """A person with some of their gists."""

    # Only for the OpenAPI description: the view copies columns; see people.visits.
    etag = serializers.CharField(read_only=True, help_text="send it as If-Match to change just this version")
    last_visit = serializers.DateTimeField(read_only=True, allow_null=True, help_text="your visit before this one")
    cursor = serializers.IntegerField(read_only=True, help_text="send it as `since` to get the gists after these")
    previous_cursor = serializers.IntegerField(
        read_only=True,
        help_text="your visit marker before this response; if it is greater than the `cursor` of the last visit that "
        "you have processed (0 before the first one), a response was lost: send your cursor as `since`",
    )
    next = serializers.URLField(read_only=True, allow_null=True, help_text="URL of the next gists, if there are more")
    gists = GistSerializer(many=True, read_only=True)

    class Meta:
        model = Person
        fields = [
            "id",
            "github_username",
            "name",
            "email",
            "company",
            "location",
            "state",
            "last_error",
            "push_error",
            "pipedrive_id",
            "backfill",
            "etag",
            "last_visit",
            "cursor",
            "previous_cursor",
            "next",
            "created_at",
            "updated_at",
            "gists",
        ]
        read_only_fields = fields


class NewPersonSerializer(StrictMixin, serializers.ModelSerializer[Person]):
    """The body of POST /people."""

    username = LoginField(help_text="a GitHub login, @login or profile URL; case does not matter")
    pipedrive_id = WholeNumberField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=MAX_BIGINT,
        help_text="id of the Pipedrive person who gets the activities; by default one is found or created",
    )
    backfill = BackfillField(
        required=False,
        allow_null=True,
        help_text="old gists to export: all, none or those since a date; "
        "if it is left open, the setting BACKFILL decides",
    )

    class Meta:
        model = Person
        fields = ["username", "pipedrive_id", "backfill"]

    def validate_username(self, value: str) -> str:
        try:
            return parse_new_login(value)
        except AlreadyTrackedError:  # create() raises it again, when all fields are known to be valid.
            return parse_login(value)
        except CodedError as error:
            raise serializers.ValidationError(str(error), code=error.code) from None

    def create(self, validated_data: dict[str, Any]) -> Person:
        """Raises AlreadyTrackedError."""
        return track(
            validated_data["username"],
            pipedrive_id=validated_data.get("pipedrive_id"),
            backfill=validated_data.get("backfill") or "",
        )


class PersonChangesSerializer(StrictMixin, serializers.Serializer[dict[str, Any]]):
    """The body of PATCH /people/{username}. Absent fields stay unchanged."""

    pipedrive_id = WholeNumberField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=MAX_BIGINT,
        help_text="id of the Pipedrive person who gets further activities; null: one is found or created",
    )
    state = ShortChoiceField(
        required=False,
        choices=CHOSEN_STATES,
        help_text="paused: stop polling; active: poll again",
    )
    backfill = BackfillField(
        required=False,
        help_text="a wider choice exports gists that were skipped before",
    )

    def to_internal_value(self, data: Any) -> Any:
        if html.is_html_input(data):  # An empty form field counts as absent, as an empty backfill choice does.
            data = {name: value for name, value in data.items() if value != ""}
        return super().to_internal_value(data)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs = {name: value for name, value in attrs.items() if value != ""}
        if not attrs:
            detail = f"Send at least one of: {', '.join(self.fields)}."
            raise serializers.ValidationError(detail, ErrorCode.NOTHING_TO_CHANGE)
        return attrs


class UntrackQuerySerializer(serializers.Serializer[dict[str, Any]]):
    """The query parameters of DELETE /people/{username}."""

    forget = ShortChoiceField(choices=["true", "false"], default="false")


class BulkResultSerializer(serializers.Serializer[RowResult]):
    """The result of one row."""

    row = serializers.IntegerField(help_text="counts from 1")
    username = serializers.CharField()
    result = serializers.ChoiceField(choices=[(outcome.value, outcome.name) for outcome in RowOutcome])
    code = RowCodeField(allow_null=True, help_text="of the reason; null if the person was created")
    reason = serializers.CharField(allow_blank=True)


class BulkReportSerializer(serializers.Serializer[BulkReport]):
    """The results of all rows, and the number of rows with each result."""

    created = serializers.IntegerField()
    already_tracked = serializers.IntegerField()
    rejected = serializers.IntegerField()
    results = BulkResultSerializer(many=True)


class VisitQuerySerializer(serializers.Serializer[dict[str, Any]]):
    """The query parameters of GET /people/{username}."""

    getAllGists = serializers.BooleanField(  # noqa: N815  # the contract fixes this name
        required=False,
        default=False,
        error_messages={"invalid": NOT_BOOLEAN},
        help_text="return all gists; does not move the visit marker",
    )
    since = WholeNumberField(
        required=False,
        min_value=0,
        max_value=MAX_BIGINT,
        help_text="return all gists after this cursor, of a visit or of the feed; does not move the visit marker",
    )
    page_size = WholeNumberField(
        required=False,
        min_value=1,
        max_value=MAX_PAGE_SIZE,
        help_text=f"maximum number of gists; default {DEFAULT_PAGE_SIZE}, with getAllGists {MAX_PAGE_SIZE}",
    )
