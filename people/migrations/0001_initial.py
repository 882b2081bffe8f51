import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from gisttracker.common.database import cascade_foreign_keys


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="KnownActivity",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("gist_key", models.CharField(max_length=64, unique=True)),
                ("activity_id", models.PositiveBigIntegerField(db_index=True, null=True)),
                ("version_key", models.CharField(blank=True, max_length=64)),
                ("started_at", models.DateTimeField(null=True)),
                ("pipedrive_person_id", models.PositiveBigIntegerField(null=True)),
                ("person_started_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
        ),
        migrations.CreateModel(
            name="Suppressed",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[("github_id", "Github Id"), ("login", "Login")],
                        help_text="of what the hash is",
                        max_length=10,
                    ),
                ),
                ("digest", models.CharField(help_text="the salted hash", max_length=64, unique=True)),
                (
                    "created_at",
                    models.DateTimeField(auto_now_add=True, help_text="since when the account is not tracked"),
                ),
                (
                    "requested_by",
                    models.CharField(
                        blank=True, help_text="the consumer, user or run that requested it", max_length=150
                    ),
                ),
            ],
            options={
                "verbose_name": "suppressed account",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="SuppressionSalt",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, editable=False, primary_key=True, serialize=False)),
                ("salt", models.CharField(max_length=64)),
            ],
        ),
        migrations.CreateModel(
            name="Consumer",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "name",
                    models.CharField(help_text="the team or program that uses the API", max_length=200, unique=True),
                ),
                (
                    "feed_cursor",
                    models.PositiveBigIntegerField(
                        default=0, editable=False, help_text="id of the last gist of the feed that was acknowledged"
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, help_text="when the consumer was added")),
                (
                    "user",
                    models.OneToOneField(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="ApiKey",
            fields=[
                (
                    "id",
                    models.CharField(editable=False, max_length=150, primary_key=True, serialize=False, unique=True),
                ),
                ("prefix", models.CharField(editable=False, max_length=8, unique=True)),
                ("hashed_key", models.CharField(editable=False, max_length=150)),
                ("created", models.DateTimeField(auto_now_add=True, db_index=True)),
                (
                    "name",
                    models.CharField(
                        default=None,
                        help_text="A free-form name for the API key. Need not be unique. 50 characters max.",
                        max_length=50,
                    ),
                ),
                (
                    "revoked",
                    models.BooleanField(
                        blank=True,
                        default=False,
                        help_text="If the API key is revoked, clients cannot use it anymore. (This cannot be undone.)",
                    ),
                ),
                (
                    "expiry_date",
                    models.DateTimeField(
                        blank=True,
                        help_text="Once API key expires, clients cannot use it anymore.",
                        null=True,
                        verbose_name="Expires",
                    ),
                ),
                (
                    "read_only",
                    models.BooleanField(
                        default=False, help_text="The key may only read (which also moves the consumer's markers)."
                    ),
                ),
                (
                    "last_used_at",
                    models.DateTimeField(
                        blank=True, editable=False, help_text="last valid request, give or take ten minutes", null=True
                    ),
                ),
                (
                    "consumer",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="keys", to="people.consumer"
                    ),
                ),
            ],
            options={
                "verbose_name": "API key",
                "verbose_name_plural": "API keys",
                "ordering": ("-created",),
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Person",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "github_username",
                    models.CharField(help_text="login on GitHub; a rename there is followed", max_length=39),
                ),
                ("username_key", models.CharField(editable=False, max_length=39, unique=True)),
                (
                    "github_id",
                    models.BigIntegerField(
                        blank=True,
                        editable=False,
                        help_text="GitHub's number of the account, which a rename does not change; empty until the first poll",
                        null=True,
                        unique=True,
                    ),
                ),
                ("name", models.CharField(blank=True, help_text="from the GitHub profile", max_length=255)),
                (
                    "email",
                    models.CharField(blank=True, help_text="public address in the GitHub profile", max_length=255),
                ),
                ("company", models.CharField(blank=True, help_text="from the GitHub profile", max_length=255)),
                ("location", models.CharField(blank=True, help_text="from the GitHub profile", max_length=255)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("new", "New"),
                            ("active", "Active"),
                            ("gone", "Gone"),
                            ("conflict", "Conflict"),
                            ("paused", "Paused"),
                        ],
                        default="new",
                        help_text="new: not polled yet; gone: the account does not exist; conflict: the account is tracked twice",
                        max_length=10,
                    ),
                ),
                (
                    "state_changed_at",
                    models.DateTimeField(
                        blank=True, editable=False, help_text="when the state changed last", null=True
                    ),
                ),
                (
                    "backfill",
                    models.CharField(
                        blank=True,
                        help_text="old gists to export: all, none or those since a date; empty: the setting BACKFILL decides",
                        max_length=10,
                    ),
                ),
                (
                    "pipedrive_id",
                    models.PositiveBigIntegerField(
                        blank=True,
                        db_index=True,
                        help_text="id of the Pipedrive person who gets the activities; empty: one is found or created",
                        null=True,
                    ),
                ),
                (
                    "pipedrive_linked_at",
                    models.DateTimeField(
                        blank=True,
                        editable=False,
                        help_text="when the service found or created the Pipedrive person; empty: you have given the id",
                        null=True,
                    ),
                ),
                (
                    "pipedrive_confirmed_at",
                    models.DateTimeField(
                        blank=True,
                        editable=False,
                        help_text="when Pipedrive last showed that this person exists",
                        null=True,
                    ),
                ),
                (
                    "pipedrive_field_key",
                    models.CharField(
                        blank=True,
                        default="",
                        editable=False,
                        help_text="key of Pipedrive's custom field that holds the GitHub id of this person",
                        max_length=64,
                    ),
                ),
                (
                    "pipedrive_create_started_at",
                    models.DateTimeField(
                        blank=True,
                        editable=False,
                        help_text="the last moment at which the service may have begun to create the Pipedrive person",
                        null=True,
                    ),
                ),
                ("pipedrive_create_name", models.CharField(blank=True, editable=False, max_length=255)),
                (
                    "pipedrive_matched_at",
                    models.DateTimeField(
                        blank=True,
                        editable=False,
                        help_text="when the activities in Pipedrive were last compared with the gists",
                        null=True,
                    ),
                ),
                ("etag", models.CharField(blank=True, editable=False, max_length=255)),
                ("etag_scope", models.CharField(blank=True, editable=False, max_length=64)),
                (
                    "attempted_at",
                    models.DateTimeField(
                        blank=True, db_index=True, editable=False, help_text="last poll, whatever came of it", null=True
                    ),
                ),
                (
                    "polled_at",
                    models.DateTimeField(blank=True, editable=False, help_text="last successful poll", null=True),
                ),
                (
                    "unreadable_gists",
                    models.JSONField(
                        blank=True,
                        editable=False,
                        help_text="listed gists that cannot be read, with the reasons; they are tried again",
                        null=True,
                    ),
                ),
                (
                    "full_read_at",
                    models.DateTimeField(
                        blank=True,
                        editable=False,
                        help_text="when the profile and the whole list were last read",
                        null=True,
                    ),
                ),
                (
                    "push_attempted_at",
                    models.DateTimeField(
                        blank=True,
                        editable=False,
                        help_text="last time that gists of this person were pushed, whatever came of it",
                        null=True,
                    ),
                ),
                (
                    "sync_requested_at",
                    models.DateTimeField(
                        blank=True,
                        db_index=True,
                        editable=False,
                        help_text="since when a sync as soon as possible is requested",
                        null=True,
                    ),
                ),
                (
                    "next_attempt_at",
                    models.DateTimeField(
                        blank=True,
                        db_index=True,
                        editable=False,
                        help_text="not polled before, because of repeated failures",
                        null=True,
                    ),
                ),
                (
                    "next_push_at",
                    models.DateTimeField(
                        blank=True,
                        db_index=True,
                        editable=False,
                        help_text="not pushed before, because of repeated failures",
                        null=True,
                    ),
                ),
                (
                    "failures",
                    models.PositiveIntegerField(
                        db_index=True, default=0, editable=False, help_text="failed polls in a row"
                    ),
                ),
                (
                    "failing_since",
                    models.DateTimeField(
                        blank=True, editable=False, help_text="the first of the failed polls", null=True
                    ),
                ),
                (
                    "last_error",
                    models.CharField(
                        blank=True,
                        editable=False,
                        help_text="why the last poll failed, or a remark about it",
                        max_length=500,
                    ),
                ),
                (
                    "push_failures",
                    models.PositiveIntegerField(
                        db_index=True, default=0, editable=False, help_text="failed pushes in a row"
                    ),
                ),
                (
                    "push_failing_since",
                    models.DateTimeField(
                        blank=True, editable=False, help_text="the first of the failed pushes", null=True
                    ),
                ),
                (
                    "push_error",
                    models.CharField(
                        blank=True, editable=False, help_text="why the last push of this person failed", max_length=500
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, help_text="when the person was added")),
                ("updated_at", models.DateTimeField(auto_now=True, help_text="when this row changed last")),
            ],
            options={
                "verbose_name_plural": "people",
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["state", "polled_at"], name="person_state_polled")],
            },
        ),
        migrations.CreateModel(
            name="Gist",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("github_id", models.CharField(max_length=64, unique=True)),
                ("description", models.TextField(blank=True)),
                ("html_url", models.CharField(max_length=500)),
                ("pull_url", models.CharField(max_length=500)),
                ("truncated", models.BooleanField(default=False, help_text="GitHub lists only the first 300 files.")),
                (
                    "files",
                    models.JSONField(default=list, help_text="A list of {name, raw_url, language, size in bytes}."),
                ),
                (
                    "discovery",
                    models.CharField(
                        blank=True,
                        choices=[("stream", "Stream"), ("poll", "Poll"), ("missed", "Missed")],
                        help_text="how it was found, if its person was tracked",
                        max_length=10,
                    ),
                ),
                ("github_created_at", models.DateTimeField()),
                ("github_updated_at", models.DateTimeField()),
                ("removed_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("pending_since", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "push_state",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("started", "Started"),
                            ("pushed", "Pushed"),
                            ("rejected", "Rejected"),
                            ("skipped", "Skipped"),
                        ],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("push_started_at", models.DateTimeField(blank=True, null=True)),
                (
                    "push_run_id",
                    models.PositiveBigIntegerField(blank=True, help_text="the run that sent it last", null=True),
                ),
                ("push_attempts", models.PositiveIntegerField(default=0)),
                ("push_error", models.CharField(blank=True, max_length=500)),
                ("pushed_at", models.DateTimeField(blank=True, null=True)),
                ("pipedrive_activity_id", models.PositiveBigIntegerField(blank=True, db_index=True, null=True)),
                ("pipedrive_person_id", models.PositiveBigIntegerField(blank=True, null=True)),
                ("activity_outdated", models.BooleanField(default=False)),
                ("next_edit_at", models.DateTimeField(blank=True, null=True)),
                (
                    "person",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="gists", to="people.person"
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "indexes": [
                    models.Index(fields=["person", "id"], name="gist_person_id"),
                    models.Index(fields=["push_state", "person"], name="gist_push_state_person"),
                    models.Index(fields=["push_state", "pending_since"], name="gist_push_state_pending"),
                    models.Index(fields=["created_at"], name="gist_created"),
                    models.Index(fields=["discovery", "created_at"], name="gist_discovery_created"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Visit",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("cursor", models.PositiveBigIntegerField(default=0, help_text="gists up to this id were shown")),
                ("visited_at", models.DateTimeField(help_text="when the marker was moved last", null=True)),
                (
                    "consumer",
                    models.ForeignKey(
                        help_text="who has visited",
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="visits",
                        to="people.consumer",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        help_text="the person who was visited",
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="visits",
                        to="people.person",
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("person", "consumer"), name="one_visit_marker_each")],
            },
        ),
        migrations.RunPython(cascade_foreign_keys, migrations.RunPython.noop),
    ]
