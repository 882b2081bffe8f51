"""Settings: sources, precedence, validation, flags."""

import os
from pathlib import Path

import pytest

from gisttracker.config import environment
from gisttracker.config.environment import VARIABLES, apply_flags, read
from tests.conftest import manage

NO_ENV_FILE = Path("/nonexistent/.env")


def test_the_database_and_tokens_have_the_defaults_of_the_contract() -> None:
    values = read(NO_ENV_FILE, {})

    assert [values[f"DATABASE_{part}"] for part in ("HOST", "PORT", "NAME", "USERNAME", "PASSWORD")] == [
        "",
        3306,
        "pipedrive",
        "pipedrive",
        "pipedrive",
    ]
    assert (values["PIPEDRIVE_TOKEN"], values["GITHUB_TOKEN"]) == ("", "")


def test_the_environment_overrides_the_env_file_and_empty_counts_as_not_set(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LISTEN_PORT=4000\nBACKFILL=none\nLOG_FORMAT=json\n")

    values = read(tmp_path / ".env", {"LISTEN_PORT": "5000", "BACKFILL": ""})

    assert (values["LISTEN_PORT"], values["BACKFILL"], values["LOG_FORMAT"]) == (5000, "all", "json")


def test_a_secret_can_be_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")

    assert read(NO_ENV_FILE, {"GITHUB_TOKEN_FILE": str(tmp_path / "token")})["GITHUB_TOKEN"] == "abc"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"LISTEN_PORT": "x"}, "LISTEN_PORT must be a whole number from 1 to 65535 (it is 'x')."),
        ({"DATABASE_PORT": "0"}, "DATABASE_PORT must be a whole number"),
        ({"DEBUG": "maybe"}, "DEBUG must be true or false"),
        ({"BACKFILL": "some"}, "BACKFILL must be all, none or a date"),
        ({"LOG_FORMAT": "xml"}, "LOG_FORMAT must be one of: text, json"),
        ({"GITHUB_API_URL": "api.github.com"}, "GITHUB_API_URL must be a URL such as https://"),
        ({"GITHUB_API_URL": "https://user:two words@x.test"}, "GITHUB_API_URL must be a URL such as https://"),
        ({"GITHUB_API_URL": "https://x.test:99999/api/v3"}, "GITHUB_API_URL must be a URL such as https://"),
        ({"GITHUB_API_URL": "https://x.test/api/v3?a=b"}, "GITHUB_API_URL must be a URL such as https://"),
        ({"GITHUB_API_URL": "https://user:two%20words@x.test"}, "GITHUB_API_URL must not contain a user name"),
        ({"GITHUB_API_URL": "https://user@x.test/api/v3"}, "GITHUB_API_URL must not contain a user name"),
        ({"PIPEDRIVE_API_URL": "https://x.test/api/v2"}, "PIPEDRIVE_API_URL must have no path"),
        ({"GITHUB_REQUESTS_PER_MINUTE": "0"}, "GITHUB_REQUESTS_PER_MINUTE must be a whole number from 1 to 900"),
        ({"GITHUB_REQUESTS_PER_MINUTE": "901"}, "GITHUB_REQUESTS_PER_MINUTE must be a whole number from 1 to 900"),
        ({"API_REQUESTS_PER_MINUTE": "0"}, "API_REQUESTS_PER_MINUTE must be a whole number from 1 to 1000000"),
        ({"ANONYMOUS_REQUESTS_PER_MINUTE": "0"}, "ANONYMOUS_REQUESTS_PER_MINUTE must be a whole number from 1"),
        ({"GITHUB_TOKEN": "two words"}, "GITHUB_TOKEN must be one word"),
        ({"GITHUB_TOKEN_FILE": "/nonexistent"}, "GITHUB_TOKEN_FILE must name a readable file"),
        ({"GITHUB_TOKEN": "a", "GITHUB_TOKEN_FILE": "b"}, "GITHUB_TOKEN and GITHUB_TOKEN_FILE are both set"),
    ],
    ids=str,
)
def test_an_invalid_value_ends_the_process_with_one_line(
    variables: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        read(NO_ENV_FILE, variables)

    output = capsys.readouterr().err
    assert end.value.code == 78
    assert message in output
    assert output.count("\n") == 1
    assert "two words" not in output.replace("%20", " ")


@pytest.mark.parametrize(
    "value",
    [
        "app.example.com",
        "//app.example.com",
        "https://app.example.com/",
        "https://app.example.com/path",
        "https://app.example.com?a=b",
        "https://user@app.example.com",
        "https://app.example.com:0",
        "https://app.example.com:99999",
        "https://*",
        "https://*.example.com",
        "*",
        "null",
        "ftp://app.example.com",
        "https://",
        "https://app.*.com",
        "https://app.example.com https://b.example.com",
        "https://a.example.com,b.example.com",
    ],
)
def test_what_is_no_origin_is_refused(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        read(NO_ENV_FILE, {"CORS_ALLOWED_ORIGINS": value})

    output = capsys.readouterr().err
    assert end.value.code == 78
    assert output.startswith(
        "gisttracker: CORS_ALLOWED_ORIGINS must be a list of origins such as https://app.example.com"
    )
    assert output.count("\n") == 1


def test_origins_are_what_browsers_send() -> None:
    values = read(
        NO_ENV_FILE,
        {"CORS_ALLOWED_ORIGINS": "https://App.example.com:443, http://localhost:5173,http://[::1]:80"},
    )

    assert values["CORS_ALLOWED_ORIGINS"] == ["https://app.example.com", "http://localhost:5173", "http://[::1]"]


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ("gists.example.com,[::1]", ["https://gists.example.com", "https://[::1]"]),
        (".example.com", ["https://*.example.com"]),
        ("*", []),
    ],
)
def test_forms_may_come_from_the_service_s_own_hosts(hosts: str, expected: list[str]) -> None:
    program = "from django.conf import settings; print(settings.CSRF_TRUSTED_ORIGINS)"

    output = manage("shell", "-v0", "-c", program, ALLOWED_HOSTS=hosts).stdout

    assert output.strip() == str(expected)


