"""Where a text names gists: the addresses of their pages, and long ids."""

import re
from html import unescape
from urllib.parse import unquote

# https://gist.github.com/LOGIN/ID; GitHub Enterprise Server: https://gist.HOST/LOGIN/ID or https://HOST/gist/LOGIN/ID
GIST_PAGE = re.compile(
    r"(?:(?:https?://|(?<![\w./=-]))gist\.[^/\s\"'<>]+|https?://[^/\s\"'<>]+/gist)/(?:[^/\s\"'<>]+/)?([0-9a-zA-Z]{1,64})(?=[/?#.\"'<>\s)\],;]|$)",
    re.IGNORECASE,
)
LONG_ID = re.compile(r"(?<![0-9a-zA-Z])[0-9a-f]{20,64}(?![0-9a-zA-Z])", re.IGNORECASE)  # shorter ones look like numbers


def find_ids(text: str) -> tuple[str, ...]:
    """The ids of gists in this decoded text, in their order."""
    matches = [*GIST_PAGE.finditer(text), *LONG_ID.finditer(text)]
    found = sorted((match.start(), match.group(match.lastindex or 0)) for match in matches)
    return tuple(dict.fromkeys(gist_id for _, gist_id in found))


def names_gist(text: str) -> bool:
    """Can this text name a gist? What is encoded can."""
    return decode(text) != text or bool(find_ids(text))


def decode(text: str) -> str:
    """Without HTML entities and URL encoding, which may be nested."""
    for _ in range(2):
        text = unquote(unescape(text))
    return text
