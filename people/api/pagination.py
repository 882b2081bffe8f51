"""Pagination of the lists, by page number or by a cursor."""

import hashlib
from typing import Any, cast

from django.core.cache import cache
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from gisttracker.common.error_codes import ErrorCode
from gisttracker.common.numbers import MAX_BIGINT
from people.api.validation import parse_number_parameter

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


class Pagination(PageNumberPagination):
    """Pages by number, or by a cursor.

    `page` and `page_size` (default 100, maximum 500); the pages are also linked in the Link header. With `after`, the
    rows after this id, oldest first: rows that are deleted meanwhile make a client skip none, and nothing is counted.
    """

    page_size = 100
    max_page_size = 500
    django_paginator_class = CappedCountPaginator
    invalid_page_message = "The list has no page {page_number}. Begin with page 1, and follow `next`."

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        self.page: Any = None
        self.url, self.cursor, self.has_more = request.build_absolute_uri(), None, False
        if "after" not in request.query_params:
            return self._paginate_by_number(queryset, request, view)
        for name in ("page", "ordering"):
            if name in request.query_params:
                detail = "Cannot be combined with `after`, which orders by id."
                raise ValidationError({name: [detail]}, ErrorCode.CONFLICTING_PARAMETERS)
        after, size = self._get_after(request), self.get_page_size(request)
        rows = list(queryset.order_by("pk").filter(pk__gt=after)[: size + 1])
        self.has_more, rows = len(rows) > size, rows[:size]
        self.cursor = _get_id(rows[-1]) if rows else after
        return rows

    def _paginate_by_number(self, queryset: Any, request: Request, view: Any) -> list[Any] | None:
        try:
            return super().paginate_queryset(queryset, request, view)
        except NotFound as error:
            raise NotFound(str(error.detail), ErrorCode.PAGE_NOT_FOUND) from None

    def check_parameters(self, request: Request) -> None:
        """Raise ValidationError for invalid parameters, also where the pages that they select are not used."""
        self.get_page_size(request)
        self.get_page_number(request, None)
        self._get_after(request)

    def _get_after(self, request: Request) -> int:
        return parse_number_parameter(request, "after", 0, MAX_BIGINT, default=0)

    def get_page_size(self, request: Request) -> int:
        return parse_number_parameter(request, "page_size", 1, self.max_page_size, default=self.page_size or 1)

    def get_page_number(self, request: Request, paginator: Any) -> int:
        return parse_number_parameter(request, "page", 1, MAX_BIGINT, default=1)

    def get_next_link(self) -> str | None:
        if self.cursor is None:
            return super().get_next_link()
        return replace_query_param(self.url, "after", self.cursor) if self.has_more else None

    def get_paginated_response(self, data: Any) -> Response:
        count, previous = None, None
        if self.page is not None:
            count, previous = self.page.paginator.count, self.get_previous_link()
        next_url = self.get_next_link()
        links = [f'<{url}>; rel="{name}"' for name, url in (("next", next_url), ("prev", previous)) if url]
        headers = {"Link": ", ".join(links)} if links else {}
        body = {"count": count, "next": next_url, "previous": previous, "cursor": self.cursor, "results": data}
        return Response(body, headers=headers)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        after = "return the rows after this id, oldest first; 0 to begin; cannot be combined with page and ordering"
        parameters: dict[str, dict[str, Any]] = {
            "page": {"minimum": 1, "description": "the number of the page"},
            "page_size": {
                "minimum": 1,
                "maximum": self.max_page_size,
                "default": 100,
                "description": "maximum number of rows",
            },
            "after": {"minimum": 0, "description": after},
        }
        return [
            {
                "name": name,
                "required": False,
                "in": "query",
                "description": limits.pop("description"),
                "schema": {"type": "integer", **limits},
            }
            for name, limits in parameters.items()
        ]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        url = {"type": ["string", "null"], "format": "uri"}
        number = {"type": ["integer", "null"], "minimum": 0}
        properties = {
            "count": {**number, "example": 1, "description": "all rows; null with `after`"},
            "next": {**url, "example": None, "description": "URL of the next page, if there is one"},
            "previous": {**url, "example": None, "description": "URL of the previous page; null with `after`"},
            "cursor": {**number, "example": None, "description": "with `after`: send it as `after` for the next rows"},
            "results": schema,
        }
        return {"type": "object", "required": list(properties), "properties": properties}


def _get_id(row: Any) -> int:
    """Return the primary key of what a query set returns: a key, a dict or an object."""
    key: int = row if isinstance(row, int) else row["id"] if isinstance(row, dict) else row.pk
    return key
