"""How gunicorn serves the API: `gunicorn -c python:gisttracker.gunicorn gisttracker.wsgi`."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gisttracker.settings")

from gisttracker.settings import ENV

bind = f"127.0.0.1:{ENV['PORT']}"
threads = 8
preload_app = True  # A bad setting ends the start, instead of one worker after the other.
control_socket_disable = True
graceful_timeout = 20  # seconds for requests in hand when told to stop
