"""Django as a WSGI application, with the checks of the settings. The web service runs it by way of asgi.py."""

import os

from django.core.wsgi import get_wsgi_application

from gisttracker.config import checks
from gisttracker.config.environment import exit_with_config_error

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gisttracker.config.settings")
application = get_wsgi_application()
errors = checks.find_errors()
if errors:
    exit_with_config_error(f"{errors[0].msg} {errors[0].hint}")
