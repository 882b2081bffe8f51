"""URLs of the sync: API v1, and metrics.

Each path of the API is routed with and without the trailing slash, like those of people.
"""

from django.urls import include, path, re_path

from sync.api.attempts import PushAttemptViewSet
from sync.api.metrics import MetricsView
from sync.api.runs import SyncRunViewSet
from sync.api.status import StatusView

v1 = [
    re_path(
        r"^people/(?P<username>[^/]+)/gists/(?P<github_id>[^/]+)/attempts/?$",
        PushAttemptViewSet.as_view({"get": "list"}),
        name="push-attempt-list",
    ),
    re_path(r"^status/?$", StatusView.as_view(), name="status"),
    re_path(r"^sync-runs/?$", SyncRunViewSet.as_view({"get": "list"}), name="sync-run-list"),
    re_path(r"^sync-runs/(?P<pk>[^/]+)/?$", SyncRunViewSet.as_view({"get": "retrieve"}), name="sync-run-detail"),
]
urlpatterns = [
    path("api/v1/", include(v1)),
    path("metrics", MetricsView.as_view(), name="metrics"),
]
