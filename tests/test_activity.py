"""The content of an activity, and how activities and Pipedrive persons are recognised."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pytest_django import Settings

from people.models import Gist, Person
from sync.clients.pipedrive_records import PipedrivePerson
from sync.crm.activity import about_author, has_email, has_our_name, new_activity, note, person_name, subject

FILE = {"name": "notes.md", "raw_url": "https://x.test/raw/notes.md", "language": "Markdown", "size": 7}
ADA = Person(github_username="Ada", company="Analytical Engines", location="London")
PROFILE = 'GitHub profile: <a href="https://github.com/Ada">https://github.com/Ada</a>'


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


def test_a_note_has_the_link_the_description_the_files_and_the_author() -> None:
    assert note(build_gist(description="One\r\ntwo & three"), ADA) == (
        '<p><a href="https://gist.github.com/ada/aa11">https://gist.github.com/ada/aa11</a></p>'
        "<p>One<br>two &amp; three</p>"
        '<ul><li><a href="https://x.test/raw/notes.md">notes.md</a> (Markdown, 7 bytes)</li></ul>'
        f"<p>{PROFILE} · Company: Analytical Engines · Location: London</p>"
    )


AUTHORS: dict[str, tuple[str, str, str]] = {
    "both": ("Engines", "London", " · Company: Engines · Location: London"),
    "company": ("Engines", "", " · Company: Engines"),
    "location": ("", "London", " · Location: London"),
    "neither": ("", "", ""),
    "spaces": (" \n", "\t", ""),
    "as on GitHub": ("@engines", "Łódź, 🇵🇱", " · Company: @engines · Location: Łódź, 🇵🇱"),
    "markup": ("<script>", "\"'&", " · Company: &lt;script&gt; · Location: &quot;&#x27;&amp;"),
    "control characters": ("a\x00b\x1b\u202ec\u200b", "one\r\ntwo", " · Company: a b c · Location: one two"),
    "long": ("x" * 255, "é" * 255, f" · Company: {'x' * 200} · Location: {'é' * 200}"),
    "cut after a space": ("x" * 199 + " y", "", f" · Company: {'x' * 199}"),
    "another page": ("https://engines.test/ada", "", " · Company: https://engines.test/ada"),
    "like an entity": ("AT&T", "R&D, 50% London", " · Company: AT&amp;T · Location: R&amp;D, 50% London"),
    "a word with gist": ("Logistics Ltd.", "gist", " · Company: Logistics Ltd. · Location: gist"),
    "a gist's page": ("https://gist.github.com/ada/aa11", "gist.github.com/aa11.", ""),
    "a gist's id": ("2decf6c462d9b4418f2d", "2DECF6C462D9B4418F2D", ""),
    "a gist's page, encoded": ("gist.github.com&#47;ada/aa11", "gist.github.com%252Faa11", ""),
}


@pytest.mark.parametrize("name", AUTHORS)
def test_the_author_is_one_line(name: str) -> None:
    company, location, expected = AUTHORS[name]
    author = Person(github_username="Ada", company=company, location=location)

    assert about_author(author) == f"<p>{PROFILE}{expected}</p>"


@pytest.mark.parametrize(
    ("api_url", "expected"),
    [
        ("https://git.example.com/api/v3", "https://git.example.com/ada"),
        ("https://api.octo.ghe.com", "https://octo.ghe.com/ada"),
        ("https://api.github.com", "https://github.com/ada"),
    ],
)
def test_the_profile_is_linked_on_the_configured_host(api_url: str, expected: str, settings: Settings) -> None:
    settings.GITHUB_API_URL = api_url

    assert f'<a href="{expected}">' in about_author(Person(github_username="ada"))


def test_an_author_whose_login_is_not_known_has_no_line() -> None:
    assert about_author(Person(github_username="~1001", company="Engines")) == ""


def test_a_truncated_gist_has_the_pull_url_instead_of_files() -> None:
    text = note(build_gist(truncated=True), ADA)

    assert "https://gist.github.com/aa11.git" in text
    assert "notes.md" not in text


def test_everything_from_github_is_escaped() -> None:
    markup = '"><script>alert(1)</script>'
    file = {"name": markup, "raw_url": "https://x.test/" + markup, "language": markup, "size": 1}

    author = Person(github_username="ada", company=markup, location=markup)
    text = note(build_gist(description=markup, html_url="https://x.test/" + markup, files=[file]), author)

    assert "<script" not in text
    assert text.count('"') == 6  # The quotes of the three links.


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


def test_a_long_note_is_truncated_to_pipedrive_s_limit_at_the_end_of_a_line(settings: Settings) -> None:
    files = [{**FILE, "name": f"{number:04}-" + "ü" * 200} for number in range(300)]

    author = Person(github_username="x" * 39, company='"' * 255, location="🚢" * 255)
    settings.GITHUB_API_URL = f"https://{'x' * 249}.com/api/v3"

    text = note(build_gist(description="<" * 60_000, files=files), author)

    assert 94_000 < len(text.encode()) <= 100_000
    assert "continued in the gist" in text
    assert text.endswith(
        'bytes)</li><li>and more files: <a href="https://gist.github.com/ada/aa11">'
        f"https://gist.github.com/ada/aa11</a></li></ul>{about_author(author)}"
    )


def test_an_activity_is_due_when_the_gist_was_published() -> None:
    activity = new_activity(build_gist(), ADA, type="call", done=False)

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
