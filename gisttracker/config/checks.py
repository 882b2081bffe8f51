"""System checks of the settings that make the web service unsafe, and of the database.

`manage.py check --deploy` runs them with Django's own; wsgi.py runs them before it serves. `manage.py migrate` runs the
check of the database.
"""

import sys
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import Error, Tags, register
from django.db import DatabaseError, connection

MIN_SECRET_KEY_LENGTH = 50  # the same limits as in Django's security.W009, which is only a warning
MIN_SECRET_KEY_UNIQUE_CHARACTERS = 5
INSECURE_PREFIX = "django-insecure-"
KEY_HINT = "Generate one with: python3 -c 'import secrets; print(secrets.token_urlsafe(50))'"


@register(Tags.security, deploy=True)
def check_secret_key(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[Error]:
    if settings.SECRET_KEY_IS_GENERATED and is_separate_worker():
        hint = f"{KEY_HINT} (or start gunicorn with -c python:gisttracker.web.gunicorn, whose workers share one)."
        return [Error("SECRET_KEY is not set, and each worker would have its own.", hint=hint, id="gisttracker.E006")]
    if settings.DEBUG or settings.ALLOW_INSECURE:
        return []
    if settings.SECRET_KEY_IS_GENERATED:
        hint = f"{KEY_HINT} (or set DEBUG=true on your own machine)."
        return [Error("SECRET_KEY is not set.", hint=hint, id="gisttracker.E001")]
    key = settings.SECRET_KEY
    if (
        len(key) < MIN_SECRET_KEY_LENGTH
        or len(set(key)) < MIN_SECRET_KEY_UNIQUE_CHARACTERS
        or key.startswith(INSECURE_PREFIX)
    ):
        return [Error("SECRET_KEY is too short or an example.", hint=f"{KEY_HINT}.", id="gisttracker.E002")]
    return []


def is_separate_worker() -> bool:
    """Is this gunicorn without our configuration, which reads the settings before the workers are forked?"""
    return "gunicorn.arbiter" in sys.modules and "gisttracker.web.gunicorn" not in sys.modules


@register(Tags.security, deploy=True)
def check_allowed_hosts(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[Error]:
    if settings.DEBUG or settings.ALLOW_INSECURE or "*" not in settings.ALLOWED_HOSTS:
        return []
    hint = "List the host names, or set ALLOW_INSECURE=true to serve any host name."
    return [Error("ALLOWED_HOSTS is *.", hint=hint, id="gisttracker.E003")]


@register(Tags.database)
def check_character_set(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[Error]:
    """Names and descriptions contain any Unicode character, which MySQL stores with utf8mb4 only."""
    if not databases or connection.vendor != "mysql":
        return []
    name = connection.settings_dict["NAME"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@character_set_database, @@character_set_connection")
        (of_database, of_connection) = cursor.fetchone()
        cursor.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() "
            "AND table_type = 'BASE TABLE' AND table_collation NOT LIKE 'utf8mb4%%' ORDER BY table_name"
        )
        ours = set(connection.introspection.django_table_names())  # The database may have tables of other software.
        tables = [row[0] for row in cursor.fetchall() if row[0] in ours]
    statements = [f"ALTER DATABASE `{name}` CHARACTER SET utf8mb4;"] if of_database != "utf8mb4" else []
    statements += [f"ALTER TABLE `{name}`.`{table}` CONVERT TO CHARACTER SET utf8mb4;" for table in tables]
    if statements:
        message = "The database does not use the character set utf8mb4."
        return [Error(message, hint=f"Run as its administrator: {' '.join(statements)}", id="gisttracker.E004")]
    if of_connection != "utf8mb4":
        message = f"The connection to the database uses the character set {of_connection}."
        return [Error(message, hint="Use a server that supports utf8mb4 and allows it.", id="gisttracker.E005")]
    return []


def find_errors() -> list[Error]:
    """Run the checks of this module. That of the database is left out while it is not reachable; see /readyz."""
    errors = [*check_secret_key(None), *check_allowed_hosts(None)]
    try:
        return [*errors, *check_character_set(None, databases=["default"])]
    except DatabaseError:
        return errors
    finally:
        connection.close()  # The web processes are forked from this one.
