"""Rules of the house that nothing else would notice."""

import ast
from pathlib import Path

import pytest
from django.core.management import call_command

from gisttracker.environment import VARIABLES
from tests.conftest import ROOT

# A module imports only from lower rungs.
LADDER = [
    {"clients.errors", "models"},
    {"clients.rate_limit", "steps"},
    {"clients.transport"},
    {"clients.github", "clients.pipedrive"},
    {"claims", "activity"},
    {"poll", "link", "runs", "summary", "budget", "status"},
    {"store", "reconcile", "dry_run"},
    {"push"},
    {"run"},
    {"management.commands.sync_gists", "management.commands.sync_status"},
]
RUNG = {module: number for number, modules in enumerate(LADDER) for module in modules}
OUTSIDE = {"apps"}  # Django loads these by itself.


def imported(file: Path) -> set[str]:
    """The modules that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def modules_of_sync() -> dict[str, Path]:
    files = [
        file for file in (ROOT / "sync").rglob("*.py") if file.stem != "__init__" and "migrations" not in file.parts
    ]
    return {".".join(file.relative_to(ROOT / "sync").with_suffix("").parts): file for file in files}


def test_sync_keeps_its_import_ladder() -> None:
    for module, file in modules_of_sync().items():
        if module in OUTSIDE or module.startswith(("api", "admin")):
            continue
        for other in RUNG:
            if f"sync.{other}" in imported(file):
                assert RUNG[other] < RUNG[module], f"{module} imports {other}"


def test_people_never_imports_sync() -> None:
    for file in (ROOT / "people").rglob("*.py"):
        assert not any(name.split(".")[0] == "sync" for name in imported(file)), file


def test_clients_know_neither_the_database_nor_the_settings() -> None:
    for module in ("errors", "rate_limit", "transport", "github", "pipedrive"):
        names = imported(ROOT / "sync/clients" / f"{module}.py")
        assert not any(name.split(".")[0] in ("django", "people", "gisttracker") for name in names), module


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_every_setting_is_in_the_readme_with_its_default() -> None:
    text = (ROOT / "README.md").read_text()

    for variable in VARIABLES:
        default = f"`{variable.default}`" if variable.default else ""
        secret = " (secret)" if variable.secret else ""
        assert f"| `{variable.name}` | {default} | {variable.says}{secret} |" in text


def test_every_setting_is_in_the_example_file_with_its_default() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()

    shown = {
        variable.name: f"{'#' if variable.default else ''}{variable.name}={variable.default}" for variable in VARIABLES
    }
    assert [name for name, line in shown.items() if line not in lines] == []
