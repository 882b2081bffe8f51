"""Slow tests must say why: what is measured, and what is reported."""

import pytest

from tests import cpu_time
from tests.cpu_time import Clock, Measured


def work() -> None:
    sum(range(2_000_000))


def test_what_tests_share_is_not_counted() -> None:
    clock = Clock()
    clock.start()
    work()
    own = clock.seconds()
    with clock.share():
        work()

    assert 0 < own <= clock.seconds() < 1.5 * own


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (Measured(2.0, lacks_mark=True), ["say why"]),
        (Measured(2.0, is_marked=True), []),
        (Measured(2.0, is_marked=True, lacks_mark=True), ["say why"]),
        (Measured(0.01, lacks_mark=True), []),
        (Measured(0.01, is_marked=True), ["needs no mark"]),
        (Measured(0.01, is_marked=True, starts_processes=True), []),
        (Measured(0.3, is_marked=True), []),
        (Measured(0.3, lacks_mark=True), []),
    ],
)
def test_a_missing_mark_and_a_stale_one_are_problems(
    test: Measured, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_time, "tests", {"tests/test_x.py::test_y": test})

    problems = cpu_time.find_problems()

    assert [word for word in ("say why", "needs no mark") if any(word in line for line in problems)] == words
    assert all("tests/test_x.py::test_y takes" in line for line in problems)
