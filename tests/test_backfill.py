"""Backfill choices: parsing, and which gists they include."""

from datetime import UTC, datetime

import pytest

from people.backfill import parse, select

DAYS = [datetime(2026, 1, day, 12, tzinfo=UTC) for day in (3, 1, 2)]


@pytest.mark.parametrize(("text", "choice"), [("ALL", "all"), (" none", "none"), ("007", "7"), ("2026-01-31",) * 2])
def test_a_choice_is_parsed(text: str, choice: str) -> None:
    assert parse(text) == choice


@pytest.mark.parametrize("text", ["", "some", "-1", "1.5", "2026-1-1", "2026-02-30", "12345678", "²"])
def test_an_invalid_choice_is_rejected_with_the_rule(text: str) -> None:
    with pytest.raises(ValueError, match="must be all, none"):
        parse(text)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("all", [True, True, True]),
        ("none", [False, False, False]),
        ("0", [False, False, False]),
        ("2", [True, False, True]),
        ("9", [True, True, True]),
        ("2026-01-02", [True, False, True]),
    ],
)
def test_a_choice_includes_these_gists(choice: str, expected: list[bool]) -> None:
    assert select(choice, DAYS) == expected
