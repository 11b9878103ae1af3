"""Which storages are taken, what is said of those that are not, and that SQLite waits for the disk."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from comp.errors import DiskError, LockedError, UsageError
from comp.tuning import storage
from comp.tuning.storage import Place, parse_url, show_url, sqlite_url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://me:secret@host/db", "got mysql://..."),
        ("journal.log", "got 'journal.log', no URL"),
        ("sqlite://", "a study in memory would be lost"),
        ("sqlite:///:memory:", "a study in memory would be lost"),
        ("postgresql://me:secret@host:port/db", "the postgresql URL cannot be read"),
        ("postgresql+nothing://me:secret@host/db", "the postgresql+nothing URL cannot be read"),
    ],
)
def test_other_urls_are_refused_without_their_password(url: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_url(url)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_plain_postgresql_is_psycopgs_and_is_shown_without_secrets() -> None:
    pytest.importorskip("psycopg")
    url = parse_url("postgresql://me:se%40cret@host/db?password=secret&sslmode=require")
    assert url.drivername == "postgresql+psycopg"
    assert show_url(url) == "postgresql+psycopg://me:***@host/db"


def test_an_unreachable_server_is_said_within_seconds_without_its_password() -> None:
    pytest.importorskip("psycopg")
    began = time.monotonic()
    with pytest.raises(UsageError) as caught:
        Place("postgresql://me:s{ecre}t@127.0.0.1:1/db")
    text = str(caught.value)
    assert text.startswith("storage postgresql+psycopg://me:***@127.0.0.1:1/db: ")
    assert "is the server up" in text
    assert "ecre" not in text
    assert time.monotonic() - began < 2 * storage.CONNECT_SECONDS


def test_a_missing_driver_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(
        UsageError, match=r"driver is not installed: pip install 'comp\[postgres\]'"
    ):
        Place("postgresql://me:secret@host/db")


@pytest.mark.parametrize("content", [b"not a database, but long enough to be read as one\n" * 9])
def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "study.db"
    path.write_bytes(content)
    with pytest.raises(
        UsageError, match=r"study.db: file is not a database; is the file a study's\?"
    ):
        Place(sqlite_url(path))
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="cannot write"):
        Place(sqlite_url(tmp_path / "file" / "study.db"))


def test_sqlite_waits_for_the_disk_and_for_others(quick: Path) -> None:
    place = Place(sqlite_url(quick / "study.db"))
    with place._rdb.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 60_000
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"
    place.close()


def test_who_finds_the_study_locked_is_told_by_whom(
    quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(sqlite_url(quick / "study.db"))
    monkeypatch.setattr(storage, "LOCK_SECONDS", 0)
    with place.alone("s"), pytest.raises(LockedError, match="is used by pid"), place.alone("s"):
        pass
    with place.alone("s"):  # freed
        pass
    place.close()


def test_a_busy_database_is_asked_again_and_at_last_given_up(
    quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "LOCK_SECONDS", 0)
    place = Place(sqlite_url(quick / "study.db"))
    monkeypatch.setattr(time, "sleep", lambda _: other.rollback())
    other = sqlite3.connect(quick / "study.db")
    other.execute("BEGIN EXCLUSIVE")

    def write() -> int:
        return int(place.storage.create_new_study([1], "s"))

    assert place.again(write) == 1
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(UsageError, match=r"storage sqlite:.*: database is locked"):
        place.again(lambda: place.storage.create_new_study([1], "t"), seconds=0)
    other.close()
    place.close()


def test_a_full_disk_is_said_at_once(quick: Path) -> None:
    from sqlalchemy import event

    place = Place(sqlite_url(quick / "study.db"))
    place._rdb.engine.dispose()
    event.listen(
        place._rdb.engine,
        "connect",
        lambda connection, _: connection.execute("PRAGMA max_page_count = 1"),
    )
    study = place.storage.create_new_study([1], "s")
    began = time.monotonic()
    with pytest.raises(DiskError, match=r"cannot write .*study.db: .*full; free space"):
        place.again(lambda: place.storage.set_study_user_attr(study, "a", "b" * 10**6))
    assert time.monotonic() - began < 5
    place.close()
