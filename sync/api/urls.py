"""The sync's part of API v1. Every address works with and without its last slash."""

from django.urls import re_path

from sync.api.status import StatusView, SyncRunViewSet

urlpatterns = [
    re_path(r"^status/?$", StatusView.as_view(), name="status"),
    re_path(r"^sync-runs/?$", SyncRunViewSet.as_view({"get": "list"}), name="sync-run-list"),
    re_path(r"^sync-runs/(?P<pk>[^/]+)/?$", SyncRunViewSet.as_view({"get": "retrieve"}), name="sync-run-detail"),
]
