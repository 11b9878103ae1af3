"""Two generations of resume checkpoints: the newest whole one is read, corrupt ones are named."""

from pathlib import Path

import torch

from comp.train.checkpoint import read_checkpoint, remove_checkpoints, write_checkpoint


def test_the_newest_of_two_generations_is_read(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        write_checkpoint(tmp_path, {"w": torch.full((3,), float(epoch))}, epoch)
    state = read_checkpoint(tmp_path, print)
    assert state is not None and state["w"].tolist() == [3.0, 3.0, 3.0]
    assert len(list(tmp_path.glob("*.pt"))) == 2


def test_a_corrupt_generation_is_named_and_passed_over(tmp_path: Path) -> None:
    for epoch in (1, 2):
        write_checkpoint(tmp_path, {"w": torch.full((3,), float(epoch))}, epoch)
    newest = tmp_path / "checkpoint.1.pt"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(bytes(data))
    said: list[str] = []
    state = read_checkpoint(tmp_path, said.append)
    assert state is not None and state["w"].tolist() == [1.0, 1.0, 1.0]
    assert said == ["checkpoint of epoch 2 (checkpoint.1.pt) is corrupt (sha256), passed over"]


def test_a_torn_note_is_no_checkpoint(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, {"w": torch.zeros(1)}, 1)
    (tmp_path / "checkpoint.0.json").write_text('{"epoch": 1, "sha')
    assert read_checkpoint(tmp_path, print) is None


def test_removal_leaves_nothing(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, {"w": torch.zeros(1)}, 1)
    remove_checkpoints(tmp_path)
    assert list(tmp_path.iterdir()) == []
