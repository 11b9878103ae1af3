"""A real PostgreSQL server for the tests, started by them: on a unix socket, in a folder of its own.

`COMP_TEST_POSTGRES` names another server's URL instead (its user must be allowed to make databases).
Where neither is possible the tests skip, with the reason. Tests take `postgres_url`, are marked
`postgres`, and take `postgres_server` too if they restart it.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

PATIENCE_SECONDS = 60.0
# Becomes the server, and stops it when the other end of standard input closes: so it dies with the
# tests however they end. Its parent is not the server, which would wonder whose child it is.
START = 'exec 3<&0; ( (read -r _ <&3; kill -INT $$) & ); exec "$@" 3<&- </dev/null'


class CannotStart(Exception):
    """Why there is no server here, in one line."""


@functools.cache
def why_no_postgres() -> str | None:
    """Return why tests that need PostgreSQL cannot run here, or None; starts nothing."""
    if importlib.util.find_spec("psycopg") is None:
        return "psycopg is not installed"
    if os.environ.get("COMP_TEST_POSTGRES"):
        return None
    if server_programs() is None:
        return "no PostgreSQL server installed, and COMP_TEST_POSTGRES is not set"
    if os.geteuid() == 0 and unprivileged() is None:
        return "PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody`"
    return None


def server_programs() -> Path | None:
    """Return the folder of `initdb` and `postgres`: of PATH, of pg_config, or Debian's newest."""
    places = [Path(found).parent for found in [shutil.which("initdb")] if found]
    if shutil.which("pg_config"):
        asked = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True)
        places.append(Path(asked.stdout.strip()))
    debian = [p for p in Path("/usr/lib/postgresql").glob("*/bin") if p.parent.name.isdigit()]
    places += sorted(debian, key=lambda path: int(path.parent.name), reverse=True)
    for place in places:
        if all(os.access(place / name, os.X_OK) for name in ("initdb", "postgres")):
            return place
    return None


def unprivileged() -> tuple[int, int] | None:
    """Return the user and group that the server runs as where the tests run as root."""
    import pwd

    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    return None


class Server:
    """A server that answers."""

    def __init__(self, url: str) -> None:
        from sqlalchemy import make_url

        self._url = make_url(url).set(drivername="postgresql+psycopg")
        self.wait()

    def url(self, database: str) -> str:
        """Return what SQLAlchemy and Optuna call this database."""
        return self._url.set(database=database).render_as_string(hide_password=False)

    def command(self, statement: str) -> None:
        """Run one statement outside a transaction, in the database that the server's URL names."""
        from sqlalchemy import NullPool, create_engine, text

        engine = create_engine(self._url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))

    def wait(self) -> None:
        """Return once the server answers; CannotStart if it does not."""
        from sqlalchemy.exc import OperationalError

        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return self.command("SELECT 1")
            except OperationalError as error:
                if time.monotonic() > end or self.ended():
                    raise CannotStart(self.last_words() or last_line(str(error.orig))) from error
            time.sleep(0.05)

    def ended(self) -> bool:
        """Return whether there is nothing to wait for."""
        return True

    def last_words(self) -> str:
        """Return the last line of the server's log, where there is one to read."""
        return ""

    def restart(self) -> None:
        """Stop the server and start it again on the same data; every connection breaks."""
        pytest.skip("the server that COMP_TEST_POSTGRES names is not the tests' to restart")

    def close(self) -> None:
        """Leave the server as it was found."""


class OwnServer(Server):
    """A server of the tests' own; it and its folder are gone when they end."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._process: subprocess.Popen[bytes] | None = None
        # Not pytest's folder: that is root's alone, and a socket's path has at most 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="comp-pg-", dir="/tmp"))
        self._as: dict[str, Any] = {"cwd": self._folder, "env": {"PATH": os.defpath, "LC_ALL": "C"}}
        try:
            if os.geteuid() == 0:
                user = unprivileged()
                assert user is not None
                os.chown(self._folder, *user)
                self._as |= {"user": user[0], "group": user[1], "extra_groups": []}
            self._make()
            self._start()
            super().__init__(f"postgresql://comp@/postgres?host={self._folder}")
        except BaseException:
            self.close()
            raise

    def _make(self) -> None:
        command = [str(self._programs / "initdb"), "-D", "data", "--username=comp", "--auth=trust"]
        command += ["--encoding=UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(command, **self._as, capture_output=True, text=True)
        if done.returncode != 0:
            raise CannotStart(last_line(done.stderr))

    def _start(self) -> None:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._folder),
            "fsync": "off",  # what is written survives every process, only not the machine
            "full_page_writes": "off",
            "shared_buffers": "32MB",
        }
        command = [str(self._programs / "postgres"), "-D", "data"]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", START, "sh", *command],
                **self._as,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests, which then stop the server
            )

    def _stop(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(PATIENCE_SECONDS)
            self._process = None

    def ended(self) -> bool:
        """Return whether the server's process has ended."""
        return self._process is None or self._process.poll() is not None

    def last_words(self) -> str:
        """Return the last line of the log."""
        return last_line((self._folder / "log").read_text(errors="replace"))

    def restart(self) -> None:
        """Stop the server and start it again on the same data; every connection breaks."""
        self._stop()
        self._start()
        self.wait()

    def close(self) -> None:
        """Stop the server and remove its folder."""
        try:
            self._stop()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


def last_line(text: str) -> str:
    """Return the last line that holds anything."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """The server of all tests of this process; what a test leaves in it, others see."""
    why = why_no_postgres()
    if why:
        pytest.skip(why)
    named = os.environ.get("COMP_TEST_POSTGRES")
    try:
        programs = server_programs()
        server = Server(named) if named or programs is None else OwnServer(programs)
    except (CannotStart, OSError) as error:
        if named:
            pytest.fail(f"COMP_TEST_POSTGRES names a server that does not answer: {error}")
        pytest.skip(f"PostgreSQL does not start here: {error}")
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres_server: Server) -> Iterator[str]:
    """The URL, `postgresql+psycopg://...`, of an empty database that is the test's alone."""
    name = f"comp_{uuid.uuid4().hex}"
    postgres_server.command(f"CREATE DATABASE {name}")
    yield postgres_server.url(name)
    postgres_server.command(f"DROP DATABASE {name} WITH (FORCE)")
