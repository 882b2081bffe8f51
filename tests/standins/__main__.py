"""`python -m tests.standins`: both stand-ins on fixed ports, with the people of the demo, until SIGTERM or Ctrl-C."""

import signal
import threading

from tests.standins import GitHubStandIn, PipedriveStandIn

GITHUB_PORT, PIPEDRIVE_PORT = 8081, 8082


def main() -> None:
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    github = GitHubStandIn(GITHUB_PORT, tokens=("demo-github-token",), host="0.0.0.0")  # noqa: S104  # in a container
    pipedrive = PipedriveStandIn(PIPEDRIVE_PORT, tokens=("demo-pipedrive-token",), host="0.0.0.0")  # noqa: S104
    with github, pipedrive:
        for login, name in (("ada", "Ada Lovelace"), ("grace", "Grace Hopper"), ("linus", None)):
            github.add_account(login, name=name)
            github.publish(login, f"The first gist of {name or login}")
        print(
            f"GitHub on port {GITHUB_PORT}, Pipedrive on port {PIPEDRIVE_PORT}; track ada, grace or linus.", flush=True
        )
        stopped.wait()


if __name__ == "__main__":
    main()
