"""`python -m tests.standins [LATENCY]`: both stand-ins on fixed ports, until SIGTERM or Ctrl-C.

They have the people of the demo. An account whose login ends with `-has-N-gists` exists, with that many gists.
LATENCY is the time before each response, in seconds.
"""

import signal
import sys
import threading

from tests.standins import PipedriveStandIn
from tests.standins.crowded import CrowdedGitHub

GITHUB_PORT, PIPEDRIVE_PORT = 8081, 8082


def main(latency: float = 0) -> None:
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    github = CrowdedGitHub(GITHUB_PORT, tokens=("demo-github-token",), host="0.0.0.0")  # noqa: S104  # in a container
    pipedrive = PipedriveStandIn(PIPEDRIVE_PORT, tokens=("demo-pipedrive-token",), host="0.0.0.0")  # noqa: S104
    with github, pipedrive:
        for standin in (github, pipedrive):
            standin.latency, standin.keeps_requests = latency, False
        github.add_account("ada", name="Ada Lovelace", company="Analytical Engines", location="London")
        github.add_account("grace", name="Grace Hopper", company="@us-navy")
        github.add_account("linus")
        for login in ("ada", "grace", "linus"):
            github.publish(login, f"The first gist of {login}")
        print(
            f"GitHub on port {GITHUB_PORT}, Pipedrive on port {PIPEDRIVE_PORT}; track ada, grace or linus.", flush=True
        )
        stopped.wait()


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
