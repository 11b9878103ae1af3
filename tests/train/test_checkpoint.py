"""Checkpoints: tensors and plain values come back, code does not; the two generations are store's."""

import pickle
from pathlib import Path

import pytest
import torch

from comp.errors import DataError
from comp.store.generations import Position, write_generation
from comp.train import checkpoint as checkpoint_module
from comp.train.checkpoint import read_checkpoint, remove_checkpoints, write_checkpoint


def test_the_newest_of_two_generations_is_read(tmp_path: Path) -> None:
    for epoch, step in ((1, 0), (1, 7), (2, 0)):
        write_checkpoint(tmp_path, {"w": torch.full((3,), epoch + step / 10)}, epoch, step)
    state = read_checkpoint(tmp_path, print)
    assert state is not None and state["w"].tolist() == [2.0, 2.0, 2.0]
    assert len(list(tmp_path.glob("*.pt"))) == 2


def test_a_corrupt_generation_is_named_and_passed_over(tmp_path: Path) -> None:
    for step in (0, 10):
        write_checkpoint(tmp_path, {"w": torch.full((3,), float(step))}, 3, step)
    newest = tmp_path / "checkpoint.1.pt"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(bytes(data))
    said: list[str] = []
    state = read_checkpoint(tmp_path, said.append)
    assert state is not None and state["w"].tolist() == [0.0, 0.0, 0.0]
    assert said == [
        "checkpoint checkpoint.1.pt of epoch 4 step 10 is corrupt (sha256), using the one before: epoch 3"
    ]


def test_only_corrupt_ones_are_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, {"w": torch.zeros(1)}, 1)
    (tmp_path / "checkpoint.0.json").write_text('{"epoch": 1, "sha')
    with pytest.raises(DataError, match=r"checkpoint\.0\.json is corrupt.*comp cv --restart"):
        read_checkpoint(tmp_path, print)


def test_another_torch_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_module, "versions", lambda: {"comp": "0.0", "torch": "1.13"})
        write_checkpoint(tmp_path, {"w": torch.zeros(1)}, 1, 5)
    said: list[str] = []
    assert read_checkpoint(tmp_path, said.append) is not None
    assert len(said) == 1 and "of epoch 2 step 5 is by comp 0.0 (now " in said[0]
    assert "torch 1.13" in said[0] and said[0].endswith("resumed, but not bit for bit")


class Code:
    """Pickled, it prints when it is read."""

    def __reduce__(self) -> tuple[object, ...]:
        return print, ("PWNED",)


def test_code_in_a_checkpoint_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for data in (pickle.dumps(Code()), None):
        if data is None:
            torch.save({"w": Code()}, tmp_path / "x.pt")
            data = (tmp_path / "x.pt").read_bytes()
        write_generation(tmp_path, data, Position(1))
        with pytest.raises(
            DataError, match=r"of epoch 1 in .*: refused: contains code \(.*print\); delete it"
        ):
            read_checkpoint(tmp_path, print)
    assert "PWNED" not in capsys.readouterr().out


def test_removal_leaves_nothing(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, {"w": torch.zeros(1)}, 1)
    remove_checkpoints(tmp_path)
    assert list(tmp_path.iterdir()) == []
