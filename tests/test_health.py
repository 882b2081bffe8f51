import pytest
from django.db import OperationalError
from django.test import Client


def test_a_living_process_needs_no_database_and_no_host(client: Client) -> None:
    answer = client.get("/livez", HTTP_HOST="10.0.0.7")

    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


@pytest.mark.django_db
def test_ready_when_the_database_answers_and_is_migrated(client: Client) -> None:
    assert client.get("/readyz", HTTP_HOST="10.0.0.7").status_code == 200


@pytest.mark.django_db
def test_not_ready_while_migrations_are_missing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gisttracker.health.MigrationExecutor.migration_plan", lambda *_: ["one"])

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert "manage.py migrate" in answer.json()["status"]


@pytest.mark.django_db
def test_not_ready_without_the_database(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OperationalError("user pipedrive@db-host was refused")

    monkeypatch.setattr("gisttracker.health.MigrationExecutor", fails)

    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()) == (503, {"status": "The database does not answer (OperationalError)."})
