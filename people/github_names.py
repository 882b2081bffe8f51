"""Parsing of GitHub logins."""

import re

RULE = (
    "A GitHub user name has 1 to 39 characters: letters A-Z, digits, hyphens and underscores. "
    "Write it as ada, @ada or https://github.com/ada."
)
# Old logins have hyphens anywhere; GitHub decides which exist. No allowed character has a meaning in a URL.
LOGIN = re.compile(r"[A-Za-z0-9_-]{1,39}", re.ASCII)
PROFILE_URL = re.compile(
    r"(?:https?://)?(?:www\.|gist\.)?github\.com(?::443)?/(?P<path>[^?#]*)(?:[?#].*)?", re.IGNORECASE
)


def parse_login(text: str) -> str:
    """Return the login in a name, an @name or a profile URL, with or without a query. Raises ValueError(reason)."""
    text = text.strip()
    url = PROFILE_URL.fullmatch(text)
    login, _, rest = url["path"].partition("/") if url else (text.removeprefix("@"), "", "")
    if not LOGIN.fullmatch(login):
        raise ValueError(RULE)
    if rest.strip("/"):
        raise ValueError(f"{text[:100]} is the URL of a page or repository of @{login}, not of a profile. {RULE}")
    return login


def login_key(login: str) -> str:
    """Return the form in which a login is unique: GitHub ignores case."""
    return login.lower()
