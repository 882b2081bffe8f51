"""Clients that are generated from tests/openapi.yaml work against the running service, without a patch."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.factories import create_gist, create_key, create_person, create_run

DOCUMENT = str(ROOT / "tests/openapi.yaml")
PROGRAMS = ROOT / "tests/clients"
NODE = ROOT / ".venv/node"
BIN = Path(sys.executable).parent
GIST = "2decf6c462d9b4418f2d"
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def address(serve: Callable[..., str]) -> tuple[str, str, str]:
    """URL, key and gist of a service that tracks grace."""
    create_gist(create_person("grace", state="active"), github_id=GIST, push_state="rejected")
    create_run(outcome="succeeded", trigger="schedule")
    return serve(), create_key(), GIST


def run(*command: str | Path, folder: Path) -> str:
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(folder)}
    completed = subprocess.run(
        [str(part) for part in command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout + completed.stderr


@pytest.mark.slow("starts a web server, and generates a client")
def test_the_generated_python_client_runs_the_life_cycle(address: tuple[str, str, str], tmp_path: Path) -> None:
    package = tmp_path / "gisttracker_client"

    arguments: list[str | Path] = ["generate", "--path", DOCUMENT, "--meta", "none", "--output-path", package]
    printed = run("openapi-python-client", *arguments, folder=tmp_path)
    run(sys.executable, PROGRAMS / "life_cycle.py", *address, folder=tmp_path)

    warnings = [line for line in printed.splitlines() if line.startswith(("WARNING", "Unsupported", "Cannot"))]
    assert warnings == ["WARNING parsing POST /api/v1/people/bulk within people.", "Unsupported content type text/csv"]


@pytest.mark.slow("starts a web server, and generates a client")
@pytest.mark.skipif(
    not (NODE / ".installed").exists() and not os.environ.get("CI"), reason="npm has not installed what it needs"
)
def test_the_generated_typescript_client_runs_the_life_cycle(address: tuple[str, str, str], tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(NODE / "node_modules")
    for name in ("life_cycle.ts", "tsconfig.json", "package.json"):
        shutil.copy(PROGRAMS / name, tmp_path)
    tools = NODE / "node_modules/.bin"

    run(tools / "openapi-typescript", DOCUMENT, "--output", "schema.d.ts", folder=tmp_path)
    run(tools / "tsc", "--project", ".", folder=tmp_path)
    run("node", "life_cycle.js", *address, folder=tmp_path)
