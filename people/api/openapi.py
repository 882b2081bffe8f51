"""What the OpenAPI description has beyond what drf-spectacular finds: its hooks, and the shared parts."""

from typing import Any

from gisttracker.common.numbers import MAX_BIGINT
from people.api.schema_errors import (
    OF_ALL_OPERATIONS,
    OF_OPERATIONS_WITH_A_BODY,
    SHARED_NAMES,
    error_schemas,
    ref,
    shared_responses,
)

VISIT = "/api/v1/people/{username}"  # Its responses are not stored, so they have no ETag.
PAGE_EXAMPLE = "x-page-example"  # a row for the example of a page; removed from the document
HEADERS = {
    "X-Request-ID": ("string", "yours if you sent one; the log of the service has it, too"),
    "RateLimit": ("string", 'what is left of your limit, and the seconds until it resets: `"default";r=599;t=42`'),
    "RateLimit-Policy": ("string", 'your limit and its seconds: `"default";q=600;w=60`'),
    "Cache-Control": ("string", "whether the response may be stored"),
    "ETag": ("string", "the version of the response, or of the person"),
    "Link": ("string", "the URLs of the next and the previous page"),
    "Location": ("string", "the URL of the person"),
    "Retry-After": ("integer", "the seconds to wait"),
    "WWW-Authenticate": ("string", "the scheme of the API keys"),
    "Content-Disposition": ("string", "the name of the file"),
}
# people.bulk reads row by row, so that an invalid row does not reject the others. A row in CSV has the same fields.
BULK_ROW: dict[str, Any] = {
    "type": "object",
    "required": ["username"],
    "additionalProperties": False,
    "properties": {
        "username": {"type": "string", "minLength": 1, "description": "a login, @login or profile URL"},
        "pipedrive_id": {"type": ["integer", "null"], "minimum": 1, "maximum": MAX_BIGINT},
        "backfill": {"type": ["string", "null"], "description": "as that of one person"},
    },
}
OF_ALL_RESPONSES = ("X-Request-ID", "RateLimit", "RateLimit-Policy", "Cache-Control")
OF_ERRORS = {401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}


def normalize_paths(endpoints: list[Any]) -> list[Any]:
    """Remove the optional trailing slash, and the operations of /people/bulk that are about the login `bulk`."""
    normalized = []
    for path, pattern, method, view in endpoints:
        if "<username>bulk" not in pattern:
            normalized.append((path.rstrip("/"), pattern, method, view))
        elif method == "POST":
            normalized.append(("/api/v1/people/bulk", pattern, method, view))
    return normalized


def complete(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add the shared errors and headers, and the examples of pages. A hook of drf-spectacular."""
    components = result["components"]
    components["schemas"] = dict(sorted({**components["schemas"], **error_schemas(), "BulkRow": BULK_ROW}.items()))
    not_modified = {"description": "The response has not changed since the `ETag` that you sent as If-None-Match."}
    components["responses"] = {**shared_responses(), "NotModified": not_modified}
    components["headers"] = {name: _header(*HEADERS[name]) for name in HEADERS}
    _add_headers(components["responses"]["NotModified"], ["ETag"])
    for code, name in SHARED_NAMES.items():
        _add_headers(components["responses"][name], OF_ERRORS.get(code, []))
    for path, methods in result["paths"].items():
        for method, operation in methods.items():
            _complete_operation(operation, components["schemas"], is_get=method == "get" and path != VISIT)
    for name, schema in components["schemas"].items():
        _simplify(schema)
        if name.endswith("Request") and schema.get("type") == "object":
            schema["additionalProperties"] = False  # An unknown field is an error.
    return result


def _simplify(schema: dict[str, Any]) -> None:
    """No number of this API is negative.

    Bodies of requests and of responses have models of their own, so `readOnly` adds nothing. The examples of the
    responses have all fields, and `example` of a field is deprecated.
    """
    for field in schema.get("properties", {}).values():
        field.pop("readOnly", None)
        field.pop("example", None)
        if len(field.get("allOf", [])) == 1:
            field.update(field.pop("allOf")[0])
        kinds = field.get("type", [])  # a name, or a list of names
        if "integer" in kinds or "number" in kinds:
            field.setdefault("minimum", 0)


def _complete_operation(operation: dict[str, Any], schemas: dict[str, Any], *, is_get: bool) -> None:
    for parameter in operation.get("parameters", []):
        if "description" in parameter:
            parameter["description"] = parameter["description"].strip()
    responses = operation["responses"]
    row = operation.pop(PAGE_EXAMPLE, None)
    for status, response in responses.items():
        if status >= "400":
            response["content"].pop("text/csv", None)  # Errors are always JSON.
        _add_headers(response, _headers_of(status, response, has_etag=is_get, is_page=bool(row)))
        if row and status == "200":
            _add_page_example(response, row, schemas)
    if is_get:
        responses["304"] = ref("responses", "NotModified")
    statuses = OF_ALL_OPERATIONS + (OF_OPERATIONS_WITH_A_BODY if "requestBody" in operation else ())
    for code in statuses:
        responses[str(code)] = ref("responses", SHARED_NAMES[code])
    operation["responses"] = dict(sorted(responses.items()))


def _headers_of(status: str, response: dict[str, Any], *, has_etag: bool, is_page: bool) -> list[str]:
    content = response.get("content", {})
    is_person = content.get("application/json", {}).get("schema") == ref("schemas", "Person")
    conditions = {
        "ETag": is_person or (has_etag and status == "200"),
        "Link": is_page and status == "200",
        "Location": status == "201",
        "Content-Disposition": "text/csv" in content,
    }
    return [name for name, applies in conditions.items() if applies]


def _add_headers(response: dict[str, Any], names: list[str]) -> None:
    response["headers"] = {name: ref("headers", name) for name in (*OF_ALL_RESPONSES, *names)}


def _header(kind: str, description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind, **({"minimum": 0} if kind == "integer" else {})}}


def _add_page_example(response: dict[str, Any], row: Any, schemas: dict[str, Any]) -> None:
    content = response["content"]["application/json"]
    properties = schemas[content["schema"]["$ref"].rsplit("/")[-1]]["properties"]
    known = {"count": 1, "results": [row]}
    content["examples"] = {"page": {"value": {name: known.get(name) for name in properties}}}
