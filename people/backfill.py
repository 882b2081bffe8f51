"""Which existing gists of a new person are exported: `all`, `none`, the newest N, or those created since a date.

Imports nothing of Django: gisttracker.environment uses it before Django is configured.
"""

import datetime as dt
import re

from gisttracker.numbers import parse_whole_number

MAX_LENGTH = 10  # characters, of a date
MAX_COUNT = 9_999_999  # gists
RULE = "must be all, none, a number (the newest N gists) or a date such as 2026-01-31"


def parse(text: str) -> str:
    """Return the choice as it is stored. Raises ValueError(RULE)."""
    choice = text.strip().lower()
    if choice in ("all", "none"):
        return choice
    if len(choice) > MAX_LENGTH:
        raise ValueError(RULE)
    if choice.isdigit():
        return _parse_count(choice)
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", choice):
        try:
            return dt.date.fromisoformat(choice).isoformat()
        except ValueError:
            pass
    raise ValueError(RULE)


def _parse_count(text: str) -> str:
    try:
        return str(parse_whole_number(text, 0, MAX_COUNT))
    except ValueError:
        raise ValueError(RULE) from None


def select(choice: str, created: list[dt.datetime]) -> list[bool]:
    """Return for each of these creation times (in any order) whether the choice includes the gist."""
    if choice == "all":
        return [True] * len(created)
    if choice == "none":
        return [False] * len(created)
    if choice.isdigit():
        newest_first = sorted(range(len(created)), key=lambda index: created[index], reverse=True)
        newest = set(newest_first[: int(choice)])
        return [index in newest for index in range(len(created))]
    first_day = dt.date.fromisoformat(choice)
    return [moment.date() >= first_day for moment in created]
