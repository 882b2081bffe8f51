"""The content of an activity, and how activities and Pipedrive persons are recognised."""

from datetime import UTC, datetime
from typing import Any

import pytest

from people.models import Gist, Person
from sync.clients.pipedrive_records import PipedrivePerson
from sync.crm.activity import has_email, has_our_name, new_activity, note, person_name, subject

FILE = {"name": "notes.md", "raw_url": "https://x.test/raw/notes.md", "language": "Markdown", "size": 7}


def build_gist(**fields: Any) -> Gist:
    defaults = {
        "github_id": "aa11",
        "description": "Notes",
        "html_url": "https://gist.github.com/ada/aa11",
        "pull_url": "https://gist.github.com/aa11.git",
        "files": [FILE],
        "github_created_at": datetime(2026, 1, 31, 23, 5, tzinfo=UTC),
    }
    return Gist(**{**defaults, **fields})


def test_a_note_has_the_link_the_description_and_the_files() -> None:
    assert note(build_gist(description="One\r\ntwo & three")) == (
        '<p><a href="https://gist.github.com/ada/aa11">https://gist.github.com/ada/aa11</a></p>'
        "<p>One<br>two &amp; three</p>"
        '<ul><li><a href="https://x.test/raw/notes.md">notes.md</a> (Markdown, 7 bytes)</li></ul>'
    )


def test_a_truncated_gist_has_the_pull_url_instead_of_files() -> None:
    text = note(build_gist(truncated=True))

    assert "https://gist.github.com/aa11.git" in text
    assert "notes.md" not in text


def test_everything_from_github_is_escaped() -> None:
    markup = '"><script>alert(1)</script>'
    file = {"name": markup, "raw_url": "https://x.test/" + markup, "language": markup, "size": 1}

    text = note(build_gist(description=markup, html_url="https://x.test/" + markup, files=[file]))

    assert "<script" not in text
    assert text.count('"') == 4  # The quotes of the two links.


@pytest.mark.parametrize(
    ("description", "files", "expected"),
    [
        ("First\nsecond", [FILE], "First"),
        ("\n \n First text ", [FILE], "First text"),
        ("", [FILE], "notes.md"),
        ("", [], "Gist aa11"),
        ("tab\tand\x00null\x1b", [], "tab and null"),
        ("<b>bold</b>", [], "‹b›bold‹/b›"),
        ("x" * 255, [], "x" * 255),
        ("🚢" * 300, [], "🚢" * 254 + "…"),
    ],
)
def test_a_subject_is_one_line_of_at_most_255_characters(
    description: str, files: list[dict[str, Any]], expected: str
) -> None:
    assert subject(build_gist(description=description, files=files)) == expected


def test_a_long_note_is_truncated_to_pipedrive_s_limit_at_the_end_of_a_line() -> None:
    files = [{**FILE, "name": f"{number:04}-" + "ü" * 200} for number in range(300)]

    text = note(build_gist(description="<" * 60_000, files=files))

    assert len(text.encode()) <= 100_000
    assert "continued in the gist" in text
    assert text.endswith(
        'bytes)</li><li>and more files: <a href="https://gist.github.com/ada/aa11">'
        "https://gist.github.com/ada/aa11</a></li></ul>"
    )


def test_an_activity_is_due_when_the_gist_was_published() -> None:
    activity = new_activity(build_gist(), type="call", done=False)

    assert (activity.type, activity.done, activity.due_date, activity.due_time) == (
        "call",
        False,
        "2026-01-31",
        "23:05",
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Ada Lovelace", "Ada Lovelace (@Ada)"), ("", "@Ada"), (" \n", "@Ada"), ("x" * 300, "x" * 200 + " (@Ada)")],
)
def test_a_person_s_name_ends_with_the_login(name: str, expected: str) -> None:
    assert person_name(Person(github_username="Ada", name=name)) == expected


@pytest.mark.parametrize(
    ("name", "is_same"),
    [("@ada", True), ("@ADA", True), ("Ada (@Ada) ", True), ("@ada-b", False), ("(@ada) Ada", False), ("b@ada", False)],
)
def test_a_pipedrive_person_is_recognised_by_its_name(name: str, is_same: bool) -> None:
    assert has_our_name(PipedrivePerson(1, name), "Ada") is is_same


def test_a_deleted_pipedrive_person_is_not_recognised() -> None:
    deleted = PipedrivePerson(1, "@ada", ["ada@example.com"], is_deleted=True)

    assert not has_our_name(deleted, "ada")
    assert not has_email(deleted, "ada@example.com")
