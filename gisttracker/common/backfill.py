"""Which old gists of a person are exported: `all`, `none`, or those created since a date.

Each gist decides for itself, by its own creation date. A gist that was created after its person was added is not old.
Imports nothing of Django: gisttracker.config.environment uses it before Django is configured.
"""

import datetime as dt
import re

MAX_LENGTH = 10  # characters, of a date
RULE = "must be all, none or a date such as 2026-01-31"


def parse(text: str) -> str:
    """Return the choice as it is stored. Raises ValueError(RULE)."""
    choice = text.strip().lower()
    if choice in ("all", "none"):
        return choice
    if len(choice) > MAX_LENGTH or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", choice):
        raise ValueError(RULE)
    try:
        return dt.date.fromisoformat(choice).isoformat()
    except ValueError:
        raise ValueError(RULE) from None


def exported_since(choice: str, added_at: dt.datetime) -> dt.datetime | None:
    """Return the moment before which a gist of a person, who was added then, is not exported; None: all are."""
    if choice == "all":
        return None
    added_at = added_at.replace(microsecond=0)  # GitHub's times have whole seconds.
    if choice == "none":
        return added_at
    return min(dt.datetime.combine(dt.date.fromisoformat(choice), dt.time(), dt.UTC), added_at)


def includes(choice: str, created_at: dt.datetime, added_at: dt.datetime) -> bool:
    """Is a gist that was created then exported, if its person was added at `added_at`?"""
    since = exported_since(choice, added_at)
    return since is None or created_at >= since
