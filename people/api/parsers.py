"""Parsers of request bodies."""

from typing import Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, JSONParser

from gisttracker.common.error_codes import CodedError
from gisttracker.common.strict_json import load_json
from people.bulk import read_csv


class JsonParser(JSONParser):
    """JSON in UTF-8, as the standard has it."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            return load_json(stream.read())
        except ValueError as error:
            raise ParseError(f"JSON parse error - {error}") from None


class CsvParser(BaseParser):
    """`text/csv` with people. The result is a list of rows for people.bulk.track."""

    media_type = "text/csv"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            return read_csv(stream.read())
        except CodedError as error:
            raise ParseError(str(error), error.code) from None
