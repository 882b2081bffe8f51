"""How with_mysql.py finds the database server program."""

from pathlib import Path

import pytest

from tests import with_mysql
from tests.with_mysql import ServerProgram, find_server_program


def create_server_program(folder: Path, name: str, version: str) -> str:
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{name}  Ver {version}'\n")
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    ("version", "is_mariadb"),
    [("8.4.7 for Linux on x86_64 (MySQL Community Server)", False), ("10.11.14-MariaDB for debian-linux-gnu", True)],
)
def test_the_version_decides_whether_a_server_is_mariadb(tmp_path: Path, version: str, is_mariadb: bool) -> None:
    path = create_server_program(tmp_path, "mysqld", version)

    assert find_server_program(path) == ServerProgram(path, is_mariadb)


def test_a_requested_server_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_server_program(tmp_path, "mariadbd", "10.11.14-MariaDB")
    path = create_server_program(tmp_path, "mysqld", "8.4.7")
    monkeypatch.setattr(with_mysql, "SEARCH_PATH", str(tmp_path))

    assert find_server_program("mysqld") == ServerProgram(path, is_mariadb=False)


def test_mariadb_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_server_program(tmp_path, "mysqld", "8.4.7")
    path = create_server_program(tmp_path, "mariadbd", "10.11.14-MariaDB")
    monkeypatch.setattr(with_mysql, "SEARCH_PATH", str(tmp_path))

    assert find_server_program() == ServerProgram(path, is_mariadb=True)


def test_a_missing_requested_server_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_HOST", raising=False)
    monkeypatch.setenv("MYSQL_SERVER", "no-such-server")

    assert with_mysql.main(["true"]) == 1
    assert "`no-such-server`" in capsys.readouterr().out


@pytest.mark.parametrize(("ci", "exit_code"), [("", 0), ("true", 1)])
def test_without_a_server_the_command_is_skipped_except_in_ci(
    ci: str, exit_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"DATABASE_HOST": "", "MYSQL_SERVER": "", "CI": ci}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(with_mysql, "SEARCH_PATH", str(tmp_path))

    assert with_mysql.main(["false"]) == exit_code
    assert "SKIPPED on MySQL" in capsys.readouterr().out
