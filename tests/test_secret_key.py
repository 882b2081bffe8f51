"""Web processes without SECRET_KEY: all workers must accept the sessions of each other."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User

from tests.conftest import ROOT, manage
from tests.with_mysql import free_port


@pytest.mark.slow("starts a web server")
@pytest.mark.django_db(transaction=True)
def test_two_workers_without_a_secret_key_share_sessions(serve: Callable[..., str]) -> None:
    password = PBKDF2PasswordHasher().encode("correct horse", "salt", 1)  # The tests' own hasher is not the server's.
    User.objects.create(username="admin", is_staff=True, is_superuser=True, password=password)
    server = serve(SECRET_KEY="", ALLOW_INSECURE="true", WEB_WORKERS="2")
    session = requests.Session()
    session.get(f"{server}/admin/login/", timeout=60)
    form = {"username": "admin", "password": "correct horse", "csrfmiddlewaretoken": session.cookies["csrftoken"]}
    assert session.post(f"{server}/admin/login/?next=/admin/", data=form, timeout=60).url == f"{server}/admin/"

    cookies = session.cookies
    pages = [  # A connection each, so that both workers accept some.
        requests.get(f"{server}/admin/", cookies=cookies, allow_redirects=False, timeout=60) for _ in range(20)
    ]

    assert [page.status_code for page in pages] == [200] * 20


PRINT_KEY = "from django.conf import settings; print(settings.SECRET_KEY)"


@pytest.mark.slow("starts manage.py as a process")
def test_a_reloaded_process_has_the_key_of_its_parent() -> None:
    shell = ["manage.py", "shell", "-v0", "-c", PRINT_KEY]
    child = f"import subprocess, sys; subprocess.run([sys.executable, *{shell}])"

    keys = manage("shell", "-v0", "-c", f"{PRINT_KEY}; {child}", SECRET_KEY="").stdout.split()

    assert len(keys) == 2
    assert keys[0] == keys[1]
    assert manage("shell", "-v0", "-c", PRINT_KEY, SECRET_KEY="").stdout.strip() != keys[0]


@pytest.mark.slow("starts a web server")
@pytest.mark.parametrize("allowed_by", ["DEBUG", "ALLOW_INSECURE"])
def test_workers_that_would_each_generate_a_key_are_refused(allowed_by: str, tmp_path: Path) -> None:
    """Gunicorn without our configuration reads the settings in each worker; with --preload it ends at once."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DATABASE_")}
    variables = {"SECRET_KEY": "", allowed_by: "true", "SQLITE_PATH": str(tmp_path / "x.sqlite3")}
    command = [sys.executable, "-m", "gunicorn", "--preload", "-w", "2", "-b", f"127.0.0.1:{free_port()}"]

    completed = subprocess.run(
        [*command, "gisttracker.web.asgi"],
        cwd=ROOT,
        env={**environment, "DJANGO_SETTINGS_MODULE": "gisttracker.config.settings", **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert completed.returncode == 78
    assert "SECRET_KEY is not set, and each worker would have its own." in completed.stderr
