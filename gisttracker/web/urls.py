"""URLs of the service: those of its apps, their documentation, admin. /livez and /readyz are served by probes.py."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from gisttracker.common.apps import service_apps

handler404 = "gisttracker.web.errors.not_found"
handler500 = "gisttracker.web.errors.server_error"
handler403 = "gisttracker.web.errors.permission_denied"
handler400 = "gisttracker.web.errors.bad_request"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="documentation")),
    *(path("", include(f"{app.name}.api.urls")) for app in service_apps()),
    path("schema", SpectacularAPIView.as_view(), name="schema"),
    path("documentation/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="documentation"),
    re_path(r"^documentation(?:/index\.html)?$", SpectacularSwaggerSplitView.as_view(url_name="schema")),
    path("admin/", admin.site.urls),
]
