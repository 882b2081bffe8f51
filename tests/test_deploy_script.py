"""deploy.sh, with recorders in the places of gcloud and kubectl on PATH."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT

TOKEN = "a \"quoted\" 'token'\nwith two lines & $(more)"
SETTINGS = (
    "DOMAIN=gists.example.org\nDATABASE_HOST=10.1.2.3\nDATABASE_CIDR=10.1.2.3/32\nADDRESS_NAME=a\nCERTIFICATE_MAP=c\n"
)
# Writes down what it was called with, and answers as the real program would.
RECORDER = """#!{python}
import json, os, subprocess, sys
name, arguments = os.path.basename(sys.argv[0]), sys.argv[1:]
stdin = "" if sys.stdin.isatty() or "--filename - " not in " ".join(arguments) + " " else sys.stdin.read()
with open({log!r}, "a") as log:
    log.write(json.dumps({{"name": name, "arguments": arguments, "stdin": stdin}}) + "\\n")
line = " ".join(arguments)
scenario = json.load(open({scenario!r}))
if "images describe" in line:
    print(scenario["digest"])
elif "gisttracker-settings" in line:
    print(scenario["settings"], end="")
elif "versions access" in line:
    print(scenario["token"], end="")
elif name == "kubectl" and arguments[0] == "kustomize":
    sys.exit(subprocess.call([scenario["kubectl"], *arguments]))
elif "create secret" in line:
    for argument in arguments:
        if argument.startswith("--from-file="):
            print(open(argument.split("=", 1)[1]).read())
elif "get job migrate" in line:
    print(scenario["migrate"])
elif "revision" in line:
    print(scenario["after"] if "component=web" in open({log!r}).read() else "7")
elif "rollout status" in line and scenario["rollout"] == "fails" and '"undo"' not in open({log!r}).read():
    sys.exit(1)
elif "--raw" in line and scenario["smoke"] == "fails":
    sys.exit(1)
