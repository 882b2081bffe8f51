"""How often a login may fail: per name and address, and per address over all names. Kept by django-axes.

Failures are counted in the database for all web processes. They are checked before a password is hashed, because the
hash is what a login costs.
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import QuerySet, Sum
from django.http import HttpRequest

from gisttracker.web.client_address import get_client_address

log = logging.getLogger(__name__)

# Higher than the limit of one name (AXES_FAILURE_LIMIT), because an office may share an address.
MAX_FAILURES_OF_ADDRESS = 30
MAX_LOGGED = 60  # characters


@dataclass(frozen=True)
class Lock:
    """What is locked, in the words of the page, and until when."""

    scope: str
    until: datetime


NAME_AND_ADDRESS = "this name from this address"
ADDRESS = "all names from this address"


class LoginHandler(AxesDatabaseHandler):  # type: ignore[misc]  # django-axes has no types
    """Adds a limit for the address to that of the name, and one line in the log for each login."""

    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        """Return the number to compare with AXES_FAILURE_LIMIT: an address is allowed more failures than a name."""
        of_name, of_address = (
            attempts.aggregate(total=Sum("failures_since_start"))["total"] or 0
            for attempts in self.get_user_attempts(request, credentials)
        )
        return max(of_name, of_address - (MAX_FAILURES_OF_ADDRESS - settings.AXES_FAILURE_LIMIT))

    def find_lock(self, request: HttpRequest, credentials: dict[str, Any]) -> Lock | None:
        """Return the lock that ends last, or None if this login may be tried."""
        of_name, of_address = self.get_user_attempts(request, credentials)
        ends = {
            NAME_AND_ADDRESS: _find_end(of_name, settings.AXES_FAILURE_LIMIT),
            ADDRESS: _find_end(of_address, MAX_FAILURES_OF_ADDRESS),
        }
        locks = [Lock(scope, end) for scope, end in ends.items() if end]
        return max(locks, key=lambda lock: lock.until, default=None)

    def user_login_failed(
        self, sender: object, credentials: dict[str, Any], request: Any = None, **kwargs: object
    ) -> None:
        if request is None:  # A command checks a password; django-axes reports that it cannot count it.
            super().user_login_failed(sender, credentials, request, **kwargs)
            return
        was_locked = request.axes_locked_out  # so AxesStandaloneBackend has refused it, and nothing was hashed
        if not was_locked:
            super().user_login_failed(sender, credentials, request, **kwargs)
        lock = self.find_lock(request, credentials)
        request.axes_locked_out, request.axes_credentials, request.login_lock = bool(lock), credentials, lock
        _log_failure(request, credentials, lock, was_locked=was_locked)

    def user_logged_in(self, sender: object, request: Any, user: User, **kwargs: object) -> None:
        super().user_logged_in(sender, request, user, **kwargs)
        log.info("%s logged in from %s.", _shorten(user.get_username()), _shorten(get_client_address(request)))


def _find_end(attempts: QuerySet[Any], limit: int) -> datetime | None:
    """Return when so many failures are too old to count that the rest is below the limit; None if it is already."""
    rows = attempts.order_by("attempt_time").values_list("attempt_time", "failures_since_start")
    total, end = sum(failures for _, failures in rows), None
    for attempted_at, failures in rows:
        if total < limit:
            break
        total, end = total - failures, attempted_at + settings.AXES_COOLOFF_TIME
    return end


def _log_failure(request: Any, credentials: dict[str, Any], lock: Lock | None, *, was_locked: bool) -> None:
    name, address = _shorten(str(credentials.get("username"))), _shorten(get_client_address(request))
    if was_locked:
        log.warning("The login of %s from %s was refused without a check, because it is locked.", name, address)
        return
    log.warning("The login of %s from %s failed.", name, address)
    if lock:
        of_name = f"{name} from {address}" if lock.scope == NAME_AND_ADDRESS else f"all names from {address}"
        log.warning("Logins of %s are locked until %s UTC.", of_name, f"{lock.until:%Y-%m-%d %H:%M}")


def _shorten(text: str) -> str:
    """For the log: quoted, with control characters escaped."""
    return repr(text[:MAX_LOGGED])
