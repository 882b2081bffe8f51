"""PagePagination of a list."""

import hashlib
from typing import Any, cast

from django.core.cache import cache
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request
from rest_framework.response import Response

MANY = 10_000  # rows
COUNTED_WITHIN = 30  # seconds


class CappedCountPaginator(Paginator):
    """Counts exactly up to MANY rows; of more, the count may be as old as COUNTED_WITHIN seconds.

    To count a hundred thousand rows takes as long as the rest of the request.
    """

    @cached_property
    def count(self) -> int:
        rows = cast("QuerySet[Any]", self.object_list).order_by()
        few: int = rows[: MANY + 1].count()
        if few <= MANY:
            return few
        key = f"count:{hashlib.sha256(str(rows.query).encode()).hexdigest()}"
        counted: int | None = cache.get(key)
        if counted is None:
            counted = rows.count()
            cache.set(key, counted, COUNTED_WITHIN)
        return counted


class PagePagination(PageNumberPagination):
    """`page` and `page_size`, 100 by default and 500 at most; a Link header beside the envelope."""

    page_size = 100
    max_page_size = 500
    page_size_query_param = "page_size"
    last_page_strings = ()
    django_paginator_class = CappedCountPaginator

    def get_page_size(self, request: Request) -> int:
        given = request.query_params.get("page_size", str(self.page_size))
        if not (given.isascii() and given.isdigit() and 1 <= int(given[:9]) <= self.max_page_size):
            raise ValidationError({"page_size": [f"Must be a whole number from 1 to {self.max_page_size}."]})
        return int(given)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        numbers = {"page": {"minimum": 1}, "page_size": {"minimum": 1, "maximum": self.max_page_size, "default": 100}}
        return [
            {"name": name, "required": False, "in": "query", "schema": {"type": "integer", **limits}}
            for name, limits in numbers.items()
        ]

    def get_paginated_response(self, data: Any) -> Response:
        answer = super().get_paginated_response(data)
        links = {"next": self.get_next_link(), "prev": self.get_previous_link()}
        told = [f'<{address}>; rel="{name}"' for name, address in links.items() if address]
        if told:
            answer["Link"] = ", ".join(told)
        return answer
