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
    """A link to the record; its id if the company's host is not known."""
    if record_id is None:
        return format_html("{}", "–")
    company = _get_company_url()
    return external_link(f"{company}/{page}/{record_id}", str(record_id)) if company else format_html("{}", record_id)


def _get_company_url() -> str:
    """https://COMPANY.pipedrive.com; "" for api.pipedrive.com, which every company shares and which has no pages."""
    host = urlsplit(settings.PIPEDRIVE_API_URL).hostname or ""
    return f"https://{host}" if host.endswith(DOMAIN) and host != f"api{DOMAIN}" else ""
