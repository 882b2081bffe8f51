"""`make clean` and `make wipe`."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

DATA = {".secret-key", "gisttracker.sqlite3", "gisttracker.sqlite3-shm", "gisttracker.sqlite3-wal", ".env"}
PRODUCTS = (".venv", ".mypy_cache", "static-collected", "people/__pycache__")


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


@pytest.mark.parametrize("target", ["clean", "wipe"])
def test_make_lists_what_is_deleted(target: str) -> None:
    assert f"make {target}" in subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True).stdout
