"""`make settings`: writes the table of all settings into docs/settings.md, which a test compares with the code."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from gisttracker.config.environment import VARIABLES  # noqa: E402
from gisttracker.config.parsers import WholeNumber  # noqa: E402

PAGE = ROOT / "docs/settings.md"
TABLE = re.compile(r"^\| variable \|.*?(?=\n\n)", re.MULTILINE | re.DOTALL)


def replace_table(page: str) -> str:
    """Return the page with the table of today's settings."""
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for variable in VARIABLES:
        default = f"`{variable.default}`" if variable.default else ""
        secret = " (secret)" if variable.secret else ""
        parse = variable.parse
        values = f" ({parse.minimum:,} to {parse.maximum:,})" if isinstance(parse, WholeNumber) else ""
        rows.append(f"| `{variable.name}` | {default} | {variable.help}{values}{secret} |")
    return TABLE.sub(lambda _: "\n".join(rows), page, count=1)


if __name__ == "__main__":
    PAGE.write_text(replace_table(PAGE.read_text()))
