"""The one rule for whole numbers that come in: in a query, a path, a body, a CSV, a form or a setting."""

import re

MAX_BIGINT = 2**63 - 1  # of the database's largest integers
WHOLE_NUMBER = re.compile(r"[0-9]{1,19}")  # as many digits as 64 bits have


def parse_whole_number(given: object, minimum: int = 0, maximum: int = MAX_BIGINT) -> int:
    """Return an integer, or the number that a string of plain digits has. Raises ValueError with the rule.

    int() also accepts signs, spaces, underscores and digits of other scripts, and the fraction of a float; it fails for
    more than 4,300 digits. A check that reads a number in another way than its use does is no check.
    """
    number = given
    if isinstance(given, str):
        number = int(given) if WHOLE_NUMBER.fullmatch(given) else None
    if isinstance(number, bool) or not isinstance(number, int) or not minimum <= number <= maximum:
        raise ValueError(whole_number_rule(minimum, maximum))
    return number


def whole_number_rule(minimum: int, maximum: int) -> str:
    """What a number must be, as a phrase that may follow its name."""
    return f"must be a whole number from {minimum} to {maximum}"
