"""Variables of all templates: which installation the reader looks at."""

from django.conf import settings
from django.http import HttpRequest

from gisttracker import __version__

PRODUCTION_NAMES = ("prod", "live")  # beginnings of names of environments with real data


def frame(request: HttpRequest | None) -> dict[str, object]:
    """The environment's name, for example `staging`, whether it is a production one, and the version."""
    name: str = settings.ENVIRONMENT_NAME
    return {
        "environment_name": name,
        "is_production": name.lower().startswith(PRODUCTION_NAMES),
        "version": __version__,
    }
