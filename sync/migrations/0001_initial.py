import django.db.models.deletion
from django.db import migrations, models

from gisttracker.common.database import cascade_foreign_keys


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("people", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="ApiState",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("api", models.CharField(max_length=20, unique=True)),
                ("run_id", models.PositiveBigIntegerField(help_text="the last run that called it", null=True)),
                (
                    "problem",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "None"),
                            ("refused", "Refused"),
                            ("outage", "Outage"),
                            ("rate_limited", "Rate Limited"),
                            ("capped", "Capped"),
                        ],
                        help_text="why it stopped calling",
                        max_length=20,
                    ),
                ),
                ("message", models.CharField(blank=True, max_length=500)),
                (
                    "problem_since",
                    models.DateTimeField(help_text="the first of the runs in a row with this problem", null=True),
                ),
                ("has_token", models.BooleanField(default=True)),
                (
                    "limit",
                    models.JSONField(
                        default=dict, help_text="the last rate limit that it reported, as in SyncRun.limits"
                    ),
                ),
                (
                    "notice",
                    models.CharField(blank=True, help_text="what the API announces about its version", max_length=500),
                ),
                (
                    "token_expires_at",
                    models.DateTimeField(help_text="when the token ends, as GitHub has shown it", null=True),
                ),
                ("paused_until", models.DateTimeField(null=True)),
                (
                    "pause_scope",
                    models.CharField(blank=True, help_text="stands for the address and the token", max_length=64),
                ),
                ("pause_reason", models.CharField(blank=True, max_length=200)),
                ("activity_day", models.DateField(null=True)),
                ("activity_count", models.PositiveIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="GitHubIdField",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(blank=True, max_length=64)),
                ("problem", models.CharField(blank=True, help_text="why there is no field", max_length=500)),
                ("checked_at", models.DateTimeField(null=True)),
                ("create_started_at", models.DateTimeField(help_text="when a run began to create it", null=True)),
            ],
        ),
        migrations.CreateModel(
            name="RunLease",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "token",
                    models.CharField(
                        blank=True, help_text="of the process that has it; empty if none has", max_length=36
                    ),
                ),
                ("run_id", models.PositiveBigIntegerField(help_text="its run; none while undo_run has it", null=True)),
                ("expires_at", models.DateTimeField()),
                ("host", models.CharField(blank=True, max_length=255)),
                ("pid", models.PositiveBigIntegerField(help_text="process id on that host", null=True)),
            ],
        ),
        migrations.CreateModel(
            name="StreamGap",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("since", models.DateTimeField()),
                ("until", models.DateTimeField(db_index=True)),
                ("reason", models.CharField(max_length=500)),
            ],
        ),
        migrations.CreateModel(
            name="StreamState",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("first_read_at", models.DateTimeField(help_text="when it was read for the first time")),
                ("attempted_at", models.DateTimeField(help_text="the last reading, whatever came of it")),
                ("read_at", models.DateTimeField(help_text="the last reading without a problem", null=True)),
                ("newest_at", models.DateTimeField(help_text="the newest time in it")),
                ("problem", models.CharField(blank=True, help_text="what is wrong with it", max_length=500)),
                ("problem_since", models.DateTimeField(null=True)),
                (
                    "paused_until",
                    models.DateTimeField(help_text="when it may be read again, as GitHub has ordered", null=True),
                ),
            ],
        ),
        migrations.CreateModel(
            name="SyncRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("started_at", models.DateTimeField(db_index=True)),
                ("heartbeat_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("running", "Running"),
                            ("succeeded", "Succeeded"),
                            ("rate_limited", "Rate Limited"),
                            ("failed", "Failed"),
                            ("misconfigured", "Misconfigured"),
                            ("stopped", "Stopped"),
                            ("crashed", "Crashed"),
                        ],
                        default="running",
                        max_length=20,
                    ),
                ),
                ("counts", models.JSONField(default=dict)),
                ("limits", models.JSONField(default=dict, help_text="the last rate limits that the APIs reported")),
                ("trigger", models.CharField(default="manual", help_text="what started the run", max_length=20)),
                ("host", models.CharField(max_length=255)),
                ("pid", models.PositiveBigIntegerField(help_text="process id on that host", null=True)),
                ("version", models.CharField(blank=True, help_text="gisttracker version", max_length=40)),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Alarm",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("code", models.CharField(help_text="what is wrong, for programs", max_length=60)),
                ("open_code", models.CharField(blank=True, max_length=60, null=True, unique=True)),
                ("severity", models.CharField(choices=[("page", "Page"), ("ticket", "Ticket")], max_length=10)),
                (
                    "message",
                    models.TextField(help_text="what is wrong, for which reasons, and what to do; without names"),
                ),
                ("raised_at", models.DateTimeField(db_index=True)),
                ("resolved_at", models.DateTimeField(blank=True, null=True)),
                ("raise_sent_at", models.DateTimeField(blank=True, null=True)),
                ("resolve_sent_at", models.DateTimeField(blank=True, null=True)),
                ("next_send_at", models.DateTimeField(blank=True, null=True)),
                (
                    "people",
                    models.ManyToManyField(
                        help_text="some of the people concerned", related_name="alarms", to="people.person"
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Problem",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "code",
                    models.CharField(
                        choices=[
                            ("poll", "Poll"),
                            ("push", "Push"),
                            ("gist", "Gist"),
                            ("person", "Person"),
                            ("run", "Run"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "reason",
                    models.CharField(
                        help_text="it names no person and no gist, so that it can be grouped", max_length=500
                    ),
                ),
                (
                    "count",
                    models.PositiveIntegerField(default=1, help_text="how often it was met since the row before"),
                ),
                (
                    "gist",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="people.gist"
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="problems",
                        to="people.person",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="problems", to="sync.syncrun"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Hint",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("github_id", models.CharField(help_text="of the gist", max_length=64)),
                ("updated_at", models.DateTimeField(help_text="of the gist, as the stream shows it")),
                ("hinted_at", models.DateTimeField(db_index=True)),
                (
                    "person",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="hints", to="people.person"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("github_id", "updated_at", "person"), name="hint_unique")
                ],
            },
        ),
        migrations.CreateModel(
            name="PushAttempt",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("run_id", models.PositiveBigIntegerField(null=True)),
                ("attempted_at", models.DateTimeField(db_index=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[("create", "Create"), ("update", "Update"), ("delete", "Delete")],
                        default="create",
                        max_length=10,
                    ),
                ),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("succeeded", "Succeeded"),
                            ("refused", "Refused"),
                            ("unknown", "Unknown"),
                            ("not_sent", "Not Sent"),
                            ("found", "Found"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "status",
                    models.PositiveSmallIntegerField(
                        help_text="HTTP status of the response, if one arrived", null=True
                    ),
                ),
                ("message", models.CharField(blank=True, max_length=500)),
                ("duration", models.FloatField(default=0.0, help_text="seconds")),
                ("activity_id", models.PositiveBigIntegerField(null=True)),
                ("activity_updated_at", models.DateTimeField(null=True)),
                (
                    "gist",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="attempts",
                        to="people.gist",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(fields=["gist", "id"], name="push_attempt_gist"),
                    models.Index(fields=["run_id", "id"], name="push_attempt_run"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Suspicion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[("gone", "Gone"), ("conflict", "Conflict"), ("lost", "Lost"), ("refused", "Refused")],
                        max_length=10,
                    ),
                ),
                ("since", models.DateTimeField(help_text="when a run saw it first")),
                ("reason", models.CharField(help_text="equal for the same cause", max_length=500)),
                ("runs", models.PositiveIntegerField(default=1, help_text="how many runs have seen it")),
                ("run_id", models.PositiveBigIntegerField(help_text="the last run that saw it")),
                (
                    "gist",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="suspicions",
                        to="people.gist",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="suspicions", to="people.person"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["kind", "reason"], name="suspicion_kind_reason")],
            },
        ),
        migrations.RunPython(cascade_foreign_keys, migrations.RunPython.noop),
    ]
