"""Tracking a new person, for the API, the import of many people and the admin."""

from django.db import IntegrityError, transaction

from people.error_codes import CodedError, ErrorCode
from people.github_names import login_key, parse_login
from people.models import Person, Suppressed
from people.models.suppressed import suppressed_reason


class AlreadyTrackedError(CodedError):
    """`login`: as the tracked person has it."""

    def __init__(self, login: str) -> None:
        super().__init__(ErrorCode.ALREADY_TRACKED, f"@{login} is already tracked.")
        self.login = login


class SuppressedError(CodedError):
    def __init__(self, login: str) -> None:
        super().__init__(ErrorCode.SUPPRESSED, suppressed_reason(login))


def parse_new_login(text: str) -> str:
    """Return the login in a name, an @name or a profile URL.

    Raises InvalidLoginError, AlreadyTrackedError or SuppressedError, which are CodedErrors.
    """
    login = parse_login(text)
    tracked = _find_tracked(login)
    if tracked:
        raise AlreadyTrackedError(tracked)
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
        raise AlreadyTrackedError(_find_tracked(login) or login) from None


def _find_tracked(login: str) -> str | None:
    """Return the login of the tracked person, who may write it in another case."""
    return Person.objects.filter(username_key=login_key(login)).values_list("github_username", flat=True).first()
