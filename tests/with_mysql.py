"""Run a command with a throw-away MySQL-compatible server: `python tests/with_mysql.py pytest -q`.

The server has its own data folder, socket and port, and is stopped and deleted at the end; one that runs already is
never touched. Where DATABASE_HOST is set, the command simply runs against that server. Without any server program
the command is skipped loudly, but in CI that is an error.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATHS = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/usr/libexec:/usr/local/mysql/bin"
STARTS_WITHIN = 60  # seconds


def main(command: list[str]) -> int:
    if os.environ.get("DATABASE_HOST"):
        return subprocess.call(command)
    program = shutil.which("mariadbd", path=PATHS) or shutil.which("mysqld", path=PATHS)
    if not program:
        print("NOT RUN on MySQL: neither mariadbd nor mysqld is installed (Debian: apt install mariadb-server).")
        return 1 if os.environ.get("CI") else 0
    with tempfile.TemporaryDirectory(prefix="gisttracker-mysql-") as folder, server(program, Path(folder)) as variables:
        return subprocess.call(command, env={**os.environ, **variables})


@contextmanager
def server(program: str, folder: Path) -> Iterator[dict[str, str]]:
    """A running server in this folder; yields the DATABASE_* variables that lead to it."""
    if os.geteuid() == 0:
        folder.chmod(0o755)
    data, port = folder / "data", free_port()
    user = ["--user=root"] if os.geteuid() == 0 else []
    make_data_folder(program, data, user)
    (folder / "init.sql").write_text(
        "CREATE USER pipedrive@'%' IDENTIFIED BY 'pipedrive';\nGRANT ALL ON *.* TO pipedrive@'%';\n"
    )
    process = subprocess.Popen(
        [program, "--no-defaults", *user, f"--datadir={data}", f"--socket={folder}/s.sock", f"--port={port}"]
        + [
            f"--pid-file={folder}/pid",
            f"--init-file={folder}/init.sql",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--skip-log-bin",
        ]
        + ["--innodb-flush-log-at-trx-commit=0", "--max-connections=300"]
        + ([] if "mariadb" in program else ["--mysqlx=OFF", "--secure-file-priv=NULL"]),
        stdout=subprocess.DEVNULL,
        stderr=(folder / "log").open("w"),
    )
    try:
        wait_for(port, process, folder / "log")
        yield {
            "DATABASE_HOST": "127.0.0.1",
            "DATABASE_PORT": str(port),
            "DATABASE_USERNAME": "pipedrive",
            "DATABASE_PASSWORD": "pipedrive",
            "DATABASE_NAME": "gisttracker",
        }
    finally:
        process.terminate()
        process.wait(timeout=60)


def make_data_folder(program: str, data: Path, user: list[str]) -> None:
    if "mariadb" in program:
        make = shutil.which("mariadb-install-db", path=PATHS) or "mariadb-install-db"
        options = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        command = [make, "--no-defaults", *user, f"--datadir={data}", *options]
    else:
        command = [program, "--no-defaults", *user, f"--datadir={data}", "--initialize-insecure"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the server accepts connections."""
    deadline = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"The database server did not start:\n{log.read_text()[-3000:]}") from None
            time.sleep(0.1)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