@pytest.mark.parametrize("value", ["https://x.test", "x.test:8000", "x.test/path", "*.x.test", "a b", "-x.test"])
def test_what_is_no_host_name_is_refused(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        read(NO_ENV_FILE, {"ALLOWED_HOSTS": value})

    assert end.value.code == 78
    assert "ALLOWED_HOSTS must be a list of host names such as gists.example.com" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["*", ".example.com", "Gists.example.com", "10.0.0.1", "[::1]", "a_b,x.test"])
def test_host_names_of_django_are_accepted(value: str) -> None:
    assert read(NO_ENV_FILE, {"ALLOWED_HOSTS": value})["ALLOWED_HOSTS"] == value.lower().split(",")


def test_the_address_of_a_pod_may_be_ipv6() -> None:
    assert read(NO_ENV_FILE, {"ALLOWED_HOSTS": "x.test,fd00::1:2"})["ALLOWED_HOSTS"] == ["x.test", "[fd00::1:2]"]


@pytest.fixture
def _no_earlier_warnings() -> None:
    environment._warn.cache_clear()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("GITHUB_TOKN", " Did you mean GITHUB_TOKEN?"),
        ("github_token", " Did you mean GITHUB_TOKEN?"),
        ("SECRET_KEY_FLIE", " Did you mean SECRET_KEY_FILE?"),
        ("DATABASE_USER_NAME", " Did you mean DATABASE_USERNAME?"),
        ("SOMETHING_ELSE", ""),
    ],
)
@pytest.mark.usefixtures("_no_earlier_warnings")
def test_an_unknown_name_in_the_env_file_is_warned_about_once(
    name: str, hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".env").write_text(f"{name}=must-not-be-shown\nBACKFILL=none\n")

    values = [read(tmp_path / ".env", {}) for _ in range(2)]

    expected = f"gisttracker: warning: .env: {name} is not a setting of gisttracker and is ignored.{hint}\n"
    assert capsys.readouterr().err == expected
    assert values[0]["BACKFILL"] == "none"


