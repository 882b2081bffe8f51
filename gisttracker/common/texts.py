"""Text that came in with a request, as it is shown in a message: short, and printable."""

import re

MAX_SHOWN = 100  # characters
NOT_PRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def show(text: object, max_length: int = MAX_SHOWN) -> str:
    """Return the beginning of a text. Control characters and lone surrogates, which UTF-8 cannot encode, are escaped.

    `text` may be any JSON value; of one that is no text, its type is shown.
    """
    shown = text if isinstance(text, str) else f"({type(text).__name__})"
    ending = "…" if len(shown) > max_length else ""
    return NOT_PRINTABLE.sub(_escape, shown[:max_length]) + ending


def to_sentence(error: ValueError, name: str = "") -> str:
    """Our parsers raise a sentence, or a phrase that follows a name."""
    text = str(error)
    if text.endswith("."):
        return text
    return f"{name} {text}." if name else f"{text[0].upper()}{text[1:]}."


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
