"""`manage.py import_people FILE`: track many people from a CSV or JSON file."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from gisttracker.management.command_line import GisttrackerCommand
from people.bulk import MAX_ROWS, RowOutcome, read_csv, read_json, track

EX_ROWS_REJECTED = 3


class Command(GisttrackerCommand):
    help = (
        "Track the people of a file: CSV (username[,pipedrive_id][,backfill]), or JSON if its name ends in .json; "
        f"at most {MAX_ROWS} rows."
    )
    reads = ("GITHUB_API_URL",)  # the host of profile URLs
    exit_codes = {EX_ROWS_REJECTED: "rows were rejected, as printed; the others are tracked"}
    examples = ("people.csv", "people.json", "- <people.csv")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="path of the file, or - for standard input (CSV)")

    def handle(self, *args: Any, **options: Any) -> None:
        file: Path = options["file"]
        try:
            raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
            rows = read_json(raw) if file.suffix.lower() == ".json" else read_csv(raw)
        except OSError as error:
            raise CommandError(f"{file}: {error.strerror}", returncode=2) from None
        except ValueError as error:
            raise CommandError(f"{file}: {error}", returncode=2) from None
        report = track(rows)
        for result in report.results:
            if result.result == RowOutcome.REJECTED:
                self.stdout.write(f"row {result.row} ({result.username}): {result.reason}")
        self.stdout.write(
            f"{report.created} created, {report.already_tracked} already tracked, {report.rejected} rejected."
        )
        if report.rejected:
            sys.exit(EX_ROWS_REJECTED)
