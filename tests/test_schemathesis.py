"""The API is what its description says, whatever is sent to it: schemathesis against the running server.

A few examples per operation here; `make fuzz` makes 500 of each.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from people.models import ApiKey, Person
from sync.models import SyncRun
from tests.conftest import ROOT
from tests.factories import publish

EXAMPLES = os.environ.get("EXAMPLES", "5")


@pytest.mark.django_db(transaction=True)
def test_the_api_keeps_to_its_description(serve: Callable[..., str], tmp_path: Path, ada_s_run: SyncRun) -> None:
    _, key = ApiKey.objects.create_key(name="schemathesis")
    server = serve(API_REQUESTS_PER_MINUTE="0", ANONYMOUS_REQUESTS_PER_MINUTE="0")
    command = [
        str(Path(sys.executable).parent / "schemathesis"),
        "--config-file",
        str(ROOT / "tests/schemathesis.toml"),
        "run",
        f"{server}/schema",
    ]
    command += ["--max-examples", EXAMPLES, "--header", f"Authorization: Api-Key {key}"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


@pytest.fixture
def ada_s_run(transactional_db: None) -> SyncRun:
    """Something to find: a person, a rejected gist, a run."""
    ada = Person.objects.create(github_username="ada", github_id=1, state="active")
    publish(ada, 1, push_state="rejected")
    now = ada.created_at
    return SyncRun.objects.create(started_at=now, round_started_at=now, heartbeat_at=now, host="h", outcome="succeeded")
