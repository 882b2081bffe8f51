"""The people part of API v1. Every address works with and without its last slash, without a redirect: that would lose
a body."""

from typing import Any

from django.urls import re_path

from people.api.gists import GistViewSet
from people.api.people import BulkViewSet, PersonViewSet

ONE: dict[str, Any] = {"get": "retrieve", "patch": "partial_update", "delete": "destroy"}
PERSON = r"^people/(?P<username>[^/]+)"

urlpatterns = [
    re_path(r"^people/?$", PersonViewSet.as_view({"get": "list", "post": "create"}), name="person-list"),
    # Somebody may be called "bulk": only POST is about many people.
    re_path(r"^people/(?P<username>bulk)/?$", BulkViewSet.as_view({**ONE, "post": "track_people"}), name="bulk"),
    re_path(rf"{PERSON}/?$", PersonViewSet.as_view(ONE), name="person-detail"),
    re_path(rf"{PERSON}/sync/?$", PersonViewSet.as_view({"post": "request_sync"}), name="person-sync"),
    re_path(rf"{PERSON}/gists/?$", GistViewSet.as_view({"get": "list"}), name="gist-list"),
    re_path(rf"{PERSON}/gists/(?P<github_id>[^/]+)/push/?$", GistViewSet.as_view({"post": "push"}), name="gist-push"),
]
