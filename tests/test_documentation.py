"""The OpenAPI description and its Swagger UI."""

import re
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.test import Client

from tests.conftest import ROOT


@pytest.mark.parametrize("address", ["/documentation/", "/documentation/index.html"])
def test_swagger_ui_loads_only_files_of_this_service(client: Client, address: str) -> None:
    page = client.get(address).content.decode()

    files = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    assert files
    assert all(finders.find(file.removeprefix("/static/")) for file in files)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)


def test_the_root_redirects_to_the_documentation(client: Client) -> None:
    assert client.get("/")["Location"] == "/documentation/"


def test_the_description_equals_the_reviewed_one(tmp_path: Path) -> None:
    call_command("spectacular", "--file", str(tmp_path / "openapi.yaml"))

    assert (tmp_path / "openapi.yaml").read_text() == (ROOT / "tests/openapi.yaml").read_text(), "run `make openapi`"


def test_the_description_is_valid_openapi_3_1(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn")

    assert capsys.readouterr().out.startswith("openapi: 3.1")
