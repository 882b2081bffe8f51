"""The web service's entry: `gunicorn gisttracker.wsgi`."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from gisttracker.environment import refuse

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gisttracker.settings")
KEY_LENGTH, KEY_VARIETY = 50, 5  # as Django's own check demands
KNOWN = "django-insecure-"
HOW = "python3 -c 'import secrets; print(secrets.token_urlsafe(50))' makes one"


def refuse_what_is_unsafe(given_key: str) -> None:
    """End the start, with one line that says what to do, before anybody is served in an unsafe way."""
    if settings.DEBUG or settings.INSECURE:
        return
    if not given_key:
        refuse(f"SECRET_KEY is not set: {HOW} (or set DEBUG=true on a machine of your own).")
    if len(given_key) < KEY_LENGTH or len(set(given_key)) < KEY_VARIETY or given_key.startswith(KNOWN):
        refuse(f"SECRET_KEY is too short or an example: {HOW}.")
    if "*" in settings.ALLOWED_HOSTS:
        refuse("ALLOWED_HOSTS is *: name the hosts, or set INSECURE=true to serve under any name.")


refuse_what_is_unsafe(settings.ENV["SECRET_KEY"])
application = get_wsgi_application()
