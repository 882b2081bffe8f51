"""deploy.sh, with fake gcloud and kubectl programs on PATH that record their calls."""

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
# Records its arguments and standard input, and prints what the real program would print.
FAKE_PROGRAM = """#!{python}
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
class DeployResult:
    exit_code: int
    stdout: str
    stderr: str
    calls: list[dict[str, object]]

    def commands(self) -> list[str]:
        return [f"{call['name']} {' '.join(map(str, call['arguments']))}" for call in self.calls]  # type: ignore[call-overload]

    def ran(self, text: str) -> bool:
        return any(text in command for command in self.commands())

    def position(self, text: str) -> int:
        return next(index for index, command in enumerate(self.commands()) if text in command)


Deploy = Callable[..., DeployResult]


@pytest.fixture
def deploy(tmp_path: Path) -> Deploy:
    kubectl = shutil.which("kubectl")
    if not kubectl:
        assert not os.environ.get("CI"), "kubectl is required in CI"
        pytest.skip("kubectl is not installed, so the manifests cannot be rendered")

    def run(*arguments: str, tools: tuple[str, ...] = ("gcloud", "kubectl"), **overrides: str) -> DeployResult:
        folder, log = tmp_path / "bin", tmp_path / "log"
        folder.mkdir()
        log.write_text("")
        scenario = {"digest": "sha256:" + "a" * 64, "settings": SETTINGS, "token": TOKEN, "migrate": "Complete"}
        scenario |= {"rollout": "succeeds", "smoke": "succeeds", "after": "8", "kubectl": kubectl, **overrides}
        (tmp_path / "scenario").write_text(json.dumps(scenario))
        for tool in tools:
            program = FAKE_PROGRAM.format(python=sys.executable, log=str(log), scenario=str(tmp_path / "scenario"))
            (folder / tool).write_text(program)
            (folder / tool).chmod(0o755)
        for tool in ("bash", "sed", "mktemp", "rm", "cp", "mkdir", "cat", "seq", "sleep", "dirname", "sha256sum"):
            (folder / tool).symlink_to(shutil.which(tool) or tool)
        environment = {"PATH": str(folder), "SMOKE_PAUSE": "0", "MIGRATE_PAUSE": "0", "MIGRATE_TRIES": "3"}
        result = subprocess.run(
            [str(folder / "bash"), str(ROOT / "deploy/deploy.sh"), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        calls = [json.loads(line) for line in log.read_text().splitlines()]
        return DeployResult(result.returncode, result.stdout, result.stderr, calls)

    return run


def test_a_deployment_runs_its_steps_in_order_and_prints_the_url(deploy: Deploy) -> None:
    result = deploy("project", "cluster", "europe-west1")

    assert (result.exit_code, result.stdout) == (0, "https://gists.example.org/\n"), result.stderr
    steps = ["images describe", "get-credentials cluster", "create secret", "delete job migrate", "component=migrate"]
    steps += ["get job migrate", "component=web", "rollout status", "/readyz", "component in (sync, prune)"]
    positions = [result.position(step) for step in steps]
    assert positions == sorted(positions)
    assert all("--project project" in line for line in result.commands() if line.startswith("gcloud"))


def test_secrets_never_appear_on_a_command_line_or_in_the_output(deploy: Deploy) -> None:
    result = deploy("project", "cluster", "europe-west1")

    assert not any("quoted" in line for line in result.commands())
    assert "quoted" not in result.stdout + result.stderr
    (applied,) = [str(call["stdin"]) for call in result.calls if call["stdin"]]
    assert applied.count(TOKEN) == 6  # Unchanged, including quotes and newlines.


def test_a_service_account_key_is_activated_first(deploy: Deploy, tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text("{}")

    result = deploy("project", "cluster", "europe-west1", str(tmp_path / "key.json"))

    assert result.exit_code == 0
    assert "activate-service-account --key-file" in result.commands()[0]


def test_manifests_use_the_image_digest(deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    result = deploy("project", "cluster", "europe-west1", "--dry-run")

    image = f"image: europe-west1-docker.pkg.dev/project/gisttracker/gisttracker@sha256:{'a' * 64}"
    assert result.stdout.count(image) == 5
    assert "gists.example.org" in result.stdout
    assert "cidr: 10.1.2.3/32" in result.stdout


def test_a_dry_run_changes_nothing(deploy: Deploy) -> None:
    result = deploy("project", "cluster", "europe-west1", "--dry-run")

    assert result.exit_code == 0
    assert not any(result.ran(word) for word in ("apply", "delete", "get-credentials", "create secret", "token"))


def test_web_is_not_deployed_after_a_failed_migration(deploy: Deploy) -> None:
    result = deploy("project", "cluster", "europe-west1", migrate="Failed")

    assert result.exit_code == 1
    assert "the migrate Job failed; web still runs the previous release" in result.stderr
    assert result.ran("logs job/migrate")
    assert not result.ran("component=web")


def test_web_is_not_deployed_if_the_migration_does_not_finish(deploy: Deploy) -> None:
    result = deploy("project", "cluster", "europe-west1", migrate="")

    assert (result.exit_code, result.ran("component=web")) == (1, False)


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ({"rollout": "fails"}, "web did not become ready; rolled back"),
        ({"smoke": "fails"}, "/readyz did not return 200; rolled back"),
    ],
    ids=["rollout", "smoke test"],
)
def test_a_failed_rollout_or_smoke_test_is_rolled_back(scenario: dict[str, str], message: str, deploy: Deploy) -> None:
    result = deploy("project", "cluster", "europe-west1", **scenario)

    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr
    undo = result.position("rollout undo deployment/web")
    assert "rollout status" in result.commands()[undo + 1]  # The script waits for the rollback to finish.
    assert not result.ran("component in (sync, prune)")


def test_an_unchanged_release_is_not_rolled_back(deploy: Deploy) -> None:
    result = deploy("project", "cluster", "europe-west1", smoke="fails", after="7")

    assert result.exit_code == 1
    assert "the release did not change, so there is nothing to roll back" in result.stderr
    assert not result.ran("rollout undo")


@pytest.mark.parametrize("arguments", [[], ["project", "cluster"], ["a", "b", "c", "d", "e"], ["a", "b", "c", "--odd"]])
def test_wrong_arguments_print_the_usage(arguments: list[str], deploy: Deploy) -> None:
    result = deploy(*arguments)

    assert (result.exit_code, result.calls) == (2, [])
    assert result.stderr.startswith("usage: deploy/deploy.sh PROJECT CLUSTER REGION")


def test_a_missing_tool_is_reported(deploy: Deploy) -> None:
    result = deploy("project", "cluster", "europe-west1", tools=("gcloud",))

    assert (result.exit_code, result.stderr) == (1, "deploy.sh: kubectl is not installed\n")


@pytest.mark.parametrize(
    ("scenario", "message"),
    [({"digest": ""}, "not found"), ({"settings": ""}, "has no DOMAIN: run terraform apply")],
)
def test_a_missing_image_or_domain_is_reported(scenario: dict[str, str], message: str, deploy: Deploy) -> None:
    result = deploy("project", "cluster", "europe-west1", **scenario)

    assert (result.exit_code, message in result.stderr) == (1, True)
    assert not result.ran("apply")
