"""Gunicorn's configuration: `gunicorn -c python:gisttracker.web.gunicorn gisttracker.web.asgi`."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gisttracker.config.settings")

from typing import Any

from gisttracker.config.settings import ENV, LOGGING

bind = f"{ENV['LISTEN_HOST']}:{ENV['LISTEN_PORT']}"
workers = ENV["WEB_WORKERS"]
worker_class = "gisttracker.web.worker.Worker"
asgi_lifespan = "off"
asgi_loop = "asyncio"
# The limits of a request; bridge.py has those of its body.
limit_request_line = 4094  # bytes
limit_request_fields = 100
limit_request_field_size = 8190  # bytes
# In memory, so that a slow disk cannot delay a worker's heartbeat until gunicorn kills it.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108  # no file of ours: gunicorn's heartbeat
preload_app = True  # so that an invalid setting stops the start once, instead of stopping each worker
control_socket_disable = True
graceful_timeout = 20  # seconds that running requests get after SIGTERM

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
