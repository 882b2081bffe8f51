"""What the OpenAPI document promises: true examples, typed errors, and no operation without a checked response.

And its Swagger UI.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient

from gisttracker.common.error_codes import ROW_CODES, ErrorCode, ErrorType
from people.api.schema_errors import BODIES
from tests.described import (
    ROOT,
    Conformance,
    DescribedClient,
    Operation,
    check_schema,
    list_operations,
    load_document,
    resolve,
)
from tests.factories import create_gist, create_key, create_person, create_run

FOREIGN_WORDS = ("api.example.org", "/accounts", "nullable", "readOnly", "additionalProp1", "string($")
PATHS = {"username": "ada", "github_id": "2decf6c462d9b4418f2d"}


def walk(part: Any) -> Iterator[dict[str, Any]]:
    """All objects of a part of the document."""
    if isinstance(part, dict):
        yield part
    for child in part.values() if isinstance(part, dict) else part if isinstance(part, list) else []:
        yield from walk(child)


def test_each_code_is_in_an_enumeration_of_the_document() -> None:
    schemas = load_document()["components"]["schemas"]

    for error_type, name in (("validation_error", "ValidationErrorCode"), ("client_error", "ClientErrorCode")):
        assert schemas[name]["enum"] == [code for code in ErrorCode if code.type == error_type]
    assert schemas["ServerErrorCode"]["enum"] == [code for code in ErrorCode if code.type == ErrorType.SERVER]
    assert schemas["RowCode"]["enum"] == list(ROW_CODES)


def test_errors_have_a_handful_of_models() -> None:
    models = set()
    for operation in list_operations():
        for status, response in operation.description["responses"].items():
            if status >= "400":
                (content,) = resolve(response)["content"].values()
                models.add(content["schema"]["$ref"].rsplit("/")[-1])

    assert models == {"BadRequest", BODIES[ErrorType.CLIENT], BODIES[ErrorType.SERVER]}


def test_the_document_has_no_text_of_a_library_and_no_word_of_openapi_3_0() -> None:
    text = (ROOT / "tests/openapi.yaml").read_text()

    assert [word for word in FOREIGN_WORDS if word in text] == []


def test_each_number_has_a_minimum() -> None:
    numbers = [part for part in walk(load_document()) if part.get("type") in ("integer", "number")]

    assert len(numbers) > 50
    assert [number for number in numbers if "minimum" not in number] == []


@pytest.mark.parametrize("operation", list_operations(), ids=lambda operation: operation.name)
def test_each_operation_has_a_tag_a_description_and_shared_errors(operation: Operation) -> None:
    described = operation.description

    assert set(described["tags"]) <= {tag["name"] for tag in load_document()["tags"]}
    assert described["description"]
    assert {"400", "401", "403", "406", "429", "500", "503"} <= set(described["responses"])
    assert "requestBody" not in described or "application/json" in described["requestBody"]["content"]


# --- examples ---
def request_examples() -> Iterator[Any]:
    for operation in list_operations():
        content = operation.description.get("requestBody", {}).get("content", {})
        for media_type, media in content.items():
            for name, example in media["examples"].items():
                yield pytest.param(operation, media_type, example["value"], id=f"{operation.name}-{name}")


@pytest.mark.django_db
@pytest.mark.parametrize(("operation", "media_type", "value"), list(request_examples()))
def test_an_example_is_accepted_when_it_is_sent(
    operation: Operation, media_type: str, value: Any, api: APIClient
) -> None:
    if "{username}" in operation.path:
        create_person("ada")
    create_gist(create_person("dora"))  # The feed has a cursor to acknowledge.
    options: dict[str, Any] = {"format": "json"} if media_type == "application/json" else {"content_type": media_type}

    response = getattr(api, operation.method.lower())(operation.path.format(**PATHS), value, **options)

    assert response.status_code in (200, 201), response.content
    assert response.json().get("rejected", 0) == 0


@pytest.mark.parametrize("operation", list_operations(), ids=lambda operation: operation.name)
def test_the_examples_of_responses_match_their_models(operation: Operation) -> None:
    for response in operation.description["responses"].values():
        content = resolve(response).get("content", {}).get("application/json", {})
        for example in content.get("examples", {}).values():
            check_schema(content["schema"], example["value"])
        assert not content or content["examples"]


# --- responses ---
GIST = "/api/v1/people/ada/gists/2decf6c462d9b4418f2d"
LIFE_CYCLE: list[tuple[str, str, Any, int]] = [
    ("POST", "/api/v1/people", {"username": "ben"}, 201),
    ("POST", "/api/v1/people", {"username": "ben"}, 400),
    ("POST", "/api/v1/people/bulk", ["ben", {"username": "cleo"}, "a b", 7], 200),
    ("POST", "/api/v1/people/bulk", {}, 400),
    ("GET", "/api/v1/people", None, 200),
    ("GET", "/api/v1/people?after=0", None, 200),
    ("GET", "/api/v1/people?format=csv", None, 200),
    ("GET", "/api/v1/people?state=odd", None, 400),
    ("GET", "/api/v1/people?page=9", None, 404),
    ("GET", "/api/v1/people/ada", None, 200),
    ("GET", "/api/v1/people/ada?getAllGists=true&page_size=1", None, 200),
    ("GET", "/api/v1/people/bob", None, 404),
    ("PATCH", "/api/v1/people/ada", {"backfill": "all"}, 200),
    ("PATCH", "/api/v1/people/ada", {}, 400),
    ("POST", "/api/v1/people/ada/sync", None, 202),
    ("POST", "/api/v1/people/bob/sync", None, 404),
    ("GET", "/api/v1/people/ada/gists", None, 200),
    ("GET", f"{GIST}/attempts", None, 200),
    ("POST", f"{GIST}/push", None, 202),
    ("POST", f"{GIST}/push", None, 409),
    ("GET", "/api/v1/gists", None, 200),
    ("POST", "/api/v1/feed/ack", {"cursor": 0}, 200),
    ("POST", "/api/v1/feed/ack", {"cursor": 10**9}, 400),
    ("GET", "/api/v1/me", None, 200),
    ("GET", "/api/v1/status", None, 200),
    ("GET", "/api/v1/sync-runs", None, 200),
    ("GET", "/api/v1/sync-runs/RUN", None, 200),
    ("GET", "/api/v1/sync-runs/0", None, 404),
    ("DELETE", "/api/v1/people/ada?x=1", None, 400),
    ("DELETE", "/api/v1/people/ada", None, 204),
]


@pytest.mark.django_db
def test_each_operation_has_a_response_that_matches_the_document(conformance: Conformance, settings: Settings) -> None:
    api = DescribedClient(conformance)  # on each database
    settings.API_AUTH, settings.API_REQUESTS_PER_MINUTE = "key", 1000
    create_gist(create_person("ada"), github_id="2decf6c462d9b4418f2d", push_state="rejected", push_error="no")
    run = create_run(outcome="succeeded")
    key = create_key()

    for method, path, body, status in LIFE_CYCLE:
        address = path.replace("RUN", str(run.pk))
        options = {"format": "json"} if body is not None else {}
        refused = getattr(api, method.lower())(address, body, **options)
        response = getattr(api, method.lower())(address, body, HTTP_AUTHORIZATION=f"Bearer {key}", **options)
        assert (refused.status_code, response.status_code) == (401, status), (method, path, response.content[:300])

    succeeded = {name for name, status in conformance.seen if status < 300}
    assert succeeded == {operation.name for operation in list_operations()}


# --- the reviewed document, and its Swagger UI ---
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


@pytest.mark.slow("validates the whole document")
def test_the_description_is_valid_openapi_3_1(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn")

    assert capsys.readouterr().out.startswith("openapi: 3.1")
