"""The probes /livez and /readyz."""

import pytest
from django.db import OperationalError
from django.test import Client


def test_livez_needs_neither_the_database_nor_an_allowed_host(client: Client) -> None:
    response = client.get("/livez", HTTP_HOST="10.0.0.7")

    assert (response.status_code, response.json()) == (200, {"status": "alive"})


@pytest.mark.django_db
def test_readyz_is_200_when_the_database_is_migrated(client: Client) -> None:
    assert client.get("/readyz", HTTP_HOST="10.0.0.7").status_code == 200


@pytest.mark.django_db
def test_readyz_is_503_while_a_migration_is_not_applied(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gisttracker.health.MigrationExecutor.migration_plan", lambda *_: ["one"])

    response = client.get("/readyz")

    assert response.status_code == 503
    assert response.json()["status"] == "1 migration is not applied. Run `manage.py migrate`."


@pytest.mark.django_db
def test_readyz_is_503_without_the_database(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OperationalError("Access denied for user pipedrive@db-host")

    monkeypatch.setattr("gisttracker.health.MigrationExecutor", fails)

    response = client.get("/readyz")

    assert (response.status_code, response.json()) == (
        503,
        {"status": "The database cannot be used: OperationalError."},
    )