"""


@dataclass
class Deployed:
    code: int
    out: str
    errors: str
    calls: list[dict[str, object]]

    def lines(self) -> list[str]:
        return [f"{call['name']} {' '.join(map(str, call['arguments']))}" for call in self.calls]  # type: ignore[call-overload]

    def has(self, part: str) -> bool:
        return any(part in line for line in self.lines())


Deploy = Callable[..., Deployed]


@pytest.fixture
def deploy(tmp_path: Path) -> Deploy:
    kubectl = shutil.which("kubectl")
    if not kubectl:
        assert not os.environ.get("CI"), "CI has kubectl"
        pytest.skip("kubectl is not installed; it renders the manifests here")

    def run(*arguments: str, tools: tuple[str, ...] = ("gcloud", "kubectl"), **scenario: str) -> Deployed:
        folder, log = tmp_path / "bin", tmp_path / "log"
        folder.mkdir()
        log.write_text("")
        told = {"digest": "sha256:" + "a" * 64, "settings": SETTINGS, "token": TOKEN, "migrate": "Complete"}
        told |= {"rollout": "goes well", "smoke": "goes well", "after": "8", "kubectl": kubectl, **scenario}
        (tmp_path / "scenario").write_text(json.dumps(told))
        for tool in tools:
            text = RECORDER.format(python=sys.executable, log=str(log), scenario=str(tmp_path / "scenario"))
            (folder / tool).write_text(text)
            (folder / tool).chmod(0o755)
        for tool in ("bash", "sed", "mktemp", "rm", "cp", "mkdir", "cat", "seq", "sleep", "dirname", "sha256sum"):
            (folder / tool).symlink_to(shutil.which(tool) or tool)
        environment = {"PATH": str(folder), "SMOKE_PAUSE": "0", "MIGRATE_PAUSE": "0", "MIGRATE_TRIES": "3"}
        done = subprocess.run(
            [str(folder / "bash"), str(ROOT / "deploy/deploy.sh"), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        calls = [json.loads(line) for line in log.read_text().splitlines()]
        return Deployed(done.returncode, done.stdout, done.stderr, calls)

    return run


def place(deployed: Deployed, part: str) -> int:
    return next(number for number, line in enumerate(deployed.lines()) if part in line)


def test_a_deploy_goes_in_order_and_prints_the_address(deploy: Deploy) -> None:
    done = deploy("project", "cluster", "europe-west1")

    assert (done.code, done.out) == (0, "https://gists.example.org/\n"), done.errors
    steps = ["images describe", "get-credentials cluster", "create secret", "delete job migrate", "component=migrate"]
    steps += ["get job migrate", "component=web", "rollout status", "/readyz", "component=sync"]
    places = [place(done, step) for step in steps]
    assert places == sorted(places)
    assert all("--project project" in line for line in done.lines() if line.startswith("gcloud"))


def test_no_secret_is_on_a_command_line_or_printed(deploy: Deploy) -> None:
    done = deploy("project", "cluster", "europe-west1")

    assert not any("quoted" in line for line in done.lines())
    assert "quoted" not in done.out + done.errors
    (applied,) = [str(call["stdin"]) for call in done.calls if call["stdin"]]
    assert applied.count(TOKEN) == 4  # Whole, quotes and newlines too.


def test_a_key_file_is_used_before_anything_else(deploy: Deploy, tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text("{}")

    done = deploy("project", "cluster", "europe-west1", str(tmp_path / "key.json"))

    assert done.code == 0
    assert "activate-service-account --key-file" in done.lines()[0]


def test_the_image_is_named_by_its_digest(deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    done = deploy("project", "cluster", "europe-west1", "--dry-run")

    image = f"image: europe-west1-docker.pkg.dev/project/gisttracker/gisttracker@sha256:{'a' * 64}"
    assert done.out.count(image) == 4
    assert "gists.example.org" in done.out
    assert "cidr: 10.1.2.3/32" in done.out


def test_a_dry_run_changes_nothing(deploy: Deploy) -> None:
    done = deploy("project", "cluster", "europe-west1", "--dry-run")

    assert done.code == 0
    assert not any(done.has(word) for word in ("apply", "delete", "get-credentials", "create secret", "token"))


def test_a_failed_migration_leaves_web_alone(deploy: Deploy) -> None:
    done = deploy("project", "cluster", "europe-west1", migrate="Failed")

    assert done.code == 1
    assert "migrate did not succeed; web still runs what it ran before" in done.errors
    assert done.has("logs job/migrate")
    assert not done.has("component=web")


def test_a_migration_that_never_ends_is_a_failed_one(deploy: Deploy) -> None:
    done = deploy("project", "cluster", "europe-west1", migrate="")

    assert (done.code, done.has("component=web")) == (1, False)


@pytest.mark.parametrize(
    ("scenario", "says"),
    [
        ({"rollout": "fails"}, "web did not get ready; rolled back"),
        ({"smoke": "fails"}, "/readyz does not answer; rolled"),
    ],
    ids=["rollout", "smoke test"],
)
def test_a_bad_rollout_is_rolled_back(scenario: dict[str, str], says: str, deploy: Deploy) -> None:
    done = deploy("project", "cluster", "europe-west1", **scenario)

    assert (done.code, done.out) == (1, "")
    assert says in done.errors
    undone = place(done, "rollout undo deployment/web")
    assert "rollout status" in done.lines()[undone + 1]  # It waits until the old release is back.
    assert not done.has("component=sync")


def test_the_same_release_is_not_rolled_back_to_an_older_one(deploy: Deploy) -> None:
    done = deploy("project", "cluster", "europe-west1", smoke="fails", after="7")

    assert done.code == 1
    assert "it runs the release that ran before" in done.errors
    assert not done.has("rollout undo")


@pytest.mark.parametrize("arguments", [[], ["project", "cluster"], ["a", "b", "c", "d", "e"], ["a", "b", "c", "--odd"]])
def test_wrong_arguments_are_told(arguments: list[str], deploy: Deploy) -> None:
    done = deploy(*arguments)

    assert (done.code, done.calls) == (2, [])
    assert done.errors.startswith("usage: deploy/deploy.sh PROJECT CLUSTER REGION")


def test_a_missing_tool_is_named(deploy: Deploy) -> None:
    done = deploy("project", "cluster", "europe-west1", tools=("gcloud",))

    assert (done.code, done.errors) == (1, "deploy.sh: kubectl is not installed\n")


@pytest.mark.parametrize(
    ("scenario", "says"),
    [({"digest": ""}, "there is no image"), ({"settings": ""}, "has no DOMAIN: run terraform apply")],
)
def test_what_is_missing_is_told(scenario: dict[str, str], says: str, deploy: Deploy) -> None:
    done = deploy("project", "cluster", "europe-west1", **scenario)

    assert (done.code, says in done.errors) == (1, True)
    assert not done.has("apply")
