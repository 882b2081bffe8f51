"""Gunicorn's configuration with short time limits, for tests: `gunicorn -c python:tests.short_limits`."""

from gisttracker.web import bridge
from gisttracker.web import worker as web_worker
from gisttracker.web.gunicorn import *  # noqa: F403

web_worker.HEADER_SECONDS = bridge.BODY_SECONDS = web_worker.UNREAD_SECONDS = 1.0
