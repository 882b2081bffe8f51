"""What sync.health.judge finds, as alarms with a beginning and an end, and one notification for each of the two.

Called at the beginning and at the end of each run. Several processes may do so at the same time: a unique column
decides which of them raises an alarm, and a conditional UPDATE which of them sends its notification.
"""

import logging
import time
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from gisttracker import __version__
from gisttracker.common.database import lock_free, retried
from people.models import Person
from sync.clients import webhook
from sync.clock import Clock
from sync.health.judge import judge
from sync.health.problems import ENDS, Health, HealthProblem
from sync.models import Alarm
from sync.reasons import format_time

log = logging.getLogger(__name__)
SEND_AGAIN_AFTER = timedelta(minutes=2)  # a notification that was not accepted, or whose sender died
MAX_SENT = 20  # notifications of one call
MAX_SECONDS = 15.0  # after which a call begins no further one
MAX_TEXT = 3000  # characters; Slack shows up to 4,000


def report_health(clock: Clock) -> None:
    """Update the alarms and send what is new. Whatever goes wrong is logged: it must not fail the run."""
    try:
        update_alarms(retried(judge)(clock()), clock())
        if settings.NOTIFY_URL:
            send_notifications(clock)
    except Exception:
        log.exception("The health could not be reported")


@retried
def update_alarms(health: Health, now: datetime) -> None:
    """Raise the alarms of new problems, and resolve those of problems that are over."""
    for problem in health.problems:
        _raise(problem, now)
    # A problem that another one explains is not over.
    lasting = {problem.code for problem in health.problems} | health.explained
    for alarm in Alarm.objects.exclude(open_code=None).exclude(open_code__in=lasting):
        if Alarm.objects.filter(pk=alarm.pk, resolved_at=None).update(open_code=None, resolved_at=now):
            log.info("Resolved: %s", alarm.code)


def _raise(problem: HealthProblem, now: datetime) -> None:
    columns = {"severity": problem.severity, "message": problem.message}
    new = {**columns, "code": problem.code, "raised_at": now}
    # What becomes a page, or names another end, is raised again, so that it is sent.
    same = Q(severity=problem.severity) & (Q(message=problem.message) if problem.code in ENDS else Q())
    open_alarm = Alarm.objects.filter(open_code=problem.code)
    is_again = open_alarm.exclude(same).update(**columns, raised_at=now, raise_sent_at=None, next_send_at=now)
    # Of several processes that raise it, one does so.
    alarm, is_new = Alarm.objects.update_or_create(open_code=problem.code, defaults=columns, create_defaults=new)
    with transaction.atomic():
        alarm.people.set(lock_free(Person.objects.filter(pk__in=problem.people)))
    if is_new or is_again:
        log.warning("%s: %s", problem.code, alarm.named_message)


def send_notifications(clock: Clock) -> None:
    """Send one notification for each alarm that was raised, and for each of those that was resolved since.

    An alarm that was over before it could be sent is not sent at all. If it may have been received, its end is sent.
    """
    is_raised = Q(resolved_at=None, raise_sent_at=None)
    may_be_known = Q(raise_sent_at__isnull=False) | Q(next_send_at__isnull=False)
    is_resolved = Q(may_be_known, resolved_at__isnull=False, resolve_sent_at=None)
    deadline = time.monotonic() + MAX_SECONDS
    for alarm in Alarm.objects.filter(is_raised | is_resolved).order_by("id")[:MAX_SENT]:
        if time.monotonic() > deadline:
            return  # The next run continues.
        if _claim(alarm, clock()):
            _send(alarm, clock)


def _send(alarm: Alarm, clock: Clock) -> None:
    error = webhook.post(settings.NOTIFY_URL, json=build_notification(alarm, clock()))
    if error:
        log.warning("NOTIFY_URL did not accept the notification of %s: %s; the next run tries again", alarm.code, error)
        return
    column = "resolve_sent_at" if alarm.resolved_at else "raise_sent_at"
    # If it was raised again meanwhile, that is still to be sent.
    Alarm.objects.filter(pk=alarm.pk, raised_at=alarm.raised_at).update(**{column: clock(), "next_send_at": None})


def _claim(alarm: Alarm, now: datetime) -> bool:
    """Of several processes, one sends a notification."""
    is_free = Q(next_send_at=None) | Q(next_send_at__lte=now) | Q(next_send_at__gt=now + 2 * SEND_AGAIN_AFTER)
    unsent = {"resolve_sent_at": None} if alarm.resolved_at else {"raise_sent_at": None}
    same = Alarm.objects.filter(is_free, pk=alarm.pk, **unsent)
    return bool(same.update(next_send_at=now + SEND_AGAIN_AFTER))


def build_notification(alarm: Alarm, now: datetime) -> dict[str, Any]:
    """The JSON of a notification. `text` is what Slack, Mattermost, Google Chat and their like show."""
    status = "resolved" if alarm.resolved_at else "raised"
    message = alarm.named_message
    name = f"gisttracker ({settings.ENVIRONMENT_NAME})" if settings.ENVIRONMENT_NAME else "gisttracker"
    if alarm.resolved_at:
        text = f"{name}: resolved: {alarm.code}, which began at {format_time(alarm.raised_at)}"
    else:
        text = f"{name}: {alarm.severity}: {message}"
    return {
        "id": f"{alarm.pk}-{status}-{alarm.raised_at:%Y%m%dT%H%M%S}",
        "text": text[:MAX_TEXT],
        "status": status,
        "code": alarm.code,
        "severity": alarm.severity,
        "message": message,
        "raised_at": alarm.raised_at.isoformat(),
        "resolved_at": alarm.resolved_at.isoformat() if alarm.resolved_at else None,
        "sent_at": now.isoformat(),
        "environment": settings.ENVIRONMENT_NAME,
        "version": __version__,
    }
