"""What all views of the API share: the base class and the lookup of a person."""

from typing import Any

from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated, NotFound
from rest_framework.request import Request
from rest_framework.views import APIView

from people.github_names import parse_login
from people.models import Person


class ApiView(APIView):
    """Counts unauthenticated requests before rejecting them, so that keys cannot be guessed at high rates."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        try:
            super().initial(request, *args, **kwargs)
        except (AuthenticationFailed, NotAuthenticated):
            self.check_throttles(request)
            raise


class PersonNotTrackedError(NotFound):
    def __init__(self, username: str) -> None:
        super().__init__(f"`{username[:40]}` is not tracked. Add it with POST /api/v1/people.")


def get_tracked_person(username: str) -> Person:
    """Return the person with this login, in any case. Raises PersonNotTrackedError (404)."""
    person = Person.objects.named(username).first()
    if person is None:
        raise PersonNotTrackedError(username)
    return person


def lock_tracked_person(username: str) -> Person:
    """Return the person with this login, locked until the transaction ends. Raises PersonNotTrackedError (404)."""
    person = Person.objects.named(username).select_for_update().first()
    if person is None:
        raise PersonNotTrackedError(username)
    return person


def parse_tracked_login(username: str) -> str:
    """Return the login in a path. Raises PersonNotTrackedError (404) if it cannot be one."""
    try:
        return parse_login(username)
    except ValueError:
        raise PersonNotTrackedError(username) from None
