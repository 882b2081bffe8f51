"""Permissions of the API."""

from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth.models import User
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from gisttracker.common.error_codes import ErrorCode
from people.api.authentication import SCHEME
from people.models import ApiKey

if TYPE_CHECKING:  # rest_framework.views imports the permissions, so importing it here would be a cycle.
    from rest_framework.views import APIView


WRITES = ("people.add_person", "people.change_person", "people.delete_person", "people.change_gist")


def may_write(request: Request) -> bool:
    """May the key, or the staff member, change something besides its own markers?"""
    key, user = request.auth, request.user
    if isinstance(key, ApiKey):
        return not key.read_only
    return settings.API_AUTH == "none" or (isinstance(user, User) and any(map(user.has_perm, WRITES)))


class HasApiAccess(BasePermission):
    """Allows API keys and staff. A read-only key may only read; staff need the permission of each act.

    A visit is a GET that moves the consumer's own marker, so it is allowed to all that may read, as acknowledging the
    feed is.
    """

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if settings.API_AUTH == "none":
            return True
        if isinstance(request.auth, ApiKey):
            return self._may_use(request, view)
        if not isinstance(request.user, User):
            raise NotAuthenticated(f"Send an API key as `Authorization: {SCHEME} YOUR-KEY`.")
        return self._may_act(request.user, request, view)

    def _may_use(self, request: Request, view: "APIView") -> bool:
        self.message, self.code = "Your key is read-only.", ErrorCode.READ_ONLY_KEY
        moves_own_marker_only = getattr(view, "moves_own_marker_only", False)
        return request.method in SAFE_METHODS or moves_own_marker_only or may_write(request)

    def _may_act(self, user: User, request: Request, view: "APIView") -> bool:
        self.message, self.code = "Only staff may use the API without a key.", ErrorCode.NOT_STAFF
        if not user.is_staff:
            return False
        required = get_required_permission(request, view)
        self.message, self.code = f"Your account lacks the permission {required}.", ErrorCode.PERMISSION_DENIED
        return required is None or user.has_perm(required)


def get_required_permission(request: Request, view: "APIView") -> str | None:
    """Return the permission of Django that staff need for what the request does; None if they need none.

    A view declares them as `required_permissions`, by action or method. What it does not declare is forbidden.
    """
    act = getattr(view, "action", None) or str(request.method).lower()
    is_served = request.method != "OPTIONS" and hasattr(view, str(request.method).lower())
    if not is_served:  # 405, or a description of the view
        return None
    declared: dict[str, str | None] = getattr(view, "required_permissions", {})
    return declared.get("get" if act == "head" else act, f"(none declared for {act})")


class HasMetricsAccess(HasApiAccess):
    """As HasApiAccess; with the setting METRICS_PUBLIC, access is public."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        return settings.METRICS_PUBLIC or super().has_permission(request, view)
