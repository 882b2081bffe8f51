"""Links to Pipedrive's own pages. They have the company's host, which is known if PIPEDRIVE_API_URL has it."""

from urllib.parse import urlsplit

from django.conf import settings
from django.utils.html import format_html
from django.utils.safestring import SafeString

from people.admin.markup import external_link

DOMAIN = ".pipedrive.com"


def person_link(pipedrive_id: int | None) -> SafeString:
    return _link("person", pipedrive_id)


def activity_link(activity_id: int | None) -> SafeString:
    return _link("activities", activity_id)


def _link(page: str, record_id: int | None) -> SafeString:
    """A link to the record; its id if the host is that of all companies, which has no pages."""
    host = urlsplit(settings.PIPEDRIVE_API_URL).hostname or ""
    if record_id is None or not host.endswith(DOMAIN) or host == f"api{DOMAIN}":
        return format_html("{}", "–" if record_id is None else record_id)
    return external_link(f"https://{host}/{page}/{record_id}", str(record_id))
