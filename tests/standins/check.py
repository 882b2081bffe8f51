"""`python -m tests.standins.check LOGIN...`: does each gist of these people have exactly one activity?

Run it beside `python -m tests.standins`. Prints the numbers of gists by their number of activities; the exit code is 1
if a gist has none, and 2 if a gist has more than one.
"""

import itertools
import json
import os
import re
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from typing import Any

GITHUB_URL = os.environ.get("GITHUB_API_URL", "http://127.0.0.1:8081")
PIPEDRIVE_URL = os.environ.get("PIPEDRIVE_API_URL", "http://127.0.0.1:8082")
GIST_LINK = re.compile(r"https://gist\.github\.com/[\w-]+/([0-9a-f]{32})")


def main(logins: list[str]) -> int:
    activities = Counter(gist_id for note in list_notes() if (gist_id := first_gist(note)))
    gists = [gist_id for login in logins for gist_id in list_gists(login)]
    numbers = Counter(activities[gist_id] for gist_id in gists)
    double = sum(count for number, count in numbers.items() if number > 1)
    print(f"{len(gists)} gists: {numbers[1]} with one activity, {numbers[0]} without, {double} with more than one")
    if double:
        return 2
    return 1 if numbers[0] or not gists else 0


def first_gist(note: str) -> str:
    match = GIST_LINK.search(note)
    return match[1] if match else ""


def list_gists(login: str) -> Iterator[str]:
    for page in itertools.count(1):
        path = f"{GITHUB_URL}/users/{login}/gists?per_page=100&page={page}"
        rows = get(path, "authorization", "GITHUB_TOKEN")
        yield from (row["id"] for row in rows)
        if len(rows) < 100:
            return


def list_notes() -> Iterator[str]:
    cursor = "c0"
    while cursor:
        path = f"{PIPEDRIVE_URL}/api/v2/activities?limit=500&cursor={cursor}"
        page = get(path, "x-api-token", "PIPEDRIVE_TOKEN")
        yield from (row["note"] for row in page["data"])
        cursor = page["additional_data"]["next_cursor"]


def get(url: str, header: str, variable: str) -> Any:
    token = os.environ.get(variable, f"demo-{variable.lower().replace('_', '-')}")
    value = f"Bearer {token}" if header == "authorization" else token
    request = urllib.request.Request(url, headers={header: value, "user-agent": "check"})  # noqa: S310  # the stand-ins
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        return json.load(response)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
