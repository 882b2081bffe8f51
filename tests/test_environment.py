"""Settings from the environment, as whoever starts the service meets them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gisttracker.environment import VARIABLES, read, take_flags
from tests.conftest import ROOT

NO_FILE = Path("/nonexistent/.env")


def manage(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DATABASE_")}
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env={**clean, "DJANGO_SETTINGS_MODULE": "gisttracker.settings", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_defaults_of_the_contract() -> None:
    values = read(NO_FILE, {})

    assert [values[f"DATABASE_{part}"] for part in ("HOST", "PORT", "NAME", "USERNAME", "PASSWORD")] == [
        "",
        3306,
        "pipedrive",
        "pipedrive",
        "pipedrive",
    ]
    assert (values["PIPEDRIVE_TOKEN"], values["GITHUB_TOKEN"]) == ("", "")


def test_the_environment_wins_over_the_env_file_and_empty_is_not_set(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=4000\nBACKFILL=none\nLOG_FORMAT=json\n")

    values = read(tmp_path / ".env", {"PORT": "5000", "BACKFILL": ""})

    assert (values["PORT"], values["BACKFILL"], values["LOG_FORMAT"]) == (5000, "all", "json")


def test_a_secret_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")

    assert read(NO_FILE, {"GITHUB_TOKEN_FILE": str(tmp_path / "token")})["GITHUB_TOKEN"] == "abc"


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"PORT": "x"}, "PORT must be a whole number from 1 to 65535 (it is 'x')."),
        ({"DATABASE_PORT": "0"}, "DATABASE_PORT must be a whole number"),
        ({"DEBUG": "maybe"}, "DEBUG must be true or false"),
        ({"BACKFILL": "some"}, "BACKFILL must be all, none, a number"),
        ({"LOG_FORMAT": "xml"}, "LOG_FORMAT must be one of: text, json"),
        ({"GITHUB_API_URL": "api.github.com"}, "GITHUB_API_URL must be an address such as https://"),
        ({"GITHUB_TOKEN": "two words"}, "GITHUB_TOKEN must be one word"),
        ({"GITHUB_TOKEN_FILE": "/nonexistent"}, "GITHUB_TOKEN_FILE must name a readable file"),
        ({"GITHUB_TOKEN": "a", "GITHUB_TOKEN_FILE": "b"}, "GITHUB_TOKEN and GITHUB_TOKEN_FILE are both set"),
    ],
    ids=str,
)
def test_a_bad_value_ends_the_start_with_one_line(
    variables: dict[str, str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        read(NO_FILE, variables)

    said = capsys.readouterr().err
    assert end.value.code == 78
    assert says in said
    assert said.count("\n") == 1
    assert "two words" not in said


def test_every_variable_is_a_flag() -> None:
    environment = {"GITHUB_TOKEN_FILE": "old"}

    take_flags(["x", "--port", "4000", "--github-token=abc", "--other"], environment)

    assert environment == {"PORT": "4000", "GITHUB_TOKEN": "abc"}


def test_every_flag_is_in_the_help_of_every_command() -> None:
    said = manage("check", "-h").stdout

    assert [variable.flag for variable in VARIABLES if f"{variable.flag} " not in said] == []


def test_a_flag_reaches_the_settings() -> None:
    bad = manage("check", "--port", "70000")
    good = manage("check", "--port", "4000", PORT="x")

    assert (bad.returncode, bad.stderr) == (
        78,
        "gisttracker: PORT must be a whole number from 1 to 65535 (it is '70000').\n",
    )
    assert good.returncode == 0


ASK = """from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SHOW STATUS LIKE %s", ["Ssl_cipher"])
    print("cipher", cursor.fetchone()[1])"""


@pytest.mark.skipif(not os.environ.get("DATABASE_HOST"), reason="SQLite has no connections to encrypt")
def test_a_connection_without_encryption_is_refused_where_it_is_demanded() -> None:
    """The throw-away MariaDB has no certificate; a server that has one gets an encrypted connection."""
    server = {name: os.environ[name] for name in os.environ if name.startswith("DATABASE_")}

    done = manage(
        "shell", "-v0", "-c", ASK, **{**server, "DATABASE_NAME": "information_schema", "DATABASE_TLS": "true"}
    )

    assert "SSL" in done.stderr or "cipher T" in done.stdout
