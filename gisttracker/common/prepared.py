"""Query sets whose SQL is built once.

Django builds the SQL of a query set anew for each request, which takes longer than the database takes to execute it.
Used for the few statements that almost every request of the API sends.
"""

from collections.abc import Callable
from functools import cached_property
from itertools import chain
from typing import Any

from django.db import connection
from django.db.models import Expression, QuerySet

Row = dict[str, Any]


class Parameter(Expression):
    """Stands for a value that is given to each execution."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self]


class PreparedQuery:
    """Executes a `values()` query set with other values of its parameters. One statement."""

    def __init__(self, build: Callable[[], QuerySet[Any, Row]]) -> None:
        self._build = build

    def __call__(self, **values: Any) -> list[Row]:
        sql, parameters, names, convert = self._prepared
        with connection.cursor() as cursor:
            cursor.execute(sql, [values[item.name] if isinstance(item, Parameter) else item for item in parameters])
            return [dict(zip(names, row, strict=True)) for row in convert(cursor.fetchall())]

    @cached_property
    def _prepared(self) -> tuple[str, tuple[Any, ...], list[str], Callable[[Any], Any]]:
        compiler = self._build().query.get_compiler(connection=connection)
        sql, parameters = compiler.as_sql()
        columns = [column for column, _, _ in compiler.select]
        converters = compiler.get_converters(columns)
        query = compiler.query
        names = [*query.extra_select, *query.values_select, *query.annotation_select]

        def convert(rows: Any) -> Any:
            return compiler.apply_converters(chain(rows), converters) if converters else rows

        return sql, tuple(parameters), names, convert
