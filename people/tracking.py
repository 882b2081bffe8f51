"""Tracking a new person, for the API, the import of many people and the admin."""

from django.db import IntegrityError, transaction

from people.github_names import login_key, parse_login
from people.models import Person, Suppressed
from people.models.suppressed import suppressed_reason


class AlreadyTrackedError(ValueError):
    def __init__(self, login: str) -> None:
        super().__init__(f"@{login} is already tracked.")


class SuppressedError(ValueError):
    def __init__(self, login: str) -> None:
        super().__init__(suppressed_reason(login))


def parse_new_login(text: str) -> str:
    """Return the login in a name, an @name or a profile URL.

    Raises ValueError, or AlreadyTrackedError or SuppressedError, which are ValueErrors.
    """
    login = parse_login(text)
    if Person.objects.filter(username_key=login_key(login)).exists():
        raise AlreadyTrackedError(login)
    if Suppressed.objects.has_login(login):
        raise SuppressedError(login)
    return login


def track_person(login: str, *, pipedrive_id: int | None, backfill: str, watched: bool) -> Person:
    """Create the person. Raises AlreadyTrackedError, also if another process creates the same person meanwhile."""
    try:
        with transaction.atomic():
            return Person.objects.create(
                github_username=login, pipedrive_id=pipedrive_id, backfill=backfill, watched=watched
            )
    except IntegrityError:
        raise AlreadyTrackedError(login) from None
