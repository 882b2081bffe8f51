"""The other side of compare.py: answers requests with the code of the working directory.

Reads one JSON object a line: the path, how many people there are to be, and how often to request it. Uses only names
that both checkouts have.
"""

import json
import os
import sys
import time
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gisttracker.settings")

import django
import MySQLdb

GISTS = {1: 20, 100: 10}  # of each person, by the number of people


def main() -> None:
    create_database()
    setup()
    from django.core.management import call_command
    from django.test import Client

    call_command("migrate", verbosity=0)
    client = Client(HTTP_AUTHORIZATION=f"Api-Key {create_key()}")
    for line in sys.stdin:
        order = json.loads(line)
        fill(order["people"])
        print(json.dumps(measure(client, order["path"], order["count"])), flush=True)


def setup() -> None:
    sys.path.insert(0, os.getcwd())
    django.setup()


def create_database() -> None:
    server = MySQLdb.connect(
        host=os.environ["DATABASE_HOST"],
        port=int(os.environ["DATABASE_PORT"]),
        user=os.environ["DATABASE_USERNAME"],
        password=os.environ["DATABASE_PASSWORD"],
    )
    server.cursor().execute(f"CREATE DATABASE {os.environ['DATABASE_NAME']} CHARACTER SET utf8mb4")


def create_key() -> str:
    from io import StringIO

    from django.core.management import call_command

    output = StringIO()
    call_command("create_api_key", "bench", stdout=output)
    return output.getvalue().split()[-1]


def fill(people: int) -> None:
    from django.utils import timezone

    from people.models import Gist, Person

    if Person.objects.count() == people:
        return
    Person.objects.all().delete()
    now = timezone.now()
    for number in range(people):
        columns: dict[str, Any] = {"state": "active", "polled_at": now, "name": f"First{number} Last{number}"}
        person = Person.objects.create(github_username=f"person-{number}", **columns)
        Gist.objects.bulk_create(build_gist(person, number * 1000 + gist) for gist in range(GISTS[people]))


def build_gist(person: Any, number: int) -> Any:
    from people.models import Gist

    now = person.created_at
    has_feed = hasattr(Gist, "feed_position")
    return Gist(
        person=person,
        github_id=f"{number:032x}",
        description="Some notes",
        html_url="https://gist.github.com/x",
        pull_url="https://gist.github.com/x.git",
        files=[{"name": "a.md", "raw_url": "https://x.test/a", "language": None, "size": 7}],
        github_created_at=now,
        github_updated_at=now,
        push_state="pushed",
        pushed_at=now,
        pipedrive_activity_id=number + 1,
        **({"feed_position": number + 1} if has_feed else {}),
    )


def measure(client: Any, path: str, count: int) -> dict[str, float]:
    from django.db import connection

    statements: list[str] = []

    def record(execute: Any, sql: str, *rest: Any) -> Any:
        statements.append(sql)
        return execute(sql, *rest)

    if client.get(path, secure=True).status_code == 404:
        return {"statements": 0, "cpu": 0}
    with connection.execute_wrapper(record):
        response = client.get(path, secure=True)
    assert response.status_code == 200, response.content
    started = time.process_time()
    for _ in range(count):
        client.get(path, secure=True)
    return {"statements": len(statements), "cpu": (time.process_time() - started) / count * 1000}


if __name__ == "__main__":
    main()
