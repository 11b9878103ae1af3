"""Two generations: the newest whole one is read, corrupt ones are named, nothing begins anew in silence."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from comp.errors import DataError, DiskError
from comp.store.generations import (
    Position,
    read_generation,
    remove_generations,
    restart_corrupt,
    write_generation,
)

FIRST, SECOND, THIRD = Position(3, 8), Position(4), Position(4, 10)


def write(folder: Path, *positions: Position) -> None:
    for at in positions:
        write_generation(folder, str(at).encode() * 100, at, {"torch": "2.0"})


def read(folder: Path) -> tuple[str | None, list[str]]:
    said: list[str] = []
    found = read_generation(folder, said.append)
    if found is None:
        return None, said
    data, at, versions = found
    assert data == str(at).encode() * 100 and versions == {"torch": "2.0"}
    return str(at), said


def test_positions_are_ordered_and_said() -> None:
    assert [str(p) for p in sorted([THIRD, FIRST, SECOND])] == [
        "epoch 4 step 8",
        "epoch 4",
        "epoch 5 step 10",
    ]


def test_the_newest_of_two_is_read(tmp_path: Path) -> None:
    assert read(tmp_path) == (None, [])
    write(tmp_path, FIRST, SECOND, THIRD)
    assert read(tmp_path) == ("epoch 5 step 10", [])
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint.0.json",
        "checkpoint.0.pt",
        "checkpoint.1.json",
        "checkpoint.1.pt",
    ]


def spoil(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "a bit":
        data[len(data) // 2] ^= 1
    elif how == "gone":
        path.unlink()
        return
    else:
        del data[{"empty": 0, "10 bytes": 10, "half": len(data) // 2, "but one": -1}[how] :]
    path.write_bytes(bytes(data))


HOW = ("a bit", "gone", "empty", "10 bytes", "half", "but one")


@pytest.mark.parametrize("how", HOW)
def test_a_corrupt_newest_is_named_and_the_one_before_taken(how: str, tmp_path: Path) -> None:
    write(tmp_path, FIRST, SECOND)
    spoil(tmp_path / "checkpoint.1.pt", how)
    said = "checkpoint checkpoint.1.pt of epoch 4 is corrupt (sha256), using the one before: epoch 4 step 8"
    assert read(tmp_path) == ("epoch 4 step 8", [said])
    write(tmp_path, THIRD)  # over the corrupt one
    assert read(tmp_path) == ("epoch 5 step 10", [])
    spoil(tmp_path / "checkpoint.1.pt", "a bit")
    assert read(tmp_path)[0] == "epoch 4 step 8"


@pytest.mark.parametrize("how", HOW)
def test_without_a_whole_one_it_refuses_unless_told_to_restart(how: str, tmp_path: Path) -> None:
    write(tmp_path, FIRST, SECOND)
    assert restart_corrupt(tmp_path) is None and read(tmp_path)[0] == "epoch 4"
    for name in ("checkpoint.0.pt", "checkpoint.1.pt"):
        spoil(tmp_path / name, how)
    for _ in range(2):  # said each time
        with pytest.raises(DataError, match=r"(?s)epoch 4 is corrupt.*epoch 4 step 8.*--restart"):
            read(tmp_path)
    said = restart_corrupt(tmp_path)
    assert said is not None and said.endswith("it begins anew")
    assert read(tmp_path) == (None, []) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "{", "[]", '{"epoch": 1}', '{"epoch": "x", "sha256": ""}'])
def test_a_manifest_that_says_nothing_is_corrupt(text: str, tmp_path: Path) -> None:
    write(tmp_path, FIRST)
    (tmp_path / "checkpoint.0.json").write_text(text)
    with pytest.raises(DataError, match=r"checkpoint\.0\.json is corrupt"):
        read(tmp_path)
    write(tmp_path, SECOND)
    assert read(tmp_path)[0] == "epoch 4"


def test_a_manifest_from_before_steps_were_saved_is_read(tmp_path: Path) -> None:
    write(tmp_path, SECOND)
    note = tmp_path / "checkpoint.0.json"
    note.write_text(note.read_text().replace('"step": 0,', "").replace('"torch": "2.0"', ""))
    found = read_generation(tmp_path, print)
    assert found is not None and found[1] == SECOND and found[2] == {}


def test_a_file_without_a_manifest_was_never_acknowledged(tmp_path: Path) -> None:
    write(tmp_path, FIRST)
    (tmp_path / "checkpoint.0.json").unlink()
    assert read(tmp_path) == (None, [])


def test_a_full_disk_leaves_the_other_generation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, FIRST, SECOND)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(DiskError, match=r"disk full writing .*checkpoint\.0\.pt"):
            write(tmp_path, THIRD)
    assert read(tmp_path) == ("epoch 4", [])
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_folder_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="fold0 is gone: it was moved or deleted while it ran"):
        write_generation(tmp_path / "fold0", b"x", Position(1))
    assert not (tmp_path / "fold0").exists()


def test_a_manifest_that_cannot_be_removed_is_the_disks_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_generation(tmp_path, b"x", Position(1))

    def unlink(self: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", unlink)
    for call in (
        lambda: write_generation(tmp_path, b"y", Position(2)),
        lambda: remove_generations(tmp_path),
    ):
        with pytest.raises(DiskError, match=r"cannot remove .*: Read-only file system"):
            call()
    assert read_generation(tmp_path, print) == (b"x", Position(1), {})


def test_removal_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path, FIRST, SECOND)
    remove_generations(tmp_path)
    assert list(tmp_path.iterdir()) == []
