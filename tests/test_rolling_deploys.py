"""Deploys roll, and roll back: the previous release works on the new database."""

import shutil
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import AddField

from people.models import Gist, Person
from tests.conftest import GITHUB_TOKEN, PIPEDRIVE_TOKEN, ROOT
from tests.standins import GitHubStandIn, PipedriveStandIn

# After each release, its commit.
PREVIOUS_RELEASE = "cf0d45655266cddddc04145b9753df06c391aef9"
pytestmark = pytest.mark.django_db(transaction=True)

# What consumers and operators do, with the code of the previous release.
USE = """
import django
django.setup()
from rest_framework.test import APIClient

api = APIClient()

def check(response, status):
    assert response.status_code == status, (response.status_code, response.content)
    return response

check(api.post("/api/v1/people", {"username": "ada"}, format="json"), 201)
check(api.post("/api/v1/people", {"username": "ben"}, format="json"), 201)
check(api.get("/api/v1/people/ada"), 200)
check(api.get("/readyz"), 200)
"""
VISIT_AND_DELETE = """
import django
django.setup()
from rest_framework.test import APIClient

api = APIClient()
assert len(api.get("/api/v1/people/ada").json()["gists"]) == 2
assert api.get("/api/v1/people/ada").json()["gists"] == []
response = api.delete("/api/v1/people/ada")
assert response.status_code == 204, response.content
"""


@pytest.fixture(scope="session")
def previous_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of the previous release."""
    git = shutil.which("git")
    archive = git and subprocess.run([git, "archive", PREVIOUS_RELEASE], cwd=ROOT, capture_output=True, check=False)
    if not archive or archive.returncode:
        pytest.skip("the commit of the previous release is not here (a shallow clone, or no git)")
    folder = tmp_path_factory.mktemp("previous")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def test_the_previous_release_works_on_the_new_database(
    previous_release: Path,
    database_variables: dict[str, str],
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
) -> None:
    environment = {
        **database_variables,
        "DEBUG": "true",
        "API_AUTH": "none",
        "ALLOWED_HOSTS": "*",
        "GITHUB_API_URL": github.url,
        "GITHUB_TOKEN": GITHUB_TOKEN,
        "PIPEDRIVE_API_URL": pipedrive.url,
        "PIPEDRIVE_TOKEN": PIPEDRIVE_TOKEN,
        "PUSH_RECONCILE_AFTER_SECONDS": "0",
        "PYTHONPATH": str(previous_release),
    }

    def run(*arguments: str) -> None:
        completed = subprocess.run(
            [sys.executable, *arguments],
            cwd=previous_release,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert completed.returncode == 0, completed.stdout + completed.stderr

    for login in ("ada", "ben"):
        github.add_account(login)
    for number in range(2):
        github.publish("ada", f"Gist {number}")

    run("-c", USE)
    run("manage.py", "sync_gists")
    pushed = Gist.objects.filter(push_state="pushed").count()
    run("-c", VISIT_AND_DELETE)

    assert (pushed, len(pipedrive.activities)) == (2, 2)
    assert list(Person.objects.values_list("github_username", "state")) == [("ben", "active")]


@pytest.mark.skipif(connection.vendor != "mysql", reason="SQLite is not used by several releases at once")
def test_the_database_deletes_what_refers_to_a_deleted_person() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, delete_rule FROM information_schema.referential_constraints "
            "WHERE constraint_schema = DATABASE() AND referenced_table_name = 'people_person'"
        )
        rules = dict(cursor.fetchall())

    assert set(rules) == {"people_gist", "people_searchterm", "people_visit"}
    assert set(rules.values()) == {"CASCADE"}


def test_later_migrations_can_be_repeated_and_used_by_the_release_before() -> None:
    """MySQL has no transactional DDL: of two operations, the first would be done when the second is killed."""
    migrations = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    later = [row for (app, name), row in migrations.items() if app in ("people", "sync") and name != "0001_initial"]

    for migration in later:
        assert len(migration.operations) == 1, migration
        for operation in migration.operations:
            if isinstance(operation, AddField):
                assert operation.field.null or operation.field.has_db_default(), migration
