"""The rules for what a user may give of a person, for all ways in: JSON, forms, CSV, the admin and the commands.

Each parser takes any JSON value, and raises ValueError with a sentence, or with a phrase that follows the field's name.
"""

from typing import Any

from gisttracker.common import backfill
from gisttracker.common.numbers import MAX_BIGINT, parse_whole_number
from people.models.github_names import parse_login

NOT_TEXT = "must be a string"


def parse_username(given: Any) -> str:
    """Return the login in a name, an @name or a profile URL."""
    if not isinstance(given, str):
        raise ValueError(NOT_TEXT)
    return parse_login(given)


def parse_pipedrive_id(given: Any) -> int | None:
    """None: a Pipedrive person is found or created."""
    return None if given is None else parse_whole_number(given, 1, MAX_BIGINT)


def parse_backfill(given: Any) -> str:
    """An open choice is empty: the setting BACKFILL of the run that stores a gist decides."""
    if given is None or (isinstance(given, str) and not given.strip()):
        return ""
    if not isinstance(given, str):
        raise ValueError(backfill.RULE)
    return backfill.parse(given)
