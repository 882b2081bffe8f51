"""smoke.sh, against the running service and the stand-ins."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from people.models import ApiKey, Person
from tests.conftest import ROOT, Servers, Worker, wait_until
from tests.standins import GitHubStandIn, PipedriveStandIn

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow("starts a web server")]


def smoke(servers: Servers, url: str, **variables: str) -> subprocess.Popen[str]:
    curl, bash = shutil.which("curl"), shutil.which("bash")
    if not curl or not bash:
        pytest.skip("curl or bash is not installed")
    path = f"{Path(sys.executable).parent}:{servers.environment['PATH']}"
    return subprocess.Popen(
        [bash, str(ROOT / "deploy/smoke.sh"), url, "env"],
        cwd=ROOT,
        env={**servers.environment, "PATH": path, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_smoke_test_can_be_repeated_and_leaves_nothing_behind(
    serve: Servers, worker: Worker, github: GitHubStandIn, pipedrive: PipedriveStandIn
) -> None:
    github.add_account("ada", name="Ada Lovelace")
    github.publish("ada", "First")
    url = serve()

    for _ in range(2):
        process = smoke(serve, url)
        wait_until(Person.objects.exists)
        worker("--requested").communicate()
        stdout, stderr = process.communicate(timeout=120)

        assert (process.returncode, stdout) == (0, "A gist of ada has an activity.\n"), stderr
        assert not Person.objects.exists()
        assert not ApiKey.objects.valid().exists()
    assert len(pipedrive.activities) == 1


def test_a_person_who_was_tracked_before_stays(serve: Servers, worker: Worker, github: GitHubStandIn) -> None:
    github.add_account("ada", name="Ada Lovelace")
    github.publish("ada", "First")
    Person.objects.create(github_username="ada")
    worker().communicate()

    process = smoke(serve, serve())

    stderr = process.communicate(timeout=120)[1]

    assert process.returncode == 0, stderr
    assert Person.objects.get().github_username == "ada"


def test_a_gist_without_an_activity_fails_with_the_status(serve: Servers) -> None:
    process = smoke(serve, serve(), TRIES="1")

    stdout, stderr = process.communicate(timeout=120)

    assert (process.returncode, stdout) == (1, "")
    assert "No gist of ada has an activity after 2 seconds. Status:" in stderr
    assert '"healthy"' in stderr


def test_a_rejected_request_shows_the_response(serve: Servers) -> None:
    process = smoke(serve, serve(), PERSON="not a login")

    stderr = process.communicate(timeout=120)[1]

    assert process.returncode == 1
    assert "POST /api/v1/people returned 400:" in stderr
    assert "invalid_login" in stderr
