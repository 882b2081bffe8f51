"""The web service's entry: `gunicorn gisttracker.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gisttracker.settings")
application = get_wsgi_application()
