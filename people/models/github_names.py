"""Parsing of GitHub logins."""

import re
from urllib.parse import urlsplit

from django.conf import settings

from gisttracker.common.error_codes import CodedError, ErrorCode
from gisttracker.common.texts import show

RULE = (
    "A GitHub user name has 1 to 39 characters: letters A-Z, digits, hyphens and underscores. "
    "Write it as ada, @ada or https://{host}/ada."
)
# Old logins have hyphens anywhere; GitHub decides which exist. No allowed character has a meaning in a URL.
LOGIN = re.compile(r"[A-Za-z0-9_-]{1,39}", re.ASCII)
MAX_LENGTH = 200  # characters of a name or URL; the time that the pattern takes grows with the square of the length
URL = re.compile(
    r"(?:https?://)?(?P<host>[^/?#@]+\.[^/?#@]+?)(?::(?:80|443))?/(?P<path>[^?#]*)(?:[?#].*)?", re.IGNORECASE
)


class InvalidLoginError(CodedError):
    def __init__(self, reason: str) -> None:
        super().__init__(ErrorCode.INVALID_LOGIN, reason)


def web_host() -> str:
    """The host of profile pages, which follows from GITHUB_API_URL."""
    api = urlsplit(settings.GITHUB_API_URL)
    host = (api.hostname or "").lower()
    if api.path.startswith("/api/v3"):  # GitHub Enterprise Server
        return host
    return host.removeprefix("api.") if host.endswith(".ghe.com") else "github.com"


def profile_url(login: str) -> str:
    return f"https://{web_host()}/{login}"


def parse_login(text: str) -> str:
    """Return the login in a name, an @name or a profile URL, with or without a query. Raises InvalidLoginError."""
    text = text.strip()
    rule = RULE.format(host=web_host())
    url = URL.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if url and url["host"].lower() not in {f"{prefix}{web_host()}" for prefix in ("", "www.", "gist.")}:
        raise InvalidLoginError(f"{show(text)} is not a profile on {web_host()}. {rule}")
    login, _, rest = url["path"].partition("/") if url else (text.removeprefix("@"), "", "")
    if not LOGIN.fullmatch(login):
        raise InvalidLoginError(rule)
    if rest.strip("/"):
        raise InvalidLoginError(
            f"{show(text)} is the URL of a page or repository of @{login}, not of a profile. {rule}"
        )
    return login


def login_key(login: str) -> str:
    """Return the form in which a login is unique: GitHub ignores case."""
    return login.lower()
