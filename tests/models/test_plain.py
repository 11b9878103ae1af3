"""Files of torch.save: tensors come through; code, bombs and junk are refused in few words and never run."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from comp.models.plain import NotPlainError, load_plain


class Evil:
    """Read by a plain unpickler it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle0", "pickle2", "pickle4", "nested"])
@pytest.mark.parametrize("from_memory", [False, True])
def test_code_is_named_and_not_run(tmp_path: Path, how: str, from_memory: bool) -> None:
    path, mark = tmp_path / "x.pt", tmp_path / "PWNED"
    held: Any = {"a": torch.zeros(1), "e": Evil(mark)}
    if how in ("zip", "legacy"):
        torch.save(held, path, _use_new_zipfile_serialization=how == "zip")
    elif how == "nested":
        torch.save({"state_dict": {"deep": [held]}}, path)
    else:
        path.write_bytes(pickle.dumps(Evil(mark), protocol=int(how[-1])))
    source = io.BytesIO(path.read_bytes()) if from_memory else path
    with pytest.raises(NotPlainError, match=r"^refused: contains code \(posix\.system\)$"):
        load_plain(source)
    assert not mark.exists()
    if how.startswith("pickle"):
        pickle.loads(path.read_bytes())  # it is what it should be
        assert mark.exists()


def test_tensors_and_plain_values_come_through(tmp_path: Path) -> None:
    held = {"w": torch.arange(5), "epoch": 3, "names": ["a"], "at": None}
    torch.save(held, tmp_path / "x.pt")
    for source in (tmp_path / "x.pt", io.BytesIO((tmp_path / "x.pt").read_bytes())):
        found = load_plain(source)
        assert torch.equal(found.pop("w"), held["w"])
        assert found == {"epoch": 3, "names": ["a"], "at": None}
    with pytest.raises(FileNotFoundError):
        load_plain(tmp_path / "none.pt")


def test_a_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1 << 22)}, tmp_path / "x.pt")
    with (
        zipfile.ZipFile(tmp_path / "x.pt") as stored,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for info in stored.infolist():
            packed.writestr(info.filename, stored.read(info))
    assert (tmp_path / "bomb.pt").stat().st_size < 100_000
    with pytest.raises(NotPlainError, match=r"refused: unpacks to 17 MB from 0\.0 MB"):
        load_plain(tmp_path / "bomb.pt")
    assert load_plain(tmp_path / "x.pt")["w"].shape == (1 << 22,)


def junk(how: str, whole: bytes) -> bytes:
    """Bytes that are no file of torch.save."""
    if how == "zip of something else":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("a/data.pkl", b"cos\nsystem\n.")
        return buffer.getvalue()
    return {
        "empty": b"", "text": b"hello world" * 100, "cut": whole[: len(whole) // 2], "PK": b"PK\x03\x04" + b"x" * 50,
        "deep": b"\x80\x02" + b"(" * 300_000, "claims": b"\x80\x02X\xff\xff\xff\x7fabc.",
    }[how]  # fmt: skip


HOWS = ["empty", "text", "cut", "PK", "deep", "claims", "zip of something else"]


@pytest.mark.parametrize("how", HOWS)
def test_junk_is_refused_in_one_line(tmp_path: Path, how: str) -> None:
    torch.save({"w": torch.arange(500)}, tmp_path / "x.pt")
    (tmp_path / "y.pt").write_bytes(junk(how, (tmp_path / "x.pt").read_bytes()))
    with pytest.raises(NotPlainError) as caught:
        load_plain(tmp_path / "y.pt")
    assert "\n" not in str(caught.value) and "weights_only` argument" not in str(caught.value)


def test_a_script_of_torch_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(1)}, buffer)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("archive/constants.pkl", b"")  # by this torch knows its scripts
    with pytest.raises(NotPlainError, match="TorchScript"):
        load_plain(io.BytesIO(buffer.getvalue()))
