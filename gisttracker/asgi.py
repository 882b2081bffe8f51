"""ASGI entry point of the web service: `gunicorn -c python:gisttracker.gunicorn gisttracker.asgi`."""

from gisttracker.bridge import serve_with
from gisttracker.wsgi import application as wsgi_application

application = serve_with(wsgi_application)
