"""Schemathesis against the running server: responses match the OpenAPI description for generated requests.

`make test` generates a few examples per operation; `make fuzz` generates 500. Half of them have a hostile value; see
schemathesis_hooks.py.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.factories import create_gist, create_key, create_person, create_run

EXAMPLES = os.environ.get("EXAMPLES", "5")


@pytest.mark.server
@pytest.mark.slow("starts a web server, and sends some 1,000 requests")
@pytest.mark.django_db(transaction=True)
def test_the_api_matches_its_description(serve: Callable[..., str], tmp_path: Path, stored_rows: None) -> None:
    key = create_key("schemathesis")
    server = serve(API_REQUESTS_PER_MINUTE="1000000", ANONYMOUS_REQUESTS_PER_MINUTE="1000000")
    command = [
        str(Path(sys.executable).parent / "schemathesis"),
        "--config-file",
        str(ROOT / "tests/schemathesis.toml"),
        "run",
        f"{server}/schema",
    ]
    command += ["--max-examples", EXAMPLES, "--header", f"Authorization: Api-Key {key}"]

    # As a module: a path would load the file a second time.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.schemathesis_hooks"}

    completed = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert completed.returncode == 0, completed.stdout[-8000:] + completed.stderr[-2000:]


@pytest.fixture
def stored_rows(transactional_db: None) -> None:
    """A person with a hostile name and a rejected gist, and a run."""
    ada = create_person("ada", github_id=1, state="active", name="Ada;=1+1")
    create_gist(ada, push_state="rejected")
    create_run(outcome="succeeded")