@pytest.mark.usefixtures("_no_earlier_warnings")
def test_names_of_other_software_in_the_env_file_and_any_in_the_environment_are_fine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = ["COMPOSE_PROFILES", "MYSQL_ROOT_PASSWORD", "DJANGO_SETTINGS_MODULE", "DOCKER_HOST", "PYTHONPATH"]
    known = "".join(f"{variable.name}=\n" for variable in VARIABLES)
    (tmp_path / ".env").write_text("".join(f"{name}=x\n" for name in foreign) + known + "SECRET_KEY_FILE=\n")

    read(tmp_path / ".env", {"GITHUB_TOKN": "x", "HOME": "/root"})

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("source", ["environment", ".env"])
@pytest.mark.parametrize("name", ["DATABASE_HOST", "LOG_FORMAT"])
@pytest.mark.usefixtures("_no_earlier_warnings")
def test_a_file_for_a_variable_that_is_no_secret_is_warned_about(
    name: str, source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".env").write_text(f"{name}_FILE=/x\n" if source == ".env" else "")

    read(tmp_path / ".env", {f"{name}_FILE": "/x"} if source == "environment" else {})

    expected = f"gisttracker: warning: {name}_FILE is ignored: only secrets can be in a file. Set {name} instead.\n"
    assert capsys.readouterr().err == expected


def test_the_platform_can_set_the_port() -> None:
    assert read(NO_ENV_FILE, {"PORT": "8080"})["LISTEN_PORT"] == 8080
    assert read(NO_ENV_FILE, {"PORT": "8080", "LISTEN_PORT": "4000"})["LISTEN_PORT"] == 4000


def test_an_invalid_port_of_the_platform_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read(NO_ENV_FILE, {"PORT": "tcp://10.0.0.1"})

    assert "PORT must be a whole number from 1 to 65535 (it is 'tcp://10.0.0.1')." in capsys.readouterr().err


def test_every_variable_is_a_flag() -> None:
    environment = {"GITHUB_TOKEN_FILE": "old"}

    apply_flags(["x", "--listen-port", "4000", "--github-token=abc", "--other"], environment)

    assert environment == {"LISTEN_PORT": "4000", "GITHUB_TOKEN": "abc"}


@pytest.mark.slow("starts manage.py as a process")
def test_every_flag_is_in_the_help_of_commands_that_are_not_ours() -> None:
    output = manage("check", "-h").stdout

    assert [variable.flag for variable in VARIABLES if f"{variable.flag} " not in output] == []


@pytest.mark.slow("starts manage.py as a process")
def test_a_flag_reaches_the_settings() -> None:
    invalid = manage("check", "--listen-port", "70000")
    valid = manage("check", "--listen-port", "4000", LISTEN_PORT="x")

    assert (invalid.returncode, invalid.stderr) == (
        78,
        "gisttracker: LISTEN_PORT must be a whole number from 1 to 65535 (it is '70000').\n",
    )
    assert valid.returncode == 0


PRINT_CIPHER = """from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SHOW STATUS LIKE %s", ["Ssl_cipher"])
    print("cipher", cursor.fetchone()[1])"""


@pytest.mark.slow("starts manage.py as a process")
@pytest.mark.server
def test_database_tls_requires_an_encrypted_connection() -> None:
    """MariaDB before 11.4 has no certificate by default: no connection. Other servers: an encrypted connection."""
    server = {name: os.environ[name] for name in os.environ if name.startswith("DATABASE_")}

    completed = manage(
        "shell", "-v0", "-c", PRINT_CIPHER, **{**server, "DATABASE_NAME": "information_schema", "DATABASE_TLS": "true"}
    )

    assert "SSL" in completed.stderr or "cipher T" in completed.stdout
