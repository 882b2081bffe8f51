"""`make demo`: the whole job on this machine, without tokens and without a database server.

Real programs talk to each other here. The stand-ins for GitHub and Pipedrive run in this process, the API in gunicorn,
each sync in a process of its own; the database is SQLite in a folder that is deleted at the end.
"""

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from gisttracker.config.environment import VARIABLES  # noqa: E402
from tests.standins import GitHubStandIn, PipedriveStandIn  # noqa: E402
from tests.standins.crowded import CrowdedGitHub  # noqa: E402

GITHUB_TOKEN, PIPEDRIVE_TOKEN = "demo-github-token", "demo-pipedrive-token"
SECONDS_BETWEEN_SYNCS = 5
BOLD, DIM, PLAIN = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")


class DemoFailedError(Exception):
    """The demo did not show what it should show."""


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):  # SIGHUP: the terminal was closed
        signal.signal(number, lambda *_: sys.exit(0))
    folder = tempfile.TemporaryDirectory(prefix="gisttracker-demo-")
    try:
        with (
            folder,
            CrowdedGitHub(tokens=(GITHUB_TOKEN,)) as github,
            PipedriveStandIn(tokens=(PIPEDRIVE_TOKEN,)) as crm,
        ):
            play(Path(folder.name), github, crm)
    except (DemoFailedError, requests.RequestException, subprocess.CalledProcessError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. All data of the demo is deleted.")
    return 0


def play(folder: Path, github: CrowdedGitHub, pipedrive: PipedriveStandIn) -> None:
    port = 3000 if is_free(3000) else free_port()
    # Every other setting has its default, also if .env has another value: the demo must not use a real address.
    environment = {
        **os.environ,
        **{variable.name: "" for variable in VARIABLES},
        "DJANGO_SETTINGS_MODULE": "gisttracker.config.settings",
        "PYTHONWARNINGS": "ignore",
        "DATABASE_HOST": "",
        "SQLITE_PATH": str(folder / "demo.sqlite3"),
        "SECRET_KEY": secrets.token_urlsafe(40),
        "DEBUG": "true",
        "GITHUB_API_URL": github.url,
        "GITHUB_TOKEN": GITHUB_TOKEN,
        "PIPEDRIVE_API_URL": pipedrive.url,
        "PIPEDRIVE_TOKEN": PIPEDRIVE_TOKEN,
    }
    environment |= {f"{variable.name}_FILE": "" for variable in VARIABLES if variable.secret}
    publish_first_gists(github)
    print_step("A database", f"SQLite in {folder}")
    manage(environment, "migrate", "--verbosity", "0")
    password = secrets.token_urlsafe(9)
    environment["DJANGO_SUPERUSER_PASSWORD"] = password
    manage(environment, "createsuperuser", "--noinput", "--username", "demo", "--email", "demo@example.com")
    with api_server(environment, port, folder):
        base = f"http://127.0.0.1:{port}"
        walk_through(base, environment, github, pipedrive)
        if sys.stdout.isatty():
            stay(base, environment, password, github)
    print("\nThe demo has succeeded. Its data is deleted.")


def publish_first_gists(github: GitHubStandIn) -> None:
    github.add_account(
        "ada", name="Ada Lovelace", email="ada@example.com", company="Analytical Engines", location="London"
    )
    github.add_account("grace", name="Grace Hopper", company="@us-navy")
    github.add_account("linus")
    github.publish("ada", "Note G: Bernoulli numbers on the Analytical Engine", files={"note-g.md": "Markdown"})
    github.publish("ada", None, files={"difference.py": "Python", "data.csv": None})
    github.publish("grace", "The first compiler 🐞", files={"a0.asm": "Assembly"})


def walk_through(base: str, environment: dict[str, str], github: CrowdedGitHub, pipedrive: PipedriveStandIn) -> None:
    print_step("Three people are tracked", f"POST {base}/api/v1/people")
    for name in ("ada", "@Grace", "https://github.com/linus"):
        response = requests.post(f"{base}/api/v1/people", json={"username": name}, timeout=10)
        expect(response.status_code == 201, f"tracking {name} returned {response.status_code}: {response.text[:200]}")
        print(f"  {name:28} -> 201, {response.json()['github_username']}, state {response.json()['state']}")

    print_step("The first sync", "manage.py sync_gists")
    sync(environment)
    expect(len(pipedrive.activities) == 3, f"3 activities were expected, {len(pipedrive.activities)} arrived")
    show_activities(pipedrive)

    print_step("A second sync", "nothing is new, so nothing is sent and GitHub counts none of the requests")
    paid, sent = github.used[True], pipedrive.counts.total()
    sync(environment)
    expect(github.used[True] == paid, "the second sync cost GitHub requests")
    expect(pipedrive.counts.total() == sent, "the second sync sent a request to Pipedrive")
    print(f"  GitHub requests that count against the rate limit: {github.used[True] - paid}, requests to Pipedrive: 0")

    print_step("A visit", f"GET {base}/api/v1/people/ada")
    show_visit(visit(base), 2)

    print_step(
        "Ada publishes another gist",
        "manage.py sync_gists --requested, which runs every minute, hears of it in GitHub's stream",
    )
    hear(environment, github, pipedrive)

    print_step("The next visit", "shows just that one")
    show_visit(visit(base), 1)


def sync(environment: dict[str, str]) -> None:
    """Without GitHub's stream, which is read once a minute: so `hear` need not wait for the next time."""
    print("  " + manage({**environment, "GITHUB_STREAM": "false"}, "sync_gists").strip())


def hear(environment: dict[str, str], github: CrowdedGitHub, pipedrive: PipedriveStandIn) -> None:
    """The stream of all public gists shows a gist, so its owner is polled, and no one else."""
    github.clear_requests()
    published = time.monotonic()
    github.publish_now("ada", "Punched cards, revisited", files={"cards.txt": "Text"})
    print("  " + manage(environment, "sync_gists", "--requested").strip())
    seconds = time.monotonic() - published
    expect(len(pipedrive.activities) == 4, "the new gist created no activity")
    paths = [request.path for request in github.requests]
    expect(paths == ["/gists/public", "/users/ada/gists"], f"the sync requested {paths}")
    print(f"  In Pipedrive {seconds:.1f} s later. Requests to GitHub: one for the stream, one for Ada.")


def show_activities(pipedrive: PipedriveStandIn) -> None:
    print(f"  {DIM}What arrived at Pipedrive:{PLAIN}")
    for row in pipedrive.activities.values():
        person = pipedrive.persons[row["person_id"]]["name"]
        print(f"  activity {row['id']} ({row['type']}) for {person}: {row['subject']}")
        author = unescape(re.sub("<[^>]*>", "", row["note"].rpartition("<p>")[2]))
        expect(author.startswith("GitHub profile: "), f"the note of activity {row['id']} does not end with its author")
        print(f"    {author}")


def visit(base: str) -> Any:
    return requests.get(f"{base}/api/v1/people/ada", timeout=10).json()


def show_visit(person: Any, expected: int) -> None:
    gists = person["gists"]
    expect(len(gists) == expected, f"the visit showed {len(gists)} gists, not {expected}")
    print(f"  {person['name']}, last visit: {person['last_visit'] or 'never'}")
    for gist in gists:
        title = gist["description"] or gist["files"][0]["name"]
        print(f"  - {title} ({gist['push_state']}, activity {gist['pipedrive_activity_id']})")


def stay(base: str, environment: dict[str, str], password: str, github: CrowdedGitHub) -> None:
    """Sync new, requested and hinted people every few seconds, so that what a visitor adds is exported."""
    print_step("Running until Ctrl-C", "new people are synced within seconds")
    print(f"  API            {base}/api/v1/people")
    print(f"  documentation  {base}/documentation/")
    print(f"  admin          {base}/admin/  (login: demo, password: {password})")
    print(f"  try            curl -d username=margaret-has-3-gists {base}/api/v1/people")
    print(f"                 curl {base}/api/v1/people/margaret-has-3-gists   (the demo needs no API key)")
    print(f"                 curl -X POST {github.url}/users/ada/gists   (Ada publishes; exported within a minute)")
    while True:
        time.sleep(SECONDS_BETWEEN_SYNCS)
        manage(environment, "sync_gists", "--requested")


@contextmanager
def api_server(environment: dict[str, str], port: int, folder: Path) -> Iterator[None]:
    print_step("The API", f"http://127.0.0.1:{port}")
    with (folder / "api.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "python:gisttracker.web.gunicorn", "gisttracker.web.asgi"],
            cwd=ROOT,
            env={**environment, "LISTEN_PORT": str(port)},
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/readyz", process, folder / "api.log")
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if requests.get(url, timeout=2).ok:
                return
        except requests.RequestException:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise DemoFailedError(f"the API did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.1)


def manage(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    expect(done.returncode == 0, f"manage.py {arguments[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def expect(fulfilled: bool, otherwise: str) -> None:
    if not fulfilled:
        raise DemoFailedError(otherwise)


def print_step(headline: str, detail: str = "") -> None:
    print(f"\n{BOLD}{headline}{PLAIN}" + (f"  {DIM}{detail}{PLAIN}" if detail else ""), flush=True)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
