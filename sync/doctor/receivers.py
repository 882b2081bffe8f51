"""NOTIFY_URL and PING_URL: are they set, and what do they answer to a test?"""

import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone

from gisttracker import __version__
from gisttracker.config.environment import EX_CONFIG, EX_FAILED
from sync.clients import webhook
from sync.doctor.findings import Check, Finding, ok, problem, warning
from sync.health.ping import send_test
from sync.models import Alarm

TEST = "This is a test by `manage.py doctor`. Nothing is wrong."


def build_test(now: datetime) -> dict[str, Any]:
    """A notification about nothing, with the fields of all others: a receiver may refuse fields."""
    name = f"gisttracker ({settings.ENVIRONMENT_NAME})" if settings.ENVIRONMENT_NAME else "gisttracker"
    return {
        "id": f"test-{now:%Y%m%dT%H%M%S}",
        "text": f"{name}: {TEST}",
        "status": "test",
        "code": "test",
        "severity": Alarm.Severity.TICKET,
        "message": TEST,
        "raised_at": now.isoformat(),
        "resolved_at": None,
        "sent_at": now.isoformat(),
        "environment": settings.ENVIRONMENT_NAME,
        "version": __version__,
    }


def check_notify_url(*, sends: bool) -> Check:
    url = settings.NOTIFY_URL
    return _check(url, sends, lambda: webhook.ask(url, json=build_test(timezone.now())))


def check_ping_url(*, sends: bool) -> Check:
    url = settings.PING_URL
    return _check(url, sends, lambda: send_test(url))


def _check(url: str, sends: bool, send: Callable[[], webhook.Answer]) -> Check:
    def check(_: threading.Event) -> Iterator[Finding]:
        if not url:
            yield ok("it is not set", "docs/operations.md describes the notifications")
        elif not sends:
            yield ok("it is set", "`manage.py doctor --notify` sends a test")
        else:
            yield _judge(send())

    return check


def _judge(answer: webhook.Answer) -> Finding:
    if answer.status is None:
        return problem(f"the test failed: {answer.error}", "Check the URL, the network and HTTPS_PROXY", EX_FAILED)
    text = f"a test was sent, and the receiver returned {answer.status}"
    text += f": {answer.excerpt}" if answer.excerpt else ""
    if answer.error:
        advice = "Check the URL (redirects are not followed), and what its receiver accepts"
        return problem(text, advice, EX_FAILED if answer.status >= 500 else EX_CONFIG)
    if answer.excerpt.lower().startswith(("<!doctype", "<html")):
        return warning(text, "This is a web page: set the URL that is meant for programs")
    if "not found" in answer.excerpt.lower():  # the words of healthchecks.io
        return warning(text, "The receiver does not know this URL: copy it again")
    return ok(text)
