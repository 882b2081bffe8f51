"""How gunicorn serves the API: `gunicorn -c python:gisttracker.gunicorn gisttracker.wsgi`."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gisttracker.settings")

from typing import Any

from gisttracker.settings import ENV, LOGGING

bind = f"{ENV['HOST']}:{ENV['PORT']}"
workers = ENV["WEB_WORKERS"]
threads = 8
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108  # in memory: a slow disk is no dead worker
preload_app = True  # A bad setting ends the start, instead of one worker after the other.
control_socket_disable = True
graceful_timeout = 20  # seconds for requests in hand when told to stop

accesslog = "-"
access_log_format = '%(h)s "%(r)s" %(s)s %(b)s %(M)sms %({x-request-id}o)s'
logging: dict[str, Any] = LOGGING
logconfig_dict = {
    **logging,
    "handlers": {
        **logging["handlers"],
        "stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": ENV["LOG_FORMAT"]},
    },
    "loggers": {
        **logging["loggers"],
        "gunicorn.error": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "gunicorn.access": {"handlers": ["stdout"], "level": "INFO", "propagate": False},
    },
}
