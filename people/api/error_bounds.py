"""The size of an error response: so many errors of so many characters, however large the request was."""

from typing import Any

from rest_framework.exceptions import ErrorDetail
from rest_framework.settings import api_settings

from gisttracker.common.texts import show

MAX_ERRORS = 20
MAX_DETAIL = 500  # characters
MAX_NAME = 100  # characters, of a field
NON_FIELD_ERRORS_KEY: str = api_settings.NON_FIELD_ERRORS_KEY


def bound(detail: Any) -> Any:
    """Return the `detail` of an APIException with a bounded size, and without characters that UTF-8 cannot encode."""
    if isinstance(detail, ErrorDetail):
        return ErrorDetail(show(str(detail), MAX_DETAIL), detail.code)
    if isinstance(detail, list | tuple):
        return [bound(item) for item in detail[:MAX_ERRORS]]
    if isinstance(detail, dict):
        names = list(detail)[: MAX_ERRORS + 1]  # one more: how many others there are; see validation.reject_unknown
        return {show(name, MAX_NAME) if isinstance(name, str) else name: bound(detail[name]) for name in names}
    return detail
