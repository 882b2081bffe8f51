"""JSON that came from outside: what Python's parser accepts beyond the standard, or fails at, is a ValueError."""

import json
import math
from collections.abc import Iterable
from typing import Any, NoReturn

MAX_DEPTH = 20  # lists and objects inside each other
MAX_DIGITS = 19


def load_json(raw: bytes) -> Any:
    """Return the value. A number with more digits than any of ours becomes infinity, so that its field is rejected."""
    try:
        value = json.loads(raw.decode(), parse_int=_parse_int, parse_constant=_reject_constant)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep") from None
    _check_depth(value)
    return value


def _parse_int(digits: str) -> int | float:
    # Python refuses to convert more than 4,300 digits, and needs long for fewer.
    return int(digits) if len(digits.removeprefix("-")) <= MAX_DIGITS else math.inf


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _check_depth(value: Any) -> None:
    """Code that reads a value recursively (also repr) fails at fewer levels than the parser."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [item for container in level for item in _get_items(container) if isinstance(item, dict | list)]
        if not level:
            return
    raise ValueError(f"nested more than {MAX_DEPTH} levels deep")


def _get_items(container: Any) -> Iterable[Any]:
    if isinstance(container, dict):
        return container.values()
    return container if isinstance(container, list) else ()
