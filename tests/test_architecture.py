"""Rules of the house that nothing else would notice."""

import ast
import io
from pathlib import Path

import pytest
from django.core.management import call_command

from gisttracker.config.environment import VARIABLES
from tests.conftest import ROOT

# A folder of sync/, or a module beside them, imports only from those above its own line in this list.
LAYERS = [
    {"reasons", "stopping", "few"},
    {"models"},
    {"clients"},
    {"run", "poll", "push", "crm", "health", "export"},
    {"api", "admin"},
    {"templatetags"},
    {"management"},
]
LAYER_OF = {module: number for number, modules in enumerate(LAYERS) for module in modules}
CLIENT_LAYERS = [
    {"errors", "boot_clock", "pipedrive_records"},
    {"rate_limit", "circuit", "session", "network_errors"},
    {"transport"},
    {"github", "pipedrive_limits", "webhook"},
    {"pipedrive"},
]


def imported(file: Path) -> set[str]:
    """The modules that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def files_of(package: str) -> list[Path]:
    files = (ROOT / package).rglob("*.py")
    return [file for file in files if "migrations" not in file.parts]


def packages_imported(file: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(file)}


def test_sync_imports_point_one_way() -> None:
    for file in files_of("sync"):
        module = file.relative_to(ROOT / "sync").with_suffix("").parts[0]
        if module in ("__init__", "apps"):
            continue
        for other in {name.split(".")[1] for name in imported(file) if name.startswith("sync.")}:
            assert other == module or LAYER_OF[other] <= LAYER_OF[module], f"{file}: {module} imports {other}"


def test_the_clients_imports_point_one_way() -> None:
    layer_of = {module: number for number, modules in enumerate(CLIENT_LAYERS) for module in modules}
    for module, layer in layer_of.items():
        names = imported(ROOT / "sync/clients" / f"{module}.py")
        for other in {name.split(".")[2] for name in names if name.startswith("sync.clients.")}:
            assert layer_of[other] < layer, f"{module} imports {other}"


def test_clients_are_free_of_django() -> None:
    for file in files_of("sync/clients"):
        assert not packages_imported(file) & {"django", "rest_framework", "people", "gisttracker"}, file


def test_people_never_imports_sync() -> None:
    for file in files_of("people"):
        assert "sync" not in packages_imported(file), file


def test_only_the_api_imports_rest_framework() -> None:
    for file in [*files_of("people"), *files_of("sync")]:
        if "api" not in file.parts:
            assert "rest_framework" not in packages_imported(file), file


def test_migrations_import_no_live_code() -> None:
    for file in [*(ROOT / "people/migrations").glob("*.py"), *(ROOT / "sync/migrations").glob("*.py")]:
        ours = {name for name in imported(file) if name.startswith(("people", "sync", "gisttracker"))}
        assert ours <= {"gisttracker.common.database", "gisttracker.common.database.cascade_foreign_keys"}, file


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    output = io.StringIO()

    call_command("makemigrations", "--check", "--dry-run", stdout=output)

    assert output.getvalue() == "No changes detected\n"


def test_every_setting_is_in_the_example_file_with_its_default() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()

    shown = {
        variable.name: f"{'#' if variable.default else ''}{variable.name}={variable.default}" for variable in VARIABLES
    }
    assert [name for name, line in shown.items() if line not in lines] == []
