"""Deadlocks: every write of the API and of the admin is repeated."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.test import Client
from rest_framework.test import APIClient

from people.models import Gist, Person
from tests.conftest import wait_until
from tests.described import Operation, list_operations
from tests.factories import create_gist, create_people, create_person

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]
DEADLOCK = 1213
WRITES: dict[str, tuple[str, str, Any]] = {
    "track a person": ("post", "/api/v1/people", {"username": "ben"}),
    "track people": ("post", "/api/v1/people/bulk", ["ben", "cleo"]),
    "change a person": ("patch", "/api/v1/people/ada", {"state": "paused", "backfill": "all"}),
    "resume a person": ("patch", "/api/v1/people/ada", {"state": "active"}),
    "stop tracking": ("delete", "/api/v1/people/ada", None),
    "forget": ("delete", "/api/v1/people/ada?forget=true", None),
    "request a sync": ("post", "/api/v1/people/ada/sync", None),
    "push a gist": ("post", "/api/v1/people/ada/gists/{gist}/push", None),
    "visit": ("get", "/api/v1/people/ada", None),
    "acknowledge": ("post", "/api/v1/feed/ack", {"cursor": 1}),
}
ADMIN_WRITES: dict[str, tuple[str, dict[str, Any]]] = {
    "add": ("person/add/", {"github_username": "ben"}),
    "change": ("person/{person}/change/", {"pipedrive_id": "7"}),
    **{action: ("person/", {"action": action, "_selected_action": "{person}"}) for action in ("pause", "request_sync")},
    "button": ("person/{person}/action/request_sync/", {}),
    "stop tracking": ("person/{person}/delete/", {"post": "yes"}),
    "forget": ("person/{person}/forget/", {"post": "yes"}),
    "skip a gist": ("gist/", {"action": "push_again", "_selected_action": "{gist_key}"}),
}


def fail_writes(monkeypatch: pytest.MonkeyPatch, times: int) -> list[str]:
    """The next statements that write to people, gists, visits or consumers fail as the victims of deadlocks."""
    failed: list[str] = []
    execute = CursorWrapper.execute

    def fail_or_execute(self: Any, sql: str, params: Any = None) -> Any:
        is_write = sql.startswith(("INSERT", "UPDATE", "DELETE"))
        if is_write and "people_" in sql and len(failed) < times:
            failed.append(sql)
            raise OperationalError(DEADLOCK, "Deadlock found when trying to get lock")
        return execute(self, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", fail_or_execute)
    return failed


@pytest.fixture
def names() -> dict[str, Any]:
    gist = create_gist(create_person("ada", github_id=1, state="active"), push_state="rejected")
    return {"person": gist.person_id, "gist": gist.github_id, "gist_key": gist.pk}


@pytest.mark.parametrize("name", WRITES)
def test_each_write_of_the_api_is_repeated_after_deadlocks(
    name: str, names: dict[str, Any], api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, address, body = WRITES[name]
    if name == "resume a person":
        Person.objects.update(state="paused")
    if name == "visit":
        api.get("/api/v1/me")  # creates the consumer
    failed = fail_writes(monkeypatch, 2)

    response = getattr(api, method)(address.format(**names), body, format="json")

    assert (response.status_code < 300, len(failed)) == (True, 2), response.content
    if name == "track people":
        assert response.json()["created"] == 2


@pytest.mark.parametrize("operation", [o for o in list_operations() if o.method != "GET"], ids=lambda o: o.name)
def test_the_table_has_each_write_of_the_api(operation: Operation) -> None:
    assert any(operation.matches(method.upper(), address.split("?")[0]) for method, address, _ in WRITES.values())


@pytest.mark.parametrize("name", ADMIN_WRITES)
def test_each_write_of_the_admin_is_repeated_after_deadlocks(
    name: str, names: dict[str, Any], client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.force_login(User.objects.create_superuser("root"))
    page, form = ADMIN_WRITES[name]
    failed = fail_writes(monkeypatch, 2)

    data = {field: value.format(**names) for field, value in form.items()}
    response = client.post(f"/admin/people/{page.format(**names)}", data)

    assert (response.status_code, len(failed)) == (302, 2)


def test_deadlocks_without_end_are_503(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_writes(monkeypatch, 1000)
    api.raise_request_exception = False

    response = api.post("/api/v1/people", {"username": "ben"}, format="json")

    assert (response.status_code, "Retry-After" in response) == (503, True)


def test_rows_that_the_database_refuses_are_reported_and_the_others_are_stored(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("people.bulk.BATCH_SIZE", 2)
    bulk_create, calls = Person.objects.bulk_create, itertools.count()

    def fail_second(rows: list[Person]) -> list[Person]:
        if next(calls) in range(1, 8):
            raise OperationalError(DEADLOCK, "Deadlock")
        return bulk_create(rows)

    monkeypatch.setattr(Person.objects, "bulk_create", fail_second)

    report = api.post("/api/v1/people/bulk", ["a", "b", "c", "d", "e"], format="json").json()

    assert [row["result"] for row in report["results"]] == ["created", "created", "rejected", "rejected", "created"]
    assert report["results"][2]["reason"] == "The database failed. Send this row again."
    assert Person.objects.count() == 3


@pytest.mark.server
@pytest.mark.parametrize(
    ("method", "body"), [("patch", {"backfill": "all"}), ("delete", None)], ids=["change a person", "stop tracking"]
)
def test_the_victim_of_a_real_deadlock_is_repeated(method: str, body: Any) -> None:
    """The request has locked the person and waits for the gist; a larger transaction has them in the other order."""
    ada, others = create_person("ada", backfill="none"), create_people(50)
    create_gist(ada, push_state="skipped")
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        Person.objects.filter(pk__in=[person.pk for person in others]).update(name="the larger one is no victim")
        Gist.objects.select_for_update().get()
        response = pool.submit(send, method, body)
        wait_until(is_waiting_for_a_lock)
        Person.objects.select_for_update().get(pk=ada.pk)

    assert response.result() < 300


def send(method: str, body: Any) -> int:
    try:
        status: int = getattr(APIClient(), method)("/api/v1/people/ada", body, format="json").status_code
        return status
    finally:
        connection.close()


def is_waiting_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'")
        return int(cursor.fetchone()[1]) > 0
