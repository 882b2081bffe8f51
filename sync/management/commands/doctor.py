"""`manage.py doctor`: check what a new installation needs, and say what to do."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser

from gisttracker.config.environment import EX_CONFIG, EX_FAILED, EX_UNAVAILABLE
from gisttracker.management.command_line import GisttrackerCommand
from sync.doctor import github, pipedrive
from sync.doctor.database import check_database
from sync.doctor.findings import Advice, Finding, Level, examine
from sync.doctor.receivers import check_notify_url, check_ping_url


class Command(GisttrackerCommand):
    help = (
        "Check what a new installation needs, and say what to do, one line each: the database, GitHub and its stream, "
        "Pipedrive, and the receivers of notifications. It writes nothing, and sends nothing except with --notify."
    )
    reads = (
        "GITHUB_TOKEN", "GITHUB_API_URL", "GITHUB_STREAM",
        "PIPEDRIVE_TOKEN", "PIPEDRIVE_API_URL", "PIPEDRIVE_ACTIVITY_TYPE", "PIPEDRIVE_GITHUB_FIELD",
        "PING_URL", "NOTIFY_URL", "ENVIRONMENT_NAME", "ALLOW_INSECURE",
    )  # fmt: skip
    exit_codes = {
        0: "no problem; there may be warnings",
        EX_FAILED: "GitHub, Pipedrive or a receiver did not answer as it should, and no setting is known to be wrong",
        EX_CONFIG: "a setting is invalid or missing, or GitHub, Pipedrive or a receiver refused one",
    }
    examples = ("", "--notify", "--json")
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument("--notify", action="store_true", help="send a test to NOTIFY_URL and to PING_URL")

    def handle(self, *args: Any, **options: Any) -> None:
        findings = []
        for finding in find_all(sends=options["notify"]):
            findings.append(finding)
            if not options["json"]:
                self.stdout.write(str(finding))
        codes = {finding.exit_code for finding in findings}
        code = next((code for code in (EX_CONFIG, EX_UNAVAILABLE, EX_FAILED) if code in codes), 0)
        if options["json"]:
            self.stdout.write(json.dumps({"exit_code": code, "findings": list(map(asdict, findings))}))
        else:
            counts = Counter(finding.level for finding in findings)
            self.stdout.write(f"problems: {counts[Level.PROBLEM]}, warnings: {counts[Level.WARNING]}")
        if code:
            sys.exit(code)


def find_all(*, sends: bool) -> Iterator[Finding]:
    """`sends`: a test to NOTIFY_URL and PING_URL."""
    on_github = {"GitHub": github.check_github, "GitHub stream": github.check_stream}
    in_pipedrive = {
        "Pipedrive": pipedrive.check_pipedrive,
        "Pipedrive permission": pipedrive.check_permission,
        "Pipedrive activity type": pipedrive.check_activity_type,
        "Pipedrive field": pipedrive.check_field,
    }
    yield from examine({"database": check_database}, Advice())
    yield from examine(on_github, github.ADVICE)
    yield from examine(in_pipedrive, pipedrive.ADVICE)
    yield from examine({"NOTIFY_URL": check_notify_url(sends=sends)}, Advice())
    yield from examine({"PING_URL": check_ping_url(sends=sends)}, Advice())
