"""Django as a WSGI application, with the checks of the settings. The web service runs it by way of asgi.py."""

import os

from django.core.wsgi import get_wsgi_application

from gisttracker import checks
from gisttracker.environment import exit_with_config_error

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gisttracker.settings")
application = get_wsgi_application()
errors = checks.find_errors()
if errors:
    exit_with_config_error(f"{errors[0].msg} {errors[0].hint}")
