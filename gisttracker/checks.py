"""System checks of the settings that make the web service unsafe.

`manage.py check --deploy` runs them with Django's own; wsgi.py runs them before it serves.
"""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import Error, Tags, register

MIN_SECRET_KEY_LENGTH = 50  # the same limits as in Django's security.W009, which is only a warning
MIN_SECRET_KEY_UNIQUE_CHARACTERS = 5
INSECURE_PREFIX = "django-insecure-"
KEY_HINT = "Generate one with: python3 -c 'import secrets; print(secrets.token_urlsafe(50))'"


@register(Tags.security, deploy=True)
def check_secret_key(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[Error]:
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


@register(Tags.security, deploy=True)
def check_allowed_hosts(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[Error]:
    if settings.DEBUG or settings.ALLOW_INSECURE or "*" not in settings.ALLOWED_HOSTS:
        return []
    hint = "List the host names, or set ALLOW_INSECURE=true to serve any host name."
    return [Error("ALLOWED_HOSTS is *.", hint=hint, id="gisttracker.E003")]


def find_errors() -> list[Error]:
    """Run the checks of this module."""
    return [*check_secret_key(None), *check_allowed_hosts(None)]
