"""Rules of the house that nothing else would notice."""

import ast
import io
import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from django.core.management import call_command

from gisttracker.config.environment import VARIABLES
from tests.conftest import ROOT

PACKAGES = ["gisttracker", "people", "sync"]
GROUND = {"gisttracker/common", "gisttracker/config"}
DOMAIN = GROUND | {"people", "people/models"}
JOB = DOMAIN | {"sync", "sync/clients"}
# Each folder, with the folders that its modules may import. A folder that is not here belongs to the one that it is in.
MAY_IMPORT = {
    "gisttracker/common": set(),
    "gisttracker/config": {"gisttracker/common"},
    "gisttracker/management": GROUND,
    "gisttracker/web": GROUND,
    "gisttracker/desk": GROUND | {"gisttracker/web"},
    "gisttracker": GROUND | {"gisttracker/desk"},
    "people/models": GROUND,
    "people": GROUND | {"people/models"},
    "people/api": DOMAIN | {"gisttracker/web"},
    "people/admin": DOMAIN,
    "people/management": DOMAIN | {"gisttracker/management"},
    "sync/clients": set(),
    "sync": DOMAIN | {"sync/clients"},
    "sync/crm": JOB,
    "sync/poll": JOB,
    "sync/push": JOB | {"sync/crm"},
    "sync/health": JOB | {"sync/poll"},
    "sync/run": JOB | {"sync/poll", "sync/push", "sync/crm", "sync/health"},
    "sync/doctor": JOB | {"sync/crm", "sync/health", "sync/run"},
    "sync/api": DOMAIN | {"people/api", "sync", "sync/health"},
    "sync/admin": DOMAIN | {"people/admin", "sync", "sync/health"},
    "sync/templatetags": DOMAIN | {"people/admin", "sync", "sync/health", "sync/admin"},
    "sync/management": JOB
    | {"gisttracker/management", "sync/run", "sync/push", "sync/crm", "sync/health", "sync/api", "sync/doctor"},
}
# The only names of people/ and sync/ in gisttracker/, all in settings.py: libraries have no other place for them.
WIRING = {
    *["people", "sync"],  # Django's INSTALLED_APPS; the tags of the OpenAPI document have the same names
    "people.api.authentication.ApiKeyAuthentication",  # Django REST Framework's defaults, for library views, too
    "people.api.authentication.StaffSessionAuthentication",
    "people.api.permissions.HasApiAccess",
    "people.api.throttling.MinuteThrottle",
    "people.api.parsers.JsonParser",
    "people.api.renderers.JsonRenderer",
    "people.api.errors.ApiExceptionHandler",  # drf-standardized-errors
    "people.api.errors.ApiExceptionFormatter",
    "people.api.openapi.normalize_paths",  # drf-spectacular's hooks
    "people.api.openapi.complete",
}


def files_of(package: str) -> list[Path]:
    files = (ROOT / package).rglob("*.py")
    return [file for file in files if "migrations" not in file.parts]


def name_of(file: Path) -> str:
    """As it is imported. A package is a module, too."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(file): file for package in PACKAGES for file in files_of(package)}


def imported(file: Path) -> set[str]:
    """The modules, and members of modules, that a file imports, anywhere in it.

    An import of modules from their package is none of the package.
    """
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{file} has a relative import"
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= members if members <= {*MODULES} else {node.module} | members
    return names


def folder_of(module: str) -> str:
    folders = [str(folder) for folder in MODULES[module].relative_to(ROOT).parents]
    return next(folder for folder in folders if folder in MAY_IMPORT)


def packages_imported(file: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(file)}


def find_circle(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return []


def test_the_folder_alone_says_who_may_import_whom() -> None:
    arrows = {
        (folder_of(module), folder_of(other)): f"{module} imports {other}"
        for module, file in MODULES.items()
        for other in imported(file) & {*MODULES} - {"gisttracker"}  # it has the version, which all packages use
    }
    allowed = {(folder, other) for folder, others in MAY_IMPORT.items() for other in {folder, *others}}

    assert {text for arrow, text in arrows.items() if arrow not in allowed} == set()


def test_no_folders_and_no_modules_import_each_other_in_a_circle() -> None:
    assert find_circle(MAY_IMPORT) == []
    assert find_circle({module: imported(file) & {*MODULES} for module, file in MODULES.items()}) == []


def test_gisttracker_names_the_apps_only_where_a_library_needs_it() -> None:
    constants = {
        node.value
        for file in files_of("gisttracker")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    pages = {file: file.read_text() for file in (ROOT / "gisttracker").rglob("*.html")}

    assert {text for text in constants if re.fullmatch(r"(people|sync)(\.\w+)*", text)} == WIRING
    assert pages
    assert [file for file, text in pages.items() if re.search(r"\b(people|sync)[._:/]", text)] == []


def test_clients_are_free_of_django() -> None:
    for file in files_of("sync/clients"):
        assert not packages_imported(file) & {"django", "rest_framework"}, file


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
