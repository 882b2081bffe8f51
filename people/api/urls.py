"""URLs of people and gists: API v1.

Each path is routed with and without the trailing slash, because a redirect would lose the body of a POST.
"""

from typing import Any

from django.urls import include, path, re_path

from people.api.feed import FeedViewSet
from people.api.gists import GistViewSet
from people.api.me import MeView
from people.api.people import BulkViewSet, PersonViewSet

DETAIL_ACTIONS: dict[str, Any] = {"get": "retrieve", "patch": "partial_update", "delete": "destroy"}
PERSON = r"^people/(?P<username>[^/]+)"

v1 = [
    re_path(r"^people/?$", PersonViewSet.as_view({"get": "list", "post": "create"}), name="person-list"),
    # `bulk` is also a valid GitHub login, so only POST tracks many people.
    re_path(
        r"^people/(?P<username>bulk)/?$", BulkViewSet.as_view({**DETAIL_ACTIONS, "post": "track_people"}), name="bulk"
    ),
    re_path(rf"{PERSON}/?$", PersonViewSet.as_view(DETAIL_ACTIONS), name="person-detail"),
    re_path(rf"{PERSON}/sync/?$", PersonViewSet.as_view({"post": "request_sync"}), name="person-sync"),
    re_path(rf"{PERSON}/gists/?$", GistViewSet.as_view({"get": "list"}), name="gist-list"),
    re_path(r"^gists/?$", FeedViewSet.as_view({"get": "list"}), name="feed"),
    re_path(r"^feed/ack/?$", FeedViewSet.as_view({"post": "acknowledge"}), name="feed-ack"),
    re_path(r"^me/?$", MeView.as_view(), name="me"),
    re_path(rf"{PERSON}/gists/(?P<github_id>[^/]+)/push/?$", GistViewSet.as_view({"post": "push"}), name="gist-push"),
]
urlpatterns = [path("api/v1/", include(v1))]
