"""Pages of a list."""

from rest_framework.pagination import PageNumberPagination


class Pages(PageNumberPagination):
    """`page` and `page_size`, 100 by default and 500 at most."""

    page_size = 100
    max_page_size = 500
    page_size_query_param = "page_size"
