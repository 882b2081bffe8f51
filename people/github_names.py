"""Parsing of GitHub logins."""

import re

RULE = (
    "A GitHub user name has at most 39 characters: letters A-Z, digits and single hyphens, no hyphen at the start or "
    "end (old names may contain underscores). Write it as ada, @ada or https://github.com/ada."
)
# Old and enterprise-managed logins contain underscores. No allowed character has a meaning in a URL.
LOGIN = re.compile(r"(?=.{1,39}$)[A-Za-z0-9_]+(?:-[A-Za-z0-9_]+)*", re.ASCII)
PROFILE_URL = re.compile(r"(?:https?://)?(?:www\.|gist\.)?github\.com/([^/?#]+)/?", re.IGNORECASE)


def parse_login(text: str) -> str:
    """Return the login in a name, an @name or a profile URL. Raises ValueError(RULE)."""
    text = text.strip()
    url = PROFILE_URL.fullmatch(text)
    login = url.group(1) if url else text.removeprefix("@")
    if not LOGIN.fullmatch(login):
        raise ValueError(RULE)
    return login


def login_key(login: str) -> str:
    """Return the form in which a login is unique: GitHub ignores case."""
    return login.lower()
