"""The stable codes of the API's errors. Clients act on them; the texts beside them may change.

docs/api.md lists them all, and the OpenAPI document has them as enumerations; tests compare both with this list.
"""

from enum import StrEnum


class ErrorType(StrEnum):
    VALIDATION = "validation_error"  # a field, a parameter, or the request as a whole is not valid
    CLIENT = "client_error"
    SERVER = "server_error"
    ROW = "row"  # not an error of the request, but the reason of one row of a bulk request


class ErrorCode(StrEnum):
    """A code, with the type and the status of the responses that have it, and its meaning."""

    type: ErrorType
    status: int
    meaning: str

    def __new__(cls, value: str, error_type: ErrorType, status: int, meaning: str) -> "ErrorCode":
        code = str.__new__(cls, value)
        code._value_ = value
        code.type, code.status, code.meaning = error_type, status, meaning
        return code

    # --- one field or parameter ---
    REQUIRED = "required", ErrorType.VALIDATION, 400, "a required field is missing"
    NULL = "null", ErrorType.VALIDATION, 400, "the field must not be null"
    BLANK = "blank", ErrorType.VALIDATION, 400, "the field or parameter must not be empty"
    INVALID = "invalid", ErrorType.VALIDATION, 400, "the value has a wrong type or format"
    INVALID_CHARACTERS = "invalid_characters", ErrorType.VALIDATION, 400, "NUL or surrogate characters"
    INVALID_CHOICE = "invalid_choice", ErrorType.VALIDATION, 400, "the value is not one of those allowed"
    MIN_VALUE = "min_value", ErrorType.VALIDATION, 400, "the number is too small"
    MAX_VALUE = "max_value", ErrorType.VALIDATION, 400, "the number is too large"
    UNKNOWN_FIELD = "unknown_field", ErrorType.VALIDATION, 400, "the body has a field that does not exist"
    UNKNOWN_PARAMETER = "unknown_parameter", ErrorType.VALIDATION, 400, "the query has a parameter that does not exist"
    REPEATED_PARAMETER = "repeated_parameter", ErrorType.VALIDATION, 400, "the parameter may be given once"
    CONFLICTING_PARAMETERS = "conflicting_parameters", ErrorType.VALIDATION, 400, "the parameter excludes another one"
    TOO_MANY_TERMS = "too_many_terms", ErrorType.VALIDATION, 400, "`search` has more terms than allowed"
    INVALID_LOGIN = "invalid_login", ErrorType.VALIDATION, 400, "not a GitHub login, @login or profile URL"
    INVALID_BACKFILL = "invalid_backfill", ErrorType.VALIDATION, 400, "not `all`, `none` or a date"
    ALREADY_TRACKED = "already_tracked", ErrorType.VALIDATION, 400, "the person is tracked; see `person_url`"
    SUPPRESSED = "suppressed", ErrorType.VALIDATION, 400, "the owner of the account asked not to be tracked"
    CURSOR_BEYOND_END = "cursor_beyond_end", ErrorType.VALIDATION, 400, "no gist has had this id yet"
    NOTHING_TO_CHANGE = "nothing_to_change", ErrorType.VALIDATION, 400, "the body has no field to change"

    # --- the request ---
    BAD_REQUEST = "bad_request", ErrorType.CLIENT, 400, "the request is malformed"
    INVALID_HOST = "invalid_host", ErrorType.CLIENT, 400, "the Host header is not one of `ALLOWED_HOSTS`"
    PARSE_ERROR = "parse_error", ErrorType.CLIENT, 400, "the body is not JSON, or not a form"
    INVALID_CSV = "invalid_csv", ErrorType.CLIENT, 400, "the CSV cannot be read, or its first line is wrong"
    NOT_A_LIST = "not_a_list", ErrorType.CLIENT, 400, "the body of a bulk request is not a list"
    TOO_MANY_ROWS = "too_many_rows", ErrorType.CLIENT, 400, "a bulk request has more rows than allowed"
    PAUSED = "paused", ErrorType.CLIENT, 400, "the person is paused; set `state` to `active` first"
    NOT_AUTHENTICATED = "not_authenticated", ErrorType.CLIENT, 401, "the request has no API key"
    MALFORMED_AUTHORIZATION = "malformed_authorization", ErrorType.CLIENT, 401, "`Authorization` must have just one key"
    INVALID_KEY = "invalid_key", ErrorType.CLIENT, 401, "the key is unknown or revoked"
    EXPIRED_KEY = "expired_key", ErrorType.CLIENT, 401, "the key has expired"
    READ_ONLY_KEY = "read_only_key", ErrorType.CLIENT, 403, "the key may only read"
    NOT_STAFF = "not_staff", ErrorType.CLIENT, 403, "the account that is logged in is not staff"
    PERMISSION_DENIED = "permission_denied", ErrorType.CLIENT, 403, "the account lacks a permission"
    CSRF_FAILED = "csrf_failed", ErrorType.CLIENT, 403, "a request with a session has no valid CSRF token"
    NOT_FOUND = "not_found", ErrorType.CLIENT, 404, "the address does not exist"
    NOT_TRACKED = "not_tracked", ErrorType.CLIENT, 404, "the person is not tracked"
    GIST_NOT_FOUND = "gist_not_found", ErrorType.CLIENT, 404, "the person has no such gist"
    RUN_NOT_FOUND = "run_not_found", ErrorType.CLIENT, 404, "the run does not exist"
    PAGE_NOT_FOUND = "page_not_found", ErrorType.CLIENT, 404, "the list has no such page"
    PRECONDITION_FAILED = "precondition_failed", ErrorType.CLIENT, 412, "the person has another `etag` than If-Match"
    METHOD_NOT_ALLOWED = "method_not_allowed", ErrorType.CLIENT, 405, "the address has no such method; see `Allow`"
    NOT_ACCEPTABLE = "not_acceptable", ErrorType.CLIENT, 406, "the response has no format that `Accept` allows"
    GIST_NOT_PUSHABLE = "gist_not_pushable", ErrorType.CLIENT, 409, "the gist is neither rejected nor skipped"
    BODY_TOO_SLOW = "body_too_slow", ErrorType.CLIENT, 408, "the body did not arrive within a minute"
    BODY_TOO_LARGE = "body_too_large", ErrorType.CLIENT, 413, "the body has more than 5 MB"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", ErrorType.CLIENT, 415, "the body has another Content-Type"
    THROTTLED = "throttled", ErrorType.CLIENT, 429, "too many requests; see `Retry-After`"

    # --- the service ---
    INTERNAL_ERROR = "internal_error", ErrorType.SERVER, 500, "a fault of the service; the log has `request_id`"
    OVERLOADED = "overloaded", ErrorType.SERVER, 503, "too many large requests at the moment; see `Retry-After`"
    DATABASE_UNAVAILABLE = "database_unavailable", ErrorType.SERVER, 503, "no database at the moment; see `Retry-After`"

    # --- one row of a bulk request; a row may also have some of the codes of a field ---
    DUPLICATE_ROW = "duplicate_row", ErrorType.ROW, 200, "an earlier row has the same person"
    INVALID_ROW = "invalid_row", ErrorType.ROW, 200, "the row is neither a name nor an object with a username"
    INVALID_PIPEDRIVE_ID = "invalid_pipedrive_id", ErrorType.ROW, 200, "`pipedrive_id` is not a whole number from 1"


CODES = {code.value: code for code in ErrorCode}
ROW_CODES = (
    ErrorCode.ALREADY_TRACKED,
    ErrorCode.DUPLICATE_ROW,
    ErrorCode.INVALID_ROW,
    ErrorCode.UNKNOWN_FIELD,
    ErrorCode.INVALID_LOGIN,
    ErrorCode.SUPPRESSED,
    ErrorCode.INVALID_PIPEDRIVE_ID,
    ErrorCode.INVALID_BACKFILL,
    ErrorCode.DATABASE_UNAVAILABLE,  # after other rows were stored
)


class CodedError(ValueError):
    """An invalid value, with the code of the reason."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
