"""The version is written in gisttracker/__init__.py and nowhere else."""

import re
import subprocess

import yaml

from gisttracker import __version__
from tests.conftest import ROOT

FOLDERS = ["gisttracker", "people", "sync", "tests", "deploy", ".github"]
SKIPPED = {"package.json", "package-lock.json", ".terraform.lock.hcl"}  # They have versions of other software.
# The value of something: a sentence like "renamed before 1.0.0" stays true in later releases.
VALUE = re.compile(rf"""["'=:]\s*v?{re.escape(__version__)}\b""")


def test_no_other_file_has_the_version_as_a_value() -> None:
    files = [*ROOT.iterdir(), *(file for folder in FOLDERS for file in (ROOT / folder).rglob("*"))]
    texts = {file: file.read_text(errors="replace") for file in files if file.is_file() and file.name not in SKIPPED}

    found = {
        str(file.relative_to(ROOT)) for file, text in texts.items() if file.suffix != ".pyc" and VALUE.search(text)
    }

    # `make openapi` writes the second one, and a test compares it.
    assert found == {"gisttracker/__init__.py", "tests/openapi.yaml"}


def test_the_version_is_a_release() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


def test_the_pipeline_labels_the_image_with_the_version() -> None:
    workflow = (ROOT / ".github/workflows/cd.yml").read_text()
    (command,) = re.findall(r'--build-arg VERSION="\$\((.*)\)"', workflow)

    printed = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert printed == f"{__version__}\n"
    assert 'org.opencontainers.image.version="${VERSION}"' in (ROOT / "Dockerfile").read_text()


def test_the_description_has_the_version() -> None:
    assert yaml.safe_load((ROOT / "tests/openapi.yaml").read_text())["info"]["version"] == __version__
