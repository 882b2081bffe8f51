"""`manage.py import_people FILE`: track many people, from CSV or a JSON list."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from people.bulk import MAX_ROWS, read_csv, read_json, track


class Command(BaseCommand):
    help = f"Track the people of a file: CSV (username[,pipedrive_id][,backfill]), or JSON if its name ends in .json; \
{MAX_ROWS} at most. Exit code 3 when rows were refused."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="the file, or - for standard input (CSV)")

    def handle(self, *args: Any, **options: Any) -> None:
        file: Path = options["file"]
        try:
            raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
            rows = read_json(raw) if file.suffix.lower() == ".json" else read_csv(raw)
        except OSError as error:
            raise CommandError(f"{file}: {error.strerror}", returncode=2) from None
        except ValueError as error:
            raise CommandError(f"{file}: {error}", returncode=2) from None
        results = track(rows)
        for result in results:
            if result.result == "refused":
                self.stdout.write(f"row {result.row} ({result.username}): {result.reason}")
        counts = Counter(result.result for result in results)
        self.stdout.write(
            f"{counts['created']} created, {counts['already_tracked']} already tracked, {counts['refused']} refused."
        )
        if counts["refused"]:
            sys.exit(3)
