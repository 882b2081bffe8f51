"""Run a command with a temporary MySQL-compatible server: `python tests/with_mysql.py pytest -q`.

The server has its own data directory, socket and port, and is stopped and deleted afterwards; servers that are already
running are not touched. MYSQL_SERVER chooses the server program, by name or path; the default is mariadbd, then mysqld.
If DATABASE_HOST is set, the command uses that server instead. Without a server program the command is skipped with a
message; in CI, or if MYSQL_SERVER names a missing program, that is an error.
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
from dataclasses import dataclass
from pathlib import Path

SEARCH_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/usr/libexec:/usr/local/mysql/bin"
START_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class ServerProgram:
    path: str
    is_mariadb: bool


def main(command: list[str]) -> int:
    if os.environ.get("DATABASE_HOST"):
        return subprocess.call(command)
    requested = os.environ.get("MYSQL_SERVER", "")
    program = find_server_program(requested)
    if not program and requested:
        print(f"MYSQL_SERVER: no program `{requested}` found.")
        return 1
    if not program:
        print("SKIPPED on MySQL: neither mariadbd nor mysqld is installed (Debian: apt install mariadb-server).")
        return 1 if os.environ.get("CI") else 0
    with (
        tempfile.TemporaryDirectory(prefix="gisttracker-mysql-") as folder,
        running_server(program, Path(folder)) as variables,
    ):
        return subprocess.call(command, env={**os.environ, **variables})


def find_server_program(requested: str = "") -> ServerProgram | None:
    """The program named by `requested`, or else an installed one; None if there is none."""
    for name in [requested] if requested else ["mariadbd", "mysqld"]:
        path = shutil.which(name, path=SEARCH_PATH)
        if path:
            # The name is not reliable: Debian's mysqld can be a link to mariadbd.
            version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
            return ServerProgram(path, is_mariadb="mariadb" in version.lower())
    return None


@contextmanager
def running_server(program: ServerProgram, folder: Path) -> Iterator[dict[str, str]]:
    """Start a server in `folder`; yields the DATABASE_* variables to connect to it."""
    server = Server(program, folder)
    server.start()
    try:
        yield server.variables
    finally:
        server.stop()


class Server:
    """A server that can be stopped, and started again with its data."""

    def __init__(self, program: ServerProgram, folder: Path) -> None:
        if os.geteuid() == 0:
            folder.chmod(0o755)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._program, self._folder = program, folder
        self._user = ["--user=root"] if os.geteuid() == 0 else []
        initialize_data_directory(program, folder / "data", self._user)
        (folder / "init.sql").write_text(
            "CREATE USER IF NOT EXISTS pipedrive@'%' IDENTIFIED BY 'pipedrive';\nGRANT ALL ON *.* TO pipedrive@'%';\n"
        )

    @property
    def variables(self) -> dict[str, str]:
        return {
            "DATABASE_HOST": "127.0.0.1",
            "DATABASE_PORT": str(self.port),
            "DATABASE_USERNAME": "pipedrive",
            "DATABASE_PASSWORD": "pipedrive",
            "DATABASE_NAME": "gisttracker",
        }

    def start(self) -> None:
        folder, log = self._folder, self._folder / "log"
        command = [self._program.path, "--no-defaults", *self._user, f"--datadir={folder}/data"]
        command += [
            f"--socket={folder}/s.sock",
            f"--port={self.port}",
            f"--pid-file={folder}/pid",
            f"--init-file={folder}/init.sql",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--skip-log-bin",
            "--innodb-flush-log-at-trx-commit=0",
            "--max-connections=500",
        ]
        command += [] if self._program.is_mariadb else ["--mysqlx=OFF", "--secure-file-priv=NULL"]
        with log.open("w") as log_file:
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log_file)
        try:
            wait_until_ready(self.port, self.process, log)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(timeout=60)


def initialize_data_directory(program: ServerProgram, data: Path, user: list[str]) -> None:
    if program.is_mariadb:
        installer = shutil.which("mariadb-install-db", path=SEARCH_PATH) or "mariadb-install-db"
        options = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        command = [installer, "--no-defaults", *user, f"--datadir={data}", *options]
    else:
        command = [program.path, "--no-defaults", *user, f"--datadir={data}", "--initialize-insecure"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the server accepts connections; exit with its log if it does not start."""
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
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
