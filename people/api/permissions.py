"""Permissions of the API."""

from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth.models import User
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from people.api.authentication import SCHEME
from people.models import ApiKey

if TYPE_CHECKING:  # rest_framework.views imports the permissions, so importing it here would be a cycle.
    from rest_framework.views import APIView


def may_write(request: Request) -> bool:
    """Is the key, or the staff member, allowed to change people?"""
    key, user = request.auth, request.user
    if isinstance(key, ApiKey):
        return not key.read_only
    return settings.API_AUTH == "none" or (isinstance(user, User) and user.has_perm("people.change_person"))


class HasApiAccess(BasePermission):
    """Allows API keys and staff. A read-only key, and staff without `change_person`, may only read.

    A visit is a GET that moves the consumer's own marker, so it is allowed to them, as acknowledging the feed is.
    """

    message = "Your key is read-only, or your account may not change people."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if settings.API_AUTH == "none":
            return True
        user = request.user
        if not isinstance(request.auth, ApiKey):
            if not isinstance(user, User):
                raise NotAuthenticated(f"Send an API key as `Authorization: {SCHEME} YOUR-KEY`.")
            if not user.is_staff:
                self.message = "Only staff may use the API without a key."
                return False
        moves_own_marker_only = getattr(view, "moves_own_marker_only", False)
        return request.method in SAFE_METHODS or moves_own_marker_only or may_write(request)


class HasMetricsAccess(HasApiAccess):
    """As HasApiAccess; with the setting METRICS_PUBLIC, access is public."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        return settings.METRICS_PUBLIC or super().has_permission(request, view)
