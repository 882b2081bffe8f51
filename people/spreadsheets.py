"""Text in CSV files that spreadsheets open: nothing in it is run as a formula.

A spreadsheet takes `;` or a tab as the separator in many countries, also if the file has commas, and then begins a cell
in the middle of one of ours. So a quote is put before each character that begins a formula where any separator, quote
or line break may have begun a cell.
"""

import re

FORMULA = "=+\\-@\uff1d\uff0b\uff0d\uff20\u2212"  # also full-width, which some programs read as the ASCII characters
STARTS_CELL = ",;|\t\r\n\"'\v\f\x85\u2028\u2029\uff0c\uff1b"
AT_START = re.compile(rf"\A([\s\ufeff\u200b]*)([{FORMULA}\t\r\n])")
AFTER_SEPARATOR = re.compile(rf"([{STARTS_CELL}][\s\ufeff\u200b]*)(?=[{FORMULA}])")
QUOTED = re.compile(rf"'(?=[\s\ufeff\u200b]*[{FORMULA}\t\r\n])")


def escape_formulas(text: str) -> str:
    """Return the text with a quote before whatever could begin a formula."""
    return AT_START.sub(r"'\1\2", AFTER_SEPARATOR.sub(r"\1'", text))


def unescape_formula(text: str) -> str:
    """Return the text of a cell of an exported file without the quote at its beginning."""
    return text[1:] if QUOTED.match(text) else text
