"""`make bench-compare`: what a request costs, in this checkout and in an earlier commit (BASE), side by side.

Two processes, one for each checkout, each with its own database on one MySQL-compatible server, answer the same
requests in turn through Django's test client, with the key check and the rate limit. So other load slows both.
Prints the CPU time of a request (the median of the rounds) and the number of statements.
"""

import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BASE = os.environ.get("BASE", "6ed49d1")
ROUNDS = int(os.environ.get("ROUNDS", "7"))
# name, path, filled with this many people, requests of a round
REQUESTS = [
    ("empty list", "/api/v1/people", 0, 100),
    ("visit, 20 gists, none new", "/api/v1/people/person-0", 1, 100),
    ("getAllGists=true, 20 gists", "/api/v1/people/person-0?getAllGists=true", 1, 100),
    ("list, 100 people", "/api/v1/people?page_size=100", 100, 40),
    ("feed, 100 gists", "/api/v1/gists?after=0&page_size=100", 100, 40),
]


def main() -> int:
    print("| request | base: statements | CPU | here: statements | CPU | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        archive = subprocess.run(["git", "archive", BASE], cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "x", "-C", folder], input=archive, check=True)
        both = [stack.enter_context(start(name, path)) for name, path in (("base", folder), ("here", ROOT))]
        for name, path, people, count in REQUESTS:
            old, new = measure(both, path, people, count)
            print(f"| {name} | {old} | {new} | {ratio(old, new)} |", flush=True)
    return 0


class Side:
    """One of the two processes, and the CPU times that it has reported."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def call(self, **order: object) -> dict[str, float]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(order), file=self.process.stdin, flush=True)
        answer: dict[str, float] = json.loads(self.process.stdout.readline())
        return answer


class Cost:
    def __init__(self, statements: float, milliseconds: list[float]) -> None:
        self.statements, self.cpu = int(statements), statistics.median(milliseconds)

    def __str__(self) -> str:
        return f"{self.statements} | {self.cpu:.2f} ms" if self.statements else "- | -"


def ratio(old: Cost, new: Cost) -> str:
    return f"{old.cpu / new.cpu:.2f}" if old.statements else "-"


def measure(sides: list[Side], path: str, people: int, count: int) -> list[Cost]:
    first = [side.call(path=path, people=people, count=10) for side in sides]
    rounds = [[side.call(path=path, people=people, count=count)["cpu"] for side in sides] for _ in range(ROUNDS)]
    return [Cost(first[i]["statements"], [times[i] for times in rounds]) for i in range(len(sides))]


@contextmanager
def start(name: str, folder: Path) -> Iterator[Side]:
    environment = {
        **os.environ,
        "DATABASE_NAME": f"compare_{name}",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "ALLOWED_HOSTS": "testserver",
        "API_REQUESTS_PER_MINUTE": "1000000",
        "LOG_FORMAT": "text",
    }
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("requests_in_process.py")],
        cwd=folder,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Side(process)
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    sys.exit(main())
