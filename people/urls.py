"""The people part of API v1. Every address works with and without its last slash."""

from rest_framework.routers import SimpleRouter

from people.views import PersonViewSet

router = SimpleRouter()
router.trailing_slash = "/?"  # A pattern: both spellings answer, without a redirect that would lose a body.
router.register("people", PersonViewSet, basename="person")
urlpatterns = router.urls
