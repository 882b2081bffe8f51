"""Bodies beside JSON and forms."""

from typing import Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, JSONParser

from people.bulk import read_csv


class JsonParser(JSONParser):
    """JSON, also when it is nested so deeply that Python gives up."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError:
            raise ParseError("JSON parse error - nested too deeply") from None


class CsvParser(BaseParser):
    """`text/csv` with people: see people.bulk."""

    media_type = "text/csv"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            return read_csv(stream.read())
        except ValueError as error:
            raise ParseError(str(error)) from None
