"""ASGI entry point of the web service: `gunicorn -c python:gisttracker.web.gunicorn gisttracker.web.asgi`."""

from gisttracker.web.bridge import serve_with
from gisttracker.web.wsgi import application as wsgi_application

application = serve_with(wsgi_application)
