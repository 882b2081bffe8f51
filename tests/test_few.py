"""How many may change, or fail, before it is an outage: both sides of the threshold, and what a run counts."""

import pytest

from sync.few import is_few
from sync.models import SyncRun
from sync.summary import Summary


@pytest.mark.parametrize(
    ("count", "total", "expected"),
    [(0, 0, True), (5, 5, True), (6, 6, False), (6, 29, False), (6, 30, True), (20, 100, True), (21, 100, False)],
)
def test_few_are_five_or_a_fifth(count: int, total: int, expected: bool) -> None:
    assert is_few(count, total) is expected


@pytest.mark.parametrize(("count", "total", "expected"), [(5, 5, True), (6, 119, False), (6, 120, True)])
def test_another_part_than_a_fifth_changes_nothing_for_five(count: int, total: int, expected: bool) -> None:
    assert is_few(count, total, part=0.05) is expected


@pytest.mark.parametrize(
    ("failed", "succeeded", "expected"),
    [
        (0, 0, SyncRun.Outcome.SUCCEEDED),
        (1, 0, SyncRun.Outcome.FAILED),  # No attempt succeeded.
        (5, 1, SyncRun.Outcome.SUCCEEDED),
        (6, 1, SyncRun.Outcome.FAILED),
        (6, 23, SyncRun.Outcome.FAILED),
        (6, 24, SyncRun.Outcome.SUCCEEDED),
    ],
)
def test_a_run_with_a_few_failures_has_not_failed(failed: int, succeeded: int, expected: str) -> None:
    summary = Summary()
    summary.note("push", succeeded=1000)  # Another kind of work is not counted with it.
    summary.note("poll", failed=failed, succeeded=succeeded)

    assert summary.outcome([], was_stopped=False) == expected
