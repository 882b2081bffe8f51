"""What a run needs before it can begin."""

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from gisttracker.config.parsers import is_plain_http
from people.models import Person
from sync.clients.github import ANONYMOUS_REQUESTS_PER_HOUR
from sync.poll.poll import FULL_READ_EVERY
from sync.stream import requests_for_polls_without_token


def find_setting_problem(*, needs_pipedrive: bool) -> str:
    """Why no request can be sent: no token for Pipedrive, or one that would go in plain text. Empty if it can."""
    if needs_pipedrive and not settings.PIPEDRIVE_TOKEN:
        return "PIPEDRIVE_TOKEN is not set. It is needed to create and delete activities (not for --dry-run)."
    return find_plain_text_problem("GITHUB") or find_plain_text_problem("PIPEDRIVE")


def find_plain_text_problem(name: str) -> str:
    """Why the token of GITHUB or PIPEDRIVE cannot be sent. Empty if it can."""
    url, token = getattr(settings, f"{name}_API_URL"), getattr(settings, f"{name}_TOKEN")
    if not token or not is_plain_http(url) or settings.ALLOW_INSECURE:
        return ""
    return (
        f"{name}_API_URL is {url}, so {name}_TOKEN would be sent unencrypted. Use https, "
        "or set ALLOW_INSECURE=true for a test network."
    )


def format_token_warning(due: QuerySet[Person]) -> str:
    """What a run without GITHUB_TOKEN can do."""
    people = due.count()
    profiles = due.filter(Q(full_read_at=None) | Q(full_read_at__lt=timezone.now() - FULL_READ_EVERY))
    needed = people + profiles.count()  # A full read requests the profile, too.
    hours = -(-needed // requests_for_polls_without_token())
    subject = "1 person needs" if people == 1 else f"{people} people need"
    duration = "1 hour" if hours == 1 else f"{hours} hours"
    return (
        f"GITHUB_TOKEN is not set: GitHub allows {ANONYMOUS_REQUESTS_PER_HOUR} requests an hour from this address. "
        f"{subject} at least {needed}: about {duration} until everyone was polled, the longest unpolled first. "
        "E-mail addresses are not visible either."
    )
