"""Slow tests say why: one that takes over half a second of CPU time carries `@pytest.mark.slow("reason")`.

A pytest plugin measures the CPU time of each test, and of the processes that it has waited for, without what it shares
with other tests: fixtures of a module or the session, and `shared_time`. A busy machine does not change it, but a slow
one does; therefore each process measures a short calculation at its start, and the limits are those of this machine.

At the end, a run lists tests that lack the mark, and marks that are stale. With `--check-slow` these are failures: in
`make proof`, on a machine that does nothing else.
"""

import resource
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

LIMIT = 0.5  # seconds
STALE = 0.1  # A marked test below it needs no mark.
TOLERANCE = 1.5  # A mark is missing above LIMIT by this factor, because a measurement differs from the next one.
# Fixtures that start processes. Each test that uses them carries the mark, also if another one pays for it.
PROCESSES = {"servers", "deploy", "first_deployment"}
REFERENCE = 0.035  # seconds that the calculation takes on a machine of 2026


def cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


class Clock:
    """The CPU time of the test that is running."""

    def __init__(self) -> None:
        self._started_at = self._shared = 0.0
        self._is_shared = False
        self.speed = 1.0  # of this machine, compared with the reference

    def calibrate(self) -> None:
        tries = []
        for _ in range(3):
            started = cpu_seconds()
            sum(number * number % 7 for number in range(600_000))
            tries.append(cpu_seconds() - started)
        self.speed = REFERENCE / min(tries)

    def start(self) -> None:
        self._started_at, self._shared = cpu_seconds(), 0.0

    def seconds(self) -> float:
        return (cpu_seconds() - self._started_at - self._shared) * self.speed

    @contextmanager
    def share(self) -> Iterator[None]:
        if self._is_shared:
            yield
            return
        started, self._is_shared = cpu_seconds(), True
        try:
            yield
        finally:
            self._is_shared = False
            self._shared += cpu_seconds() - started


clock = Clock()
shared_time = clock.share  # What happens inside is not counted for the test that is running.


@dataclass
class Measured:
    """A test, with all its parameters."""

    seconds: float = 0.0  # the longest
    is_marked: bool = False
    lacks_mark: bool = False
    starts_processes: bool = False


tests: dict[str, Measured] = defaultdict(Measured)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--check-slow", action="store_true", help="fail if a slow test has no mark, or a mark is stale")


def pytest_sessionstart() -> None:
    clock.calibrate()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    clock.start()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Iterator[None]:
    if fixturedef.scope == "function":
        return (yield)
    with clock.share():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    if call.when == "teardown":
        item.user_properties.append(("cpu", clock.seconds()))
        is_proof = item.get_closest_marker("proof") is not None  # That it takes long is said by this mark.
        fixtures = set(getattr(item, "fixturenames", []))
        item.user_properties.append(("slow", is_proof or item.get_closest_marker("slow") is not None))
        item.user_properties.append(("processes", is_proof or bool(PROCESSES & fixtures)))
    return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """In the process that prints: it hears of each test, also of those of other processes."""
    if report.when == "teardown":
        properties = dict(report.user_properties)
        test = tests[report.nodeid.partition("[")[0]]
        test.seconds = max(test.seconds, float(str(properties["cpu"])))
        test.is_marked |= bool(properties["slow"])
        test.lacks_mark |= not properties["slow"]
        test.starts_processes |= bool(properties["processes"])


def find_problems() -> list[str]:
    problems = []
    for name, test in sorted(tests.items()):
        takes = f"{name} takes {test.seconds:.2f} s of CPU time"
        if test.is_marked and not test.starts_processes and test.seconds < STALE:
            problems.append(f"{takes}: it needs no mark `slow`")
        if test.lacks_mark and test.seconds > LIMIT * TOLERANCE:
            problems.append(f'{takes}: say why, with @pytest.mark.slow("reason")')
    return problems


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    is_printing = not hasattr(session.config, "workerinput")
    if is_printing and session.config.getoption("--check-slow") and session.exitstatus == 0 and find_problems():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    problems = find_problems()
    if problems:
        terminalreporter.section("slow tests")
    for problem in problems:
        terminalreporter.line(problem)
