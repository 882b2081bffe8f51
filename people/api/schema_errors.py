"""The errors in the OpenAPI description: one model for each type, and the responses that all operations share."""

from itertools import groupby
from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse

from gisttracker.common.error_codes import ROW_CODES, ErrorCode, ErrorType
from people.api.schema_examples import ERROR_DETAILS, PERSON_URL

NAMES = {
    ErrorType.VALIDATION: "ValidationError",
    ErrorType.CLIENT: "ClientError",
    ErrorType.SERVER: "ServerError",
}
BODIES = {error_type: f"{name}Response" for error_type, name in NAMES.items()}
DESCRIPTIONS = {
    400: "The request is not valid.",
    401: "The API key is missing, unknown, revoked or expired.",
    403: "The key or the account may not do this.",
    404: "It does not exist.",
    406: "The response has no format that `Accept` allows.",
    409: "The state of the resource does not allow this.",
    412: "The resource was changed since you read its `etag`.",
    408: "The body did not arrive in time.",
    413: "The body has more than 5 MB.",
    415: "The body has another Content-Type.",
    429: "Too many requests.",
    500: "A fault of the service.",
    503: "The service or its database is not available at the moment.",
}
OF_ALL_OPERATIONS = (401, 403, 406, 429, 500, 503)
OF_OPERATIONS_WITH_A_BODY = (408, 413, 415)
SHARED_NAMES = {
    401: "Unauthorized",
    403: "Forbidden",
    406: "NotAcceptable",
    408: "RequestTimeout",
    413: "ContentTooLarge",
    415: "UnsupportedMediaType",
    429: "TooManyRequests",
    500: "InternalServerError",
    503: "ServiceUnavailable",
}


def errors(*codes: ErrorCode) -> dict[int, OpenApiResponse]:
    """Return the responses with these codes, by status, each code with an example."""
    responses = {}
    for status, group in groupby(sorted(codes, key=lambda code: code.status), key=lambda code: code.status):
        examples = [OpenApiExample(code, value=example_of(code)) for code in group]
        responses[status] = OpenApiResponse(body_of(status), description=DESCRIPTIONS[status], examples=examples)
    return responses


def example_of(code: ErrorCode) -> dict[str, Any]:
    detail, attr = ERROR_DETAILS[code]
    error = {"code": code.value, "detail": detail, "attr": attr}
    if code == ErrorCode.ALREADY_TRACKED:
        error["person_url"] = PERSON_URL
    body: dict[str, Any] = {"type": code.type.value, "errors": [error]}
    return {**body, "request_id": "5c1bd0a25b2f4e0f9d0c1e6f2a7b8c9d"} if code.status >= 500 else body


def body_of(status: int) -> dict[str, Any]:
    """Return the schema of the errors with this status."""
    if status == 400:
        return ref("schemas", "BadRequest")
    return ref("schemas", BODIES[ErrorType.SERVER if status >= 500 else ErrorType.CLIENT])


def ref(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def shared_responses() -> dict[str, Any]:
    return {name: _shared_response(status) for status, name in SHARED_NAMES.items()}


def _shared_response(status: int) -> dict[str, Any]:
    examples = {code.value: {"value": example_of(code)} for code in ErrorCode if code.status == status}
    content = {"application/json": {"schema": body_of(status), "examples": examples}}
    return {"description": DESCRIPTIONS[status], "content": content}


def error_schemas() -> dict[str, Any]:
    bodies = [ref("schemas", BODIES[error_type]) for error_type in (ErrorType.VALIDATION, ErrorType.CLIENT)]
    mapping = {error_type.value: body["$ref"] for error_type, body in zip(NAMES, bodies, strict=False)}
    bad_request = {"oneOf": bodies, "discriminator": {"propertyName": "type", "mapping": mapping}}
    schemas: dict[str, Any] = {"BadRequest": bad_request, "RowCode": _enum(ROW_CODES)}
    for error_type, name in NAMES.items():
        schemas[f"{name}Code"] = _enum([code for code in ErrorCode if code.type == error_type])
        schemas[name] = _error(error_type)
        schemas[BODIES[error_type]] = _body(error_type)
    return schemas


def _enum(codes: Any) -> dict[str, Any]:
    lines = [f"* `{code}`: {code.meaning}" for code in codes]
    return {"type": "string", "enum": [code.value for code in codes], "description": "\n".join(lines)}


def _error(error_type: ErrorType) -> dict[str, Any]:
    # Always nullable, also where it is never set: some clients drop a property that can only be null.
    attr = {"type": ["string", "null"], "description": "the field or parameter; null: the request as a whole"}
    properties: dict[str, Any] = {
        "code": ref("schemas", f"{NAMES[error_type]}Code"),
        "detail": {"type": "string", "description": "the error in words, which may change"},
        "attr": attr,
    }
    if error_type == ErrorType.VALIDATION:
        description = "only with `already_tracked`: the address of the person"
        properties["person_url"] = {"type": "string", "format": "uri", "description": description}
    return {"type": "object", "required": ["code", "detail", "attr"], "properties": properties}


def _body(error_type: ErrorType) -> dict[str, Any]:
    errors_of_it = {"type": "array", "minItems": 1, "items": ref("schemas", NAMES[error_type])}
    properties: dict[str, Any] = {"type": {"type": "string", "const": error_type.value}, "errors": errors_of_it}
    if error_type == ErrorType.SERVER:
        properties["request_id"] = {"type": "string", "description": "by which the log has the cause"}
    return {"type": "object", "required": list(properties), "properties": properties}
