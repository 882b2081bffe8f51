"""JSON that came from outside: what Python's parser accepts beyond the standard, or fails at, is a ValueError.

Not by orjson: a lone surrogate or a number beyond a double in one row of many would refuse them all.
"""

import json
import math
from typing import Any, NoReturn

MAX_DEPTH = 20  # lists and objects inside each other
MAX_DIGITS = 20  # of 64 bits, or 19 with a sign


def load_json(raw: bytes) -> Any:
    """Return the value. A number with more digits than any of ours becomes infinity, so that its field is rejected."""
    try:
        value = json.loads(raw.decode(), parse_int=_parse_int, parse_constant=_reject_constant)
        if _measure_depth([value]) > MAX_DEPTH + 1:
            raise RecursionError
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep") from None
    return value


def _parse_int(digits: str) -> int | float:
    # Python refuses to convert more than 4,300 digits, and needs long for fewer.
    return int(digits) if len(digits) <= MAX_DIGITS else math.inf


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _measure_depth(container: dict[str, Any] | list[Any]) -> int:
    """Code that reads a value recursively (also repr) fails at fewer levels than the parser."""
    items = container.values() if isinstance(container, dict) else container
    return 1 + max((_measure_depth(item) for item in items if isinstance(item, dict | list)), default=0)
