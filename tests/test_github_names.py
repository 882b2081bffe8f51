"""Parsing of GitHub logins."""

import pytest

from people.models.github_names import parse_login


@pytest.mark.parametrize(
    ("text", "login"),
    [
        ("ada", "ada"),
        ("Ada-Lovelace-1", "Ada-Lovelace-1"),
        ("old_name", "old_name"),
        ("a" * 39, "a" * 39),
        ("@ada", "ada"),
        ("  ada\n", "ada"),
        ("https://github.com/ada", "ada"),
        ("http://www.github.com/ada/", "ada"),
        ("gist.github.com/ada", "ada"),
        ("ada-", "ada-"),
        ("-ada", "-ada"),
        ("a--b", "a--b"),
        ("_", "_"),
        ("https://github.com/ada?tab=repositories", "ada"),
        ("https://github.com/ada/?tab=repositories#top", "ada"),
        ("github.com/ada#x", "ada"),
    ],
)
def test_a_login_is_parsed(text: str, login: str) -> None:
    assert parse_login(text) == login


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "a" * 40,
        "a.b",
        "..",
        "a/b",
        "a%2eb",
        "a b",
        "ädä",
        "a\x00",
        "ada?x",
        "٣",
        "https://example.com/ada",
        "https://github.com/",
        "https://github.com/ada/repo",
        "https://github.com/ada/repositories?tab=x",
        "https://github.com/?q=ada",
        "https://github.com.evil.test/ada",
        "@@ada",
    ],
)
def test_an_invalid_login_is_rejected_with_the_rule(text: str) -> None:
    with pytest.raises(ValueError, match="1 to 39 characters"):
        parse_login(text)
