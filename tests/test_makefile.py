"""The Makefile: the data that `make clean` keeps, the system packages, and the linters of the commit hooks."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

MAKE = shutil.which("make") or "make"
DATA = {".secret-key", "gisttracker.sqlite3", "gisttracker.sqlite3-shm", "gisttracker.sqlite3-wal", ".env"}
(LOCAL_REPOSITORY,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
HOOKS = LOCAL_REPOSITORY["hooks"]
PRODUCTS = (".venv", ".mypy_cache", "static-collected", "people/__pycache__")
HOOKS = [
    hook for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"] for hook in repo["hooks"]
]


def make(folder: Path, target: str) -> tuple[set[str], str]:
    """Run a target in a copy with data and build products. Returns the names that are left, and the output."""
    shutil.copy(ROOT / "Makefile", folder)
    for name in DATA:
        (folder / name).touch()
    for name in PRODUCTS:
        (folder / name).mkdir(parents=True)
    output = subprocess.run(["make", target], cwd=folder, capture_output=True, text=True, check=True).stdout
    return {str(path.relative_to(folder)) for path in folder.rglob("*")} - {"Makefile", "people"}, output


def test_make_clean_keeps_data(tmp_path: Path) -> None:
    assert make(tmp_path, "clean")[0] == DATA


def test_make_wipe_deletes_data_after_a_message(tmp_path: Path) -> None:
    left, output = make(tmp_path, "wipe")

    assert left == {".env"}
    assert output.index("Deleting all data") < output.index("rm -f .secret-key")


@pytest.mark.parametrize("target", ["clean", "wipe", "pins", "upgrade"])
def test_make_lists_what_it_can_do(target: str) -> None:
    assert f"make {target}" in subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True).stdout


# --- system packages ---
class Machine:
    """A folder with the Makefile, and a PATH without compiler and browser, on which apt-get only records its calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "programs"
        (folder / "tests").mkdir()
        self.programs.mkdir()
        for name in ("Makefile", "tests/install-system-packages.sh"):
            shutil.copy(ROOT / name, folder / name)
        for name in ("sh", "mktemp", "rm", "tail", "true"):
            (self.programs / name).symlink_to(shutil.which(name) or name)
        self.add("id", "echo 1000")
        self.add("sudo", '[ "$1" != -n ] || shift\nexec "$@"')
        self.add("apt-get", 'echo "apt-get $*" >>calls')

    def add(self, name: str, script: str) -> None:
        (self.programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.programs / name).chmod(0o755)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.programs), "PYTHON": sys.executable, **environment}
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)

    def install(self, *groups: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run("sh", "tests/install-system-packages.sh", *groups, **environment)

    @property
    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


TOOLS_COMMAND = "sudo apt-get -qq update && sudo apt-get -qq -y --no-install-recommends install chromium prometheus"


def test_the_command_is_printed_before_system_packages_are_installed(machine: Machine) -> None:
    machine.add("apt-get", 'echo "apt-get $*" >>calls\n[ "$2" = update ] || { echo no space left >&2; exit 1; }')

    completed = machine.install("tools", CI="true")

    assert TOOLS_COMMAND.replace("sudo ", "").split(" && ") == machine.calls
    assert completed.stdout.splitlines()[1].strip() == TOOLS_COMMAND
    assert completed.returncode == 1
    assert "no space left" in completed.stderr


@pytest.mark.parametrize("groups", [["build"], ["server", "tools"]])
def test_nothing_is_installed_where_it_is_forbidden(machine: Machine, groups: list[str]) -> None:
    completed = machine.install(*groups, SYSTEM_PACKAGES="no")

    assert completed.returncode == 1
    assert re.search(r"^    sudo apt-get -qq update && sudo apt-get .* install \w+", completed.stderr, re.MULTILINE)
    assert machine.calls == []


def test_root_needs_no_sudo(machine: Machine) -> None:
    machine.add("id", "echo 0")

    completed = machine.install("tools", SYSTEM_PACKAGES="no")

    assert TOOLS_COMMAND.replace("sudo ", "") in completed.stderr
    assert "sudo" not in completed.stderr


def test_the_model_needs_spin_and_its_compiler(machine: Machine) -> None:
    completed = machine.install("model", SYSTEM_PACKAGES="no")
    planned = subprocess.run([MAKE, "-n", "proof"], cwd=ROOT, capture_output=True, text=True).stdout

    assert completed.returncode == 1
    assert completed.stderr.endswith("install spin gcc\n")
    assert 0 <= planned.index("install-system-packages.sh model") < planned.index("--check-slow")


@pytest.mark.parametrize(
    ("groups", "environment", "exit_code"),
    [(["tools"], {}, 0), (["tools"], {"CI": "true"}, 1), (["build", "tools"], {}, 1)],
)
def test_without_sudo_only_the_tests_can_do_without_packages(
    machine: Machine, groups: list[str], environment: dict[str, str], exit_code: int
) -> None:
    machine.add("sudo", "exit 1")

    completed = machine.install(*groups, **environment)

    assert completed.returncode == exit_code
    assert "chromium prometheus" in completed.stderr
    assert machine.calls == []


@pytest.mark.parametrize(
    ("target", "packages"), [("demo", {"build-essential"}), ("test", {"build-essential", "chromium", "prometheus"})]
)
@pytest.mark.parametrize("is_in_environment", [True, False])
def test_make_stops_with_the_command_for_all_packages(
    machine: Machine, target: str, packages: set[str], is_in_environment: bool
) -> None:
    arguments = [f"PYTHON={sys.executable}", *([] if is_in_environment else ["SYSTEM_PACKAGES=no"])]
    for name in ("requirements-build.txt", "requirements.txt"):
        (machine.folder / name).touch()

    completed = machine.run(MAKE, target, *arguments, **({"SYSTEM_PACKAGES": "no"} if is_in_environment else {}))

    (command,) = re.findall(r"^    sudo .* install (.*)$", completed.stderr, re.MULTILINE)
    assert completed.returncode == 2
    assert packages <= set(command.split())
    assert machine.calls == []
    assert not (machine.folder / ".venv").exists()


# --- packages of npm ---
@pytest.fixture
def without_npm(machine: Machine) -> Machine:
    """A machine with everything but a registry for npm. Its Python only records what it is asked to do."""
    for name in ("mkdir", "cp", "touch", "chmod"):
        (machine.programs / name).symlink_to(shutil.which(name) or name)
    machine.add("npm", "echo npm >>$HOME/calls\nexit 1")
    machine.add("python", "echo $* >>calls")
    files = ["requirements-build.txt", "requirements.txt", "tests/requirements.txt"]
    files += ["tests/clients/package.json", "tests/clients/package-lock.json", ".venv/.runtime", ".venv/.tools"]
    for name in files:
        (machine.folder / name).parent.mkdir(exist_ok=True)
        (machine.folder / name).touch()
    (machine.folder / ".venv/bin").symlink_to(machine.programs)
    for name in ("mariadbd", "chromium", "promtool"):
        machine.add(name, "")
    return machine


def test_without_packages_of_npm_the_tests_still_run(without_npm: Machine) -> None:
    completed = without_npm.run(MAKE, "test", HOME=str(without_npm.folder))

    assert completed.returncode == 0, completed.stderr
    assert (completed.stdout + completed.stderr).count("npm could not install the packages") == 1
    assert [call.split()[0] for call in without_npm.calls] == ["npm", "-m", "tests/with_mysql.py"]


def test_in_ci_packages_of_npm_are_required(without_npm: Machine) -> None:
    completed = without_npm.run(MAKE, "test", HOME=str(without_npm.folder), CI="true")

    assert completed.returncode == 2
    assert without_npm.calls == ["npm"]


# --- linters ---
def test_the_commit_hooks_run_the_linters_of_make_lint() -> None:
    (linters,) = re.findall(r"^LINTERS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert [hook["entry"] for hook in HOOKS] == [f"make lint-{name}" for name in linters.split()]
    assert [hook["id"] for hook in HOOKS] == linters.split()
    assert all(not hook["pass_filenames"] and hook["language"] == "system" for hook in HOOKS)


def test_make_lint_runs_every_linter() -> None:
    plan = subprocess.run(["make", "-n", "lint"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    programs = [
        "ruff check", "ruff format --check", "mypy", "makemigrations --check", "redocly lint", "spectral lint",
        "hadolint", "shellcheck", "yamllint", "actionlint", "zizmor", "lint_deploy.sh",
    ]  # fmt: skip
    assert [program for program in programs if not re.search(rf"{program}\s", plan)] == []


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_every_commit_hook_applies_to_a_file(hook: dict[str, str]) -> None:
    ignored = {".git", ".venv", "node_modules"}
    files = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in ignored]
        files += [os.path.relpath(os.path.join(folder, name), ROOT) for name in names]

    assert any(re.search(hook["files"], file) for file in files)
