"""Responses compared with the OpenAPI document in tests/openapi.yaml."""

import copy
import functools
import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import yaml
from rest_framework.test import APIClient

ROOT = Path(__file__).parent.parent
MAX_CHECKED_BYTES = 500_000  # The check takes a second for each megabyte.
FORMATS = jsonschema.FormatChecker(formats=())


@FORMATS.checks("date-time", raises=ValueError)
def is_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@FORMATS.checks("uri")
def is_url(value: object) -> bool:
    return not isinstance(value, str) or bool(urlsplit(value).netloc)


@dataclass(frozen=True)
class Operation:
    method: str
    path: str  # a template
    description: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.description["operationId"])

    def matches(self, method: str, path: str) -> bool:
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(self.path))
        return method == self.method and re.fullmatch(pattern, path) is not None


@functools.cache
def load_document() -> dict[str, Any]:
    text = (ROOT / "tests/openapi.yaml").read_text()
    document: dict[str, Any] = yaml.load(text, Loader=yaml.CSafeLoader)  # ten times as fast as the one in Python
    return document


@functools.cache
def list_operations() -> tuple[Operation, ...]:
    """All operations; those without parameters in their path come first, because they are the more exact match."""
    found = [
        Operation(method.upper(), path, description)
        for path, methods in load_document()["paths"].items()
        for method, description in methods.items()
    ]
    return tuple(sorted(found, key=lambda operation: operation.path.count("{")))


@functools.cache
def strict_components() -> dict[str, Any]:
    """The components, of which no model may have a property that is not described."""
    components: dict[str, Any] = copy.deepcopy(load_document()["components"])
    for schema in components["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return components


def resolve(part: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference to a component."""
    if "$ref" not in part:
        return part
    _, _, kind, name = part["$ref"].split("/")
    found: dict[str, Any] = load_document()["components"][kind][name]
    return found


def check_schema(schema: dict[str, Any], value: Any) -> None:
    document = {**schema, "components": strict_components()}
    validator = jsonschema.Draft202012Validator(document, format_checker=FORMATS)
    errors = [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]
    assert errors == []


@dataclass
class Conformance:
    """Checks responses, and knows which operations have had one with which status."""

    seen: set[tuple[str, int]] = field(default_factory=set)

    def check(self, method: str, path: str, response: Any) -> None:
        """Addresses and methods that are not described have the errors of all addresses, which are not checked here."""
        wanted = "GET" if method == "HEAD" else method
        operation = next((o for o in list_operations() if o.matches(wanted, path.rstrip("/"))), None)
        if operation is None:
            return
        responses = operation.description["responses"]
        assert str(response.status_code) in responses, f"{operation.name}: {response.status_code} is not described"
        described = resolve(responses[str(response.status_code)])
        self._check_headers(operation, described, response)
        if method != "HEAD":
            self._check_body(operation, described, response)
        self.seen.add((operation.name, response.status_code))

    def _check_headers(self, operation: Operation, described: dict[str, Any], response: Any) -> None:
        known = load_document()["components"]["headers"]
        given = {name for name in known if response.has_header(name)}
        missing = given - set(described.get("headers", {}))
        assert not missing, f"{operation.name}: the headers {missing} of {response.status_code} are not described"

    def _check_body(self, operation: Operation, described: dict[str, Any], response: Any) -> None:
        content = described.get("content", {})
        if not content:
            assert not response.content, f"{operation.name}: the body of {response.status_code} is not described"
            return
        media_type = response["Content-Type"].split(";")[0]
        assert media_type in content, f"{operation.name}: {media_type} is not described"
        if media_type == "application/json" and len(response.content) <= MAX_CHECKED_BYTES:
            check_schema(content[media_type]["schema"], response.json())


class DescribedClient(APIClient):
    """Checks each response of the API."""

    def __init__(self, conformance: Conformance, **options: Any) -> None:
        super().__init__(**options)
        self.conformance = conformance

    def request(self, **kwargs: Any) -> Any:
        response = super().request(**kwargs)
        self.conformance.check(kwargs["REQUEST_METHOD"], kwargs["PATH_INFO"], response)
        return response
