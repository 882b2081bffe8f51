"""Pagination of the lists by page number."""

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

MAX_EXACT_COUNT = 10_000  # rows
MAX_COUNT_AGE_SECONDS = 30


class CappedCountPaginator(Paginator):  # type: ignore[type-arg]  # generic only in the stubs
    """Counts up to MAX_EXACT_COUNT rows exactly. A larger count is cached for MAX_COUNT_AGE_SECONDS.

    Counting a hundred thousand rows takes as long as the rest of the request.
    """

    @cached_property
    def count(self) -> int:
        rows = cast("QuerySet[Any]", self.object_list).order_by()
        capped: int = rows[: MAX_EXACT_COUNT + 1].count()
        if capped <= MAX_EXACT_COUNT:
            return capped
        key = f"count:{hashlib.sha256(str(rows.query).encode()).hexdigest()}"
        count: int | None = cache.get(key)
        if count is None:
            count = rows.count()
            cache.set(key, count, MAX_COUNT_AGE_SECONDS)
        return count


class PagePagination(PageNumberPagination):
    """`page` and `page_size` (default 100, maximum 500). The pages are also linked in the Link header."""

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
        ranges = {"page": {"minimum": 1}, "page_size": {"minimum": 1, "maximum": self.max_page_size, "default": 100}}
        return [
            {"name": name, "required": False, "in": "query", "schema": {"type": "integer", **limits}}
            for name, limits in ranges.items()
        ]

    def get_paginated_response(self, data: Any) -> Response:
        response = super().get_paginated_response(data)
        urls = {"next": self.get_next_link(), "prev": self.get_previous_link()}
        links = [f'<{url}>; rel="{name}"' for name, url in urls.items() if url]
        if links:
            response["Link"] = ", ".join(links)
        return response
