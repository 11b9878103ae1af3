"""Where studies are kept: an SQLite file, or PostgreSQL for many machines; both are Optuna's own tables.

Refuses other schemes, what cannot be reached and what is no study's database; prints no password.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from comp.data.samples.sampling import derive
from comp.errors import CompError, DiskError, LockedError, UsageError
from comp.files import disk_error, lock

CONNECT_SECONDS = 5  # until an unreachable server is said to be one
LOCK_SECONDS = 60  # for a lock that another process holds
AGAIN_SECONDS = 60.0  # a storage that was reached once may be away so long
KEEPALIVES = "-c tcp_keepalives_idle=20 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
KINDS = "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"
T = TypeVar("T")


def sqlite_url(path: Path) -> str:
    """The URL of an SQLite file."""
    return f"sqlite:///{path}"


class Place:
    """A reachable storage.

    Args:
        url: `sqlite:///FILE` (made when it is not there) or `postgresql://...` (psycopg).

    Raises:
        UsageError: unknown scheme, no driver, unreachable, not a database of studies.
    """

    def __init__(self, url: str) -> None:
        import optuna
        from optuna.exceptions import OptunaError
        from sqlalchemy.exc import SQLAlchemyError

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._url = parse_url(url)
        self.file = Path(self._url.database) if self.is_sqlite else None
        self.shown = show_url(self._url)
        if self.file is not None:
            try:
                self.file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise disk_error(self.file, 0, error) from error
        try:
            self._locking = self._make_engine()
            with self.alone(""):  # tables are made by one process
                self._check()
                self._rdb = self._make_storage()
        except (SQLAlchemyError, OptunaError, ImportError, RuntimeError) as error:
            raise self._refused(error) from error
        self.storage = optuna.storages.get_storage(self._rdb)

    @property
    def is_sqlite(self) -> bool:
        return bool(self._url.get_backend_name() == "sqlite")

    @contextlib.contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Hold the lock on `what` (a study's name) while the block runs; freed when the process dies.

        SQLite: a lock file beside the database, for all its studies. PostgreSQL: an advisory lock of the
        transaction of a connection of its own.

        Raises:
            LockedError: somebody else holds it for `LOCK_SECONDS`.
        """
        if self.file is not None:
            with lock(self.file.with_name(f"{self.file.name}.lock"), LOCK_SECONDS):
                yield
            return
        from sqlalchemy import text
        from sqlalchemy.exc import OperationalError

        key = derive("comp tune", what) % 2**63
        with self._locking.begin() as connection:
            connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
            try:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
            except OperationalError as error:
                if "lock timeout" not in str(error.orig):
                    raise
                raise LockedError(
                    f"{self.shown}: another process holds the study's lock for {LOCK_SECONDS} s; "
                    "run again, or stop it"
                ) from None
            yield

    def again(self, call: Callable[[], T], seconds: float | None = None) -> T:
        """Return what `call` returns; when the storage is busy or away, try again for a while.

        `call` may have worked although its answer was lost.

        Raises:
            UsageError: it is away for longer, or will not take it.
            DiskError: its disk is full.
        """
        from optuna.exceptions import StorageInternalError
        from sqlalchemy.exc import SQLAlchemyError

        deadline = time.monotonic() + (AGAIN_SECONDS if seconds is None else seconds)
        wait = 0.05
        while True:
            try:
                return call()
            except (StorageInternalError, SQLAlchemyError) as error:
                cause = error.__cause__ or error
                if not self._passes(cause) or time.monotonic() >= deadline:
                    raise self._refused(cause) from error
            time.sleep(wait * random.uniform(0.5, 1.5))
            wait = min(2 * wait, 5.0)

    def _passes(self, error: BaseException) -> bool:
        """Whether waiting may cure it: another process writes, or the server is away."""
        from sqlalchemy.exc import InterfaceError, OperationalError

        if self.is_sqlite:
            return "locked" in str(error)
        return isinstance(error, (OperationalError, InterfaceError))

    def close(self) -> None:
        """Close every connection."""
        self._rdb.remove_session()
        self._rdb.engine.dispose()
        self._locking.dispose()

    def _arguments(self) -> dict[str, Any]:
        if self.is_sqlite:
            return {"connect_args": {"timeout": LOCK_SECONDS}}
        given = {"connect_timeout": CONNECT_SECONDS, "options": KEEPALIVES}
        return {"connect_args": {k: v for k, v in given.items() if k not in self._url.query}}

    def _make_engine(self) -> Any:
        import sqlalchemy

        return sqlalchemy.create_engine(
            self._url, poolclass=sqlalchemy.pool.NullPool, **self._arguments()
        )

    def _check(self) -> None:
        """Read something, so that what is no database is said to be none."""
        from sqlalchemy import text

        if self.is_sqlite:
            with self._locking.connect() as connection:
                connection.execute(text("SELECT count(*) FROM sqlite_master"))

    def _make_storage(self) -> Any:
        from optuna.storages import RDBStorage
        from sqlalchemy import event

        text = self._url.render_as_string(hide_password=False)
        arguments = self._arguments()
        if not self.is_sqlite:
            arguments["pool_pre_ping"] = True  # a server that was started anew is found again
        braced = text.replace("{", "{{").replace("}", "}}")  # Optuna takes it for a template
        made = RDBStorage(braced, engine_kwargs=arguments)
        if self.is_sqlite:
            made.remove_session()
            made.engine.dispose()  # connections so far were without it
            event.listen(made.engine, "connect", _sync_fully)
        return made

    def _refused(self, error: BaseException) -> CompError:
        """Say what the storage answered, without a password."""
        if isinstance(error, ImportError):
            return UsageError(
                f"storage {self.shown}: its driver is not installed: pip install 'comp[postgres]'"
            )
        said = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
        said = " ".join(line.strip() for line in said.splitlines()[:2])
        if self._url.password:
            said = said.replace(str(self._url.password), "***")
        if "disk is full" in said or "disk I/O error" in said:
            return DiskError(f"cannot write {self.file}: {said}; free space and run again")
        hint = (
            "is the file a study's?" if self.is_sqlite else "is the server up, and the name right?"
        )
        return UsageError(f"storage {self.shown}: {said}; {hint}")


def parse_url(url: str) -> Any:
    """Parse and check a storage's URL; plain `postgresql://` is psycopg's."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme.partition("+")[0] not in ("sqlite", "postgresql"):
        got = f"{scheme}://..." if scheme else f"{url[:40]!r}, no URL"
        raise UsageError(f"--storage: expected {KINDS}; got {got}")
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, ValueError):  # also a driver after the + that nobody knows
        raise UsageError(f"--storage: the {scheme} URL cannot be read; expected {KINDS}") from None
    if parsed.get_backend_name() == "sqlite":
        if parsed.database in (None, "", ":memory:") or str(parsed.database).startswith("file:"):
            raise UsageError(
                "--storage: a study in memory would be lost; name a file: sqlite:///FILE"
            )
        return parsed
    return parsed.set(drivername="postgresql+psycopg") if scheme == "postgresql" else parsed


def show_url(url: Any) -> str:
    """The URL for people: no password, nor options that could hold one."""
    return str(url.set(query={}).render_as_string(hide_password=True))


def _sync_fully(connection: sqlite3.Connection, _: object) -> None:
    """Let SQLite wait for the disk at every commit: what was told survives a loss of power."""
    connection.execute("PRAGMA synchronous = FULL")
