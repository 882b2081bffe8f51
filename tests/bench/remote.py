"""The stand-ins in a process of their own, so that they do not share Python's lock with the client under test."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from tests.standins import GitHubStandIn, PipedriveStandIn

GITHUB_TOKEN, PIPEDRIVE_TOKEN = "bench-github-token", "bench-pipedrive-token"


class Remote:
    """Calls functions with the two stand-ins as arguments, in their process."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.github_url, self.pipedrive_url = pipe.recv()

    def call(self, function: Any, *arguments: Any) -> Any:
        """`function(github, pipedrive, *arguments)`; it must be a module's top-level function."""
        self._pipe.send((function, arguments))
        return self._pipe.recv()


@contextmanager
def remote_standins() -> Iterator[Remote]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield Remote(ours)
    finally:
        ours.send(None)
        process.join(timeout=10)


def _serve(pipe: Connection) -> None:
    github = GitHubStandIn(tokens=(GITHUB_TOKEN,), hourly=10**9)
    pipedrive = PipedriveStandIn(tokens=(PIPEDRIVE_TOKEN,))
    pipedrive.daily_tokens = 10**9
    github.keeps_requests = pipedrive.keeps_requests = False
    with github, pipedrive:
        pipe.send((github.url, pipedrive.url))
        while (message := pipe.recv()) is not None:
            function, arguments = message
            pipe.send(function(github, pipedrive, *arguments))
