"""URLs of the sync in API v1. Each path is routed with and without the trailing slash, like those of people."""

from django.urls import re_path

from sync.api.attempts import PushAttemptViewSet
from sync.api.runs import SyncRunViewSet
from sync.api.status import StatusView

urlpatterns = [
    re_path(
        r"^people/(?P<username>[^/]+)/gists/(?P<github_id>[^/]+)/attempts/?$",
        PushAttemptViewSet.as_view({"get": "list"}),
        name="push-attempt-list",
    ),
    re_path(r"^status/?$", StatusView.as_view(), name="status"),
    re_path(r"^sync-runs/?$", SyncRunViewSet.as_view({"get": "list"}), name="sync-run-list"),
    re_path(r"^sync-runs/(?P<pk>[^/]+)/?$", SyncRunViewSet.as_view({"get": "retrieve"}), name="sync-run-detail"),
]
