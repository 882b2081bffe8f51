"""Parsers of request bodies."""

from typing import Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, JSONParser

from people.bulk import read_csv


class JsonParser(JSONParser):
    """JSON. Nesting that exceeds Python's recursion limit is a 400 instead of a 500."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError:
            raise ParseError("JSON parse error - nested too deeply") from None


class CsvParser(BaseParser):
    """`text/csv` with people. The result is a list of rows for people.bulk.track."""

    media_type = "text/csv"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            return read_csv(stream.read())
        except ValueError as error:
            raise ParseError(str(error)) from None
