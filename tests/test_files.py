"""The workspace and the only ways to write, lock and hash a file."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp import files
from comp.errors import ConfigError, DataError, DiskError, LockedError, UsageError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


# --- the workspace


def test_find_root_looks_upward(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / files.COMPETITION_FILE).write_text("name: x\n")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert files.find_root(below) == tmp_path.resolve()
    assert files.find_root(tmp_path) == tmp_path.resolve()


def test_find_root_takes_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / files.COMPETITION_FILE).write_text("name: x\n")
    monkeypatch.chdir(tmp_path)
    assert files.find_root() == tmp_path.resolve()


def test_find_root_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no workspace at or above .*comp init.*--root"):
        files.find_root(tmp_path)


def test_path_names(tmp_path: Path) -> None:
    space = files.Workspace(tmp_path, "demo")
    assert space.configs == tmp_path / "configs"
    assert space.folds_csv == tmp_path / "folds" / "demo.csv"
    assert space.folds_json == tmp_path / "folds" / "demo.json"
    assert space.fold("unet", 2) == tmp_path / "runs" / "demo" / "unet" / "fold2"
    assert space.ensemble("best") == tmp_path / "ensembles" / "demo" / "best"
    assert space.submissions == tmp_path / "submissions"
    assert space.cache == tmp_path / ".cache" / "demo"
    assert space.relative(space.runs) == os.path.join("runs", "demo")
    assert space.relative(Path("/elsewhere/x")) == "/elsewhere/x"


@pytest.mark.parametrize(
    "name",
    ["", "..", "../x", "a/b", ".hidden", "a b", "-x", "a\n", "é", "/x", "a\0", "C:x", "a\\b", "=1", "~x",
     "x" * 5000, "nul", "CON", "Aux.txt", "lpt1.x"],
)  # fmt: skip
def test_names_cannot_leave_the_workspace(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="run name"):
        files.Workspace(tmp_path, "demo").run(name)
    with pytest.raises(UsageError, match="ensemble name"):
        files.Workspace(tmp_path, "demo").ensemble(name)


@pytest.mark.parametrize("name", ["null", "console", "com", "x.nul", "a..b", "9", "x" * 100])
def test_names_that_are_fine(name: str, tmp_path: Path) -> None:
    assert files.Workspace(tmp_path, "demo").run(name).name == name


# --- commit


@given(first=st.binary(max_size=200), second=st.text(max_size=200))
def test_commit_writes_and_replaces(
    tmp_path_factory: pytest.TempPathFactory, first: bytes, second: str
) -> None:
    path = tmp_path_factory.mktemp("commit") / "deep" / "er" / "x.bin"
    assert files.commit(path, first) == path
    assert path.read_bytes() == first
    files.commit(path, second)
    assert path.read_bytes() == second.encode()
    assert [p.name for p in path.parent.iterdir()] == ["x.bin"]


def test_commit_file_moves_a_finished_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    made = files.temporary(path)
    assert made.parent == tmp_path and made.name.startswith(".") and made.name.endswith(".tmp")
    made.write_bytes(b"abc")
    files.commit_file(made, path)
    assert path.read_bytes() == b"abc" and not made.exists()


def refuse(code: int) -> Any:
    def call(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return call


@pytest.mark.parametrize(
    ("call", "code", "message"),
    [
        ("fsync", errno.ENOSPC, "disk full writing .*kept.txt .*free space"),
        ("fsync", errno.EIO, "cannot write .*kept.txt: Input/output error"),
        ("replace", errno.EACCES, "cannot write .*kept.txt: Permission denied"),
    ],
)
def test_a_refused_commit_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int, message: str
) -> None:
    path = files.commit(tmp_path / "kept.txt", "old")
    monkeypatch.setattr(files.os, call, refuse(code))
    with pytest.raises(DiskError, match=message) as caught:
        files.commit(path, "new")
    assert caught.value.exit_code == 4
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["kept.txt"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.EMFILE, "too many open files: raise the limit"),
        (errno.ENOSPC, r"disk full writing x.bin \(.* MB are free\): free space and run again"),
        (errno.EROFS, "cannot write x.bin: Read-only file system"),
        (errno.ENOENT, None),
    ],
)
def test_what_the_machine_refuses_is_no_bug(code: int, message: str | None) -> None:
    said = files.known_os_error(OSError(code, os.strerror(code), "x.bin"))
    assert (said is None) == (message is None)
    if message is not None:
        assert re.fullmatch(message + ".*", str(said)) and said is not None and said.exit_code == 4
    assert files.known_os_error(ValueError("no")) is None


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DiskError, match="cannot write"):
        files.commit(tmp_path / "file" / "x.txt", "new")


@pytest.mark.parametrize("after", ["write", "fsync", "replace"])
def test_a_kill_in_commit_leaves_old_or_new(tmp_path: Path, after: str) -> None:
    """Kill -9 right after each step: the final name holds one of the two, whole."""
    path = files.commit(tmp_path / "x.txt", "old")
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom comp import files\n"
        "def then_die(call):\n"
        "    def wrapped(*a, **k):\n"
        "        call(*a, **k)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return wrapped\n"
        "if sys.argv[2] == 'write':\n"
        "    files.commit_file = then_die(lambda *a: None)\n"
        "else:\n"
        "    setattr(os, sys.argv[2], then_die(getattr(os, sys.argv[2])))\n"
        "files.commit(Path(sys.argv[1]), 'new')\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path), after], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == ("new" if after == "replace" else "old")
    files.commit(path, "newer")
    assert path.read_text() == "newer"


# --- JSON, hashes, text


@given(JSON)
def test_json_round_trip(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.mktemp("json") / "x.json"
    assert files.read_json(files.write_json(path, value)) == value


def test_nan_is_not_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "x.json", {"score": float("nan")})
    assert not list(tmp_path.iterdir())


def test_bad_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing file: .*none\.json"):
        files.read_json(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"a": ')
    with pytest.raises(DataError, match=r"cannot read .*half\.json as JSON"):
        files.read_json(tmp_path / "half.json")


def test_digest_does_not_depend_on_key_order() -> None:
    assert files.digest({"a": 1, "b": [1.5, None]}) == files.digest({"b": [1.5, None], "a": 1})
    assert files.digest({"a": 1}) != files.digest({"a": 2})
    assert len(files.digest({})) == 16
    json.dumps(files.digest("ä"))


def test_sha256(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc" * 100_000)
    assert files.sha256(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_read_text_takes_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfname: x\n")
    assert files.read_text(tmp_path / "bom.yaml") == "name: x\n"


def test_read_text_says_why_not(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9\n")
    for name in ("latin.yaml", "none.yaml"):
        with pytest.raises(ConfigError, match=f"cannot read .*{name}"):
            files.read_text(tmp_path / name)


# --- lock


def test_lock_is_exclusive_and_names_the_holder(tmp_path: Path) -> None:
    path = tmp_path / "run" / "lock"
    with files.lock(path):
        says = rf"run is used by pid {os.getpid()} on .* since"
        with pytest.raises(LockedError, match=says), files.lock(path):
            pass
    with files.lock(path):
        pass


def test_lock_is_freed_when_the_block_raises(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), files.lock(tmp_path / "lock"):
        raise RuntimeError
    with files.lock(tmp_path / "lock"):
        pass


def test_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom comp import files\n"
        "with files.lock(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=f"pid {child.pid} "), files.lock(tmp_path / "lock"):
            pass
        child.kill()
    with files.lock(tmp_path / "lock", wait_seconds=5):
        pass


def test_lock_waits(tmp_path: Path) -> None:
    import threading
    import time

    held, freed = threading.Event(), []

    def hold() -> None:
        with files.lock(tmp_path / "lock"):
            held.set()
            time.sleep(0.25)
            freed.append(True)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with files.lock(tmp_path / "lock", wait_seconds=10):
        assert freed
    thread.join()


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(outside)
    with (
        pytest.raises(DiskError, match=r"cannot write .*\.lock"),
        files.lock(tmp_path / "run" / ".lock"),
    ):
        pass
    assert outside.read_text() == "precious"


def test_a_link_in_the_place_of_a_file_is_replaced_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("precious")
    (tmp_path / "x.json").symlink_to(outside)
    files.commit(tmp_path / "x.json", "new")
    assert outside.read_text() == "precious" and (tmp_path / "x.json").read_text() == "new"
    (tmp_path / "log.txt").symlink_to(outside)
    with pytest.raises(OSError), open(tmp_path / "log.txt", "ab", opener=files.no_follow):
        pass
    with open(tmp_path / "new.txt", "ab", opener=files.no_follow) as file:
        file.write(b"x")
    assert outside.read_text() == "precious" and (tmp_path / "new.txt").stat().st_size == 1


def test_json_of_any_depth_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[" * 200_000)
    with pytest.raises(DataError, match=r"cannot read .*x\.json as JSON"):
        files.read_json(tmp_path / "x.json")


def test_a_folder_is_no_file_to_write() -> None:
    with pytest.raises(DiskError, match="it is a folder"):
        files.commit(Path("."), "x")
