"""The documents of the project, and what they show: commands, links, headings, tables."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
CALLED = re.compile(r"(\.venv/bin/python )?(manage\.py|make|docker|kubectl) ")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def read(name: str) -> str:
    return (ROOT / name).read_text()


def find_blocks(text: str, language: str) -> list[str]:
    """The fenced blocks in this language, without their indentation."""
    return [
        re.sub(f"^{indent}", "", body, flags=re.MULTILINE)
        for indent, found, body in FENCE.findall(text)
        if found == language
    ]


def without_blocks(text: str) -> str:
    return FENCE.sub("", text)


def find_spans(text: str) -> list[str]:
    """What is set as code within sentences and tables."""
    return SPAN.findall(without_blocks(text))


def find_commands(text: str) -> list[list[str]]:
    """The words of each command in a shell block, or within a sentence if it begins with a program of CALLED."""
    lines = [line for block in find_blocks(text, "sh") for line in block.replace("\\\n", " ").splitlines()]
    lines += [span for span in find_spans(text) if CALLED.match(span)]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def find_arguments(program: str, text: str) -> Iterator[list[str]]:
    """The arguments of each call of this program, wherever it is in a command: also in $(...) or after kubectl exec."""
    for line in [shlex.join(words) for words in find_commands(text)]:
        for call in re.findall(rf"(?<![\w/-]){re.escape(program)} ([^|<>)]*)", line):
            yield shlex.split(call.replace("'", ""))


def to_anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading: lower case, without punctuation, with a hyphen for each space."""
    return re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).strip().replace(" ", "-")


def find_anchors(path: Path) -> set[str]:
    return {to_anchor(heading) for heading in HEADING.findall(without_blocks(path.read_text()))}


def find_rows(text: str, header: str) -> list[list[str]]:
    """The cells of the rows of the table with this header."""
    lines = text[text.index(header) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines]
