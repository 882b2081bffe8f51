"""The login form of the admin, and the responses to logins that are locked or too many at once.

A password hash takes about half a second of CPU time, so logins could occupy all threads and all of the CPU.
"""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from axes.handlers.proxy import AxesProxyHandler
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_login_failed
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import ngettext

from gisttracker.desk.login_limits import Lock
from gisttracker.web.errors import RETRY_AFTER_SECONDS, render_page

MAX_LOGINS = 3  # of a web process at the same time; its other threads (8 in all) serve the API
TO_LOGIN = {"path": "/admin/login/", "text": "Go to the login page"}
_admitted = threading.BoundedSemaphore(MAX_LOGINS)
_hashing = threading.Lock()


class TooManyLoginsError(Exception):
    """As many logins as allowed are being processed."""


@contextmanager
def login_slot() -> Iterator[None]:
    """One login at a time is checked and counted; a few wait for it.

    Failures are counted inside, so that parallel logins cannot all pass the limit before the first one is counted.
    """
    if not _admitted.acquire(blocking=False):
        raise TooManyLoginsError
    try:
        with _hashing:
            yield
    finally:
        _admitted.release()


class LoginForm(AdminAuthenticationForm):
    """Hashes a password only in a slot. Locked logins need none, so they do not keep other people out."""

    def clean(self) -> dict[str, Any]:
        if AxesProxyHandler.is_locked(self.request, {"username": self.cleaned_data.get("username")}):
            return super().clean()  # AxesStandaloneBackend refuses it before the password is hashed.
        with login_slot():
            return super().clean()

    def confirm_login_allowed(self, user: User) -> None:
        """Count the right password of an account that is not staff as a failure; it looks like one, too."""
        try:
            super().confirm_login_allowed(user)
        except ValidationError:
            credentials = {"username": user.get_username()}
            user_login_failed.send(sender=__name__, credentials=credentials, request=self.request)
            raise


class TooManyLoginsMiddleware:
    """Responds with 429 while there is no slot for a login; a 5xx status would be reported as a fault of ours."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, TooManyLoginsError):
            return None
        detail = "Other logins are being checked. Your password was not. Try again in a few seconds."
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        return render_page(429, "Too many logins at the same time", detail, link=TO_LOGIN, headers=headers)


def respond_locked(request: Any, original: HttpResponse | None = None, credentials: object = None) -> HttpResponse:
    """Return 429 with the time to wait (AXES_LOCKOUT_CALLABLE). The same for names that exist and that do not."""
    lock: Lock = request.login_lock
    seconds = max(1, math.ceil((lock.until - timezone.now()).total_seconds()))
    minutes = math.ceil(seconds / 60)
    wait = ngettext("Try again in %d minute.", "Try again in %d minutes.", minutes) % minutes
    detail = f"Too many logins have failed, so {lock.scope} cannot log in at the moment. {wait}"
    headers = {"Retry-After": str(seconds), "Cache-Control": "no-store"}
    return render_page(429, "Login locked", detail, link=TO_LOGIN, headers=headers)
