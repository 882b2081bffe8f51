"""The one rule for a GitHub login, and how people write one."""

import re

RULE = (
    "A GitHub user name has at most 39 characters: letters A-Z, digits and single hyphens, no hyphen at the start or "
    "end (old names may hold underscores). Give it as ada, @ada or https://github.com/ada."
)
# Underscores stand in some old and in enterprise-managed names. Nothing here can change the path of a URL.
LOGIN = re.compile(r"(?=.{1,39}$)[A-Za-z0-9_]+(?:-[A-Za-z0-9_]+)*", re.ASCII)
PROFILE_URL = re.compile(r"(?:https?://)?(?:www\.|gist\.)?github\.com/([^/?#]+)/?", re.IGNORECASE)


def parse_login(text: str) -> str:
    """The login in `text`: a name, an @name or a profile's URL. ValueError(RULE) if there is none."""
    text = text.strip()
    url = PROFILE_URL.fullmatch(text)
    login = url.group(1) if url else text.removeprefix("@")
    if not LOGIN.fullmatch(login):
        raise ValueError(RULE)
    return login


def login_key(login: str) -> str:
    """The spelling under which a login is unique: GitHub's logins differ by more than case."""
    return login.lower()
