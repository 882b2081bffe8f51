"""The workflows: what cd.yml builds and signs, run with recorders of docker, gcloud and cosign; what ci.yml tests."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

DIGEST = "sha256:" + "ab" * 32
REPOSITORY = "europe-west1-docker.pkg.dev/your-project/gisttracker/gisttracker"
SBOM = {"SPDXID": "SPDXRef-DOCUMENT"}
PROVENANCE = {"buildDefinition": {"buildType": "https://mobyproject.org/buildkit@v1"}}
# Records its arguments. `buildx build` writes the metadata; `buildx imagetools inspect` prints a document.
RECORDER = """#!/bin/sh
echo "$(basename "$0") $*" >>"$RECORD"
case "$*" in
"buildx build "*) printf '%s' "$METADATA" >"$RUNNER_TEMP/build.json" ;;
*SBOM*) printf '%s' "$SBOM" ;;
*Provenance*) printf '%s' "$PROVENANCE" ;;
esac
"""


@cache
def workflow(name: str) -> Any:
    return yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text())


def steps(name: str, job: str) -> list[dict[str, Any]]:
    return list(workflow(name)["jobs"][job]["steps"])


@dataclass
class Run:
    """Steps of the job `deploy` in this folder. `answers`: what the recorders write."""

    folder: Path
    answers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("docker", "gcloud", "cosign"):
            program = self.folder / name
            program.write_text(RECORDER)
            program.chmod(0o755)

    def __call__(self, word: str) -> int:
        """Run the step whose name contains this word. Returns its exit code."""
        (step,) = [row for row in steps("cd", "deploy") if word in row.get("name", "")]
        environment = {
            **{name: value for name, value in os.environ.items() if name != "BASH_ENV"},
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "RECORD": str(self.folder / "record"),
            "RUNNER_TEMP": str(self.folder),
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "COMMIT_SHA": "c0ffee",
            "PROJECT": "your-project",
            "REGION": "europe-west1",
            "IMAGE": f"{REPOSITORY}@{DIGEST}",
            "METADATA": json.dumps({"containerimage.digest": DIGEST}),
            "SBOM": json.dumps(SBOM),
            "PROVENANCE": json.dumps(PROVENANCE),
            **self.answers,
        }
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False).returncode

    @property
    def commands(self) -> list[str]:
        return (self.folder / "record").read_text().splitlines()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    if not shutil.which("jq"):
        assert not os.environ.get("CI"), "jq is required in CI"
        pytest.skip("jq is not installed, so the steps of cd.yml cannot run")
    return Run(tmp_path)


# --- cd.yml ---
def test_the_image_is_pushed_with_sbom_and_provenance(run: Run) -> None:
    assert run("Build and push") == 0

    (build,) = [command for command in run.commands if command.startswith("docker buildx build")]
    assert {"--push", "--sbom=true", "--provenance=mode=max", f"{REPOSITORY}:c0ffee"} <= set(build.split())
    assert (run.folder / "output").read_text() == f"image={REPOSITORY}@{DIGEST}\n"


def test_a_build_without_a_digest_fails(run: Run) -> None:
    run.answers["METADATA"] = "{}"

    assert run("Build and push") != 0
    assert not (run.folder / "output").exists()


@pytest.mark.parametrize("provenance", [PROVENANCE, {"buildType": "https://mobyproject.org/buildkit@v1"}])
def test_the_image_is_signed_by_digest(run: Run, provenance: dict[str, Any]) -> None:
    run.answers["PROVENANCE"] = json.dumps(provenance)

    assert run("sign the image") == 0
    assert run.commands[-1] == f"cosign sign --yes {REPOSITORY}@{DIGEST}"


@pytest.mark.parametrize("missing", ["SBOM", "PROVENANCE"])
@pytest.mark.parametrize("printed", ["", "null", "{}"])
def test_an_image_without_sbom_or_provenance_is_not_signed(run: Run, missing: str, printed: str) -> None:
    run.answers[missing] = printed

    assert run("sign the image") != 0
    assert not [command for command in run.commands if command.startswith("cosign")]


def test_the_signed_image_is_the_one_that_was_built() -> None:
    (sign,) = [row for row in steps("cd", "deploy") if "sign the image" in row.get("name", "")]
    (build,) = [row for row in steps("cd", "deploy") if row.get("id") == "build"]

    assert "Build and push" in build["name"]
    assert sign["env"] == {"IMAGE": "${{ steps.build.outputs.image }}"}


def test_the_image_is_signed_before_it_is_deployed_and_cosign_is_there_for_both() -> None:
    order = [row.get("name") or row["uses"].split("@")[0] for row in steps("cd", "deploy")]
    sign = next(index for index, name in enumerate(order) if "sign the image" in name)

    assert order.index("sigstore/cosign-installer") < sign < order.index("Deploy")


def test_terraform_accepts_the_workflow_that_deploys() -> None:
    assert workflow("cd")["name"] == "cd"
    assert ".github/workflows/cd.yml@refs/heads/main" in (ROOT / "deploy/terraform/delivery.tf").read_text()


# --- ci.yml ---
def run_commands(job: str) -> str:
    return "\n".join(row.get("run", "") for row in steps("ci", job))


def test_the_suite_runs_on_each_python_and_each_database_with_all_tools() -> None:
    matrix = workflow("ci")["jobs"]["test"]["strategy"]["matrix"]
    commands = run_commands("test")

    assert matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert matrix["database"] == ["sqlite", "mysql:8.4", "mariadb:10.11"]
    assert commands.index("install-system-packages.sh tools") < commands.index("-m pytest")


def test_terraform_is_tested() -> None:
    assert "terraform -chdir=deploy/terraform test" in run_commands("terraform")


def test_the_cluster_has_its_images_before_the_trials_begin() -> None:
    commands = run_commands("cluster")
    order = ["docker build", "docker pull", "kind create cluster", "kind load", "local/try.sh", "local/trials.sh"]
    loaded = commands.split("kind load docker-image ")[1].splitlines()[0].split()
    used = {
        container["image"]
        for document in yaml.safe_load_all((ROOT / "deploy/kubernetes/overlays/local/mysql.yaml").read_text())
        if document["kind"] == "StatefulSet"
        for container in document["spec"]["template"]["spec"]["containers"]
    }

    assert [commands.index(word) for word in order] == sorted(commands.index(word) for word in order)
    assert set(loaded) == used | {"gisttracker:local"}


def test_the_cluster_has_two_workers() -> None:
    nodes = yaml.safe_load((ROOT / "deploy/kubernetes/overlays/local/kind.yaml").read_text())["nodes"]

    assert [node["role"] for node in nodes].count("worker") == 2


def test_the_documented_commands_for_a_local_cluster_run_in_ci() -> None:
    section = (ROOT / "docs/deploy.md").read_text().split("## On a local cluster")[1].split("\n## ")[0]
    documented = [line for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]
    commands = re.sub(r" --build-arg \S+| --wait \S+", "", run_commands("cluster")).splitlines()

    assert len(documented) == 7
    assert set(documented) <= set(commands)
