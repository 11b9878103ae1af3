"""What auxiliary classifiers say together, and what is refused where they are silent."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from comp.errors import DataError, RunMismatchError
from comp.files import Workspace, sha256
from comp.masks.rules import NO_RULES, Rules
from comp.store.heard import answer_hashes, open_heard, read_answers
from comp.store.presence import PresenceWriter, presence_file


def write_answers(folder: Path, kind: str, values: dict[str, float]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    writer = PresenceWriter(1)
    for i, value in enumerate(values.values()):
        writer.say(i, np.array([value], np.float32))
        writer.see(i, np.ones((1, 1, 1), np.float32))
    path = presence_file(folder, kind, "none")
    writer.commit(path, dict(enumerate(values)), ["roof"])
    return path


@pytest.fixture
def told(tmp_path: Path) -> tuple[Workspace, Any]:
    """Run a speaks, run b never did."""
    workspace = Workspace(tmp_path, "toy")
    for fold, value in ((0, 0.25), (1, 0.75)):
        write_answers(workspace.fold("a", fold), "test", {"x": value, "y": 0.5})
    spoke = {f"fold{k}/oof.none.presence.csv": "h" for k in (0, 1)}
    members = [
        SimpleNamespace(run="a", views="none", weight=700, oof=spoke),
        SimpleNamespace(run="b", views="none", weight=300, oof={"fold0/oof.none.npy": "h"}),
    ]
    recipe = SimpleNamespace(members=members, clean_up=Rules(presence=0.4), classes=("roof",))
    return workspace, recipe


def test_the_mean_is_of_those_that_speak_over_folds(told: tuple[Workspace, Any]) -> None:
    workspace, recipe = told
    assert open_heard(workspace, recipe, "test", [0, 1])("x") == pytest.approx([0.5])
    assert open_heard(workspace, recipe, "test", [1])("x") == pytest.approx([0.75])
    recipe.clean_up = NO_RULES
    assert open_heard(workspace, recipe, "oof", [0, 1])("x") is None


def test_silence_is_refused(told: tuple[Workspace, Any]) -> None:
    workspace, recipe = told
    with pytest.raises(RunMismatchError, match=r"run 'a': .*fold2.* is missing, and the ensemble"):
        open_heard(workspace, recipe, "test", [0, 2])
    with pytest.raises(DataError, match="image 'z': an auxiliary classifier's table has no row"):
        open_heard(workspace, recipe, "test", [0])("z")


def test_a_table_is_the_one_that_the_result_names(tmp_path: Path) -> None:
    path = write_answers(tmp_path / "fold0", "oof", {"x": 0.25})
    files: dict[str, Any] = {path.name: {"sha256": sha256(path)}}
    run: Any = SimpleNamespace(dir=tmp_path, folds={0: {"files": files}})
    answers = read_answers(run, 0, "oof", "none", 1)
    assert answers is not None and answers["x"].tolist() == [0.25]
    assert read_answers(run, 0, "test", "none", 1) is None
    assert answer_hashes(run, "oof", "none") == {f"fold0/{path.name}": sha256(path)}
    assert answer_hashes(run, "test", "none") == {}
    path.write_text(path.read_text().replace("0.25", "0.75"))
    with pytest.raises(DataError, match=r"is not the file that its result\.json names"):
        read_answers(run, 0, "oof", "none", 1)
