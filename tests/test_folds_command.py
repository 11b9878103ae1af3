"""`comp folds`: safe to run again, refuses to replace, needs no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from comp.commands.folds import run
from comp.config import Competition
from comp.data.split import read_folds
from comp.errors import DataError, FoldsError, RunMismatchError
from comp.files import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    for name in ("images", "masks"):
        (tmp_path / "data" / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(12):
        mask = np.zeros((10, 10), np.uint8)
        mask[: i % 4] = 255
        cv2.imwrite(
            str(tmp_path / "data" / "images" / f"{i:02d}.png"),
            rng.integers(0, 256, (10, 10, 3), np.uint8),
        )
        cv2.imwrite(str(tmp_path / "data" / "masks" / f"{i:02d}.png"), mask)
    return Workspace(tmp_path, "toy")


def competition(**folds: object) -> Competition:
    pairs = {"images": "images/{id}.png", "masks": "masks/{id}.png"}
    return Competition.model_validate(
        {
            "name": "toy",
            "task": "binary",
            "classes": ["blob"],
            "data": {"root": "data", "train": [pairs]},
            "folds": folds,
        }
    )


def test_makes_says_and_does_nothing_the_second_time(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    table = run(workspace, competition(n_splits=3))
    said = capsys.readouterr().out
    assert said.startswith("wrote folds/toy.csv\nstratified, seed 0, 3 fold(s), 12 images, hash ")
    assert said.splitlines()[-1].split() == ["all", "12", "-", "0.1500", "3"]
    written = workspace.folds_csv.stat().st_mtime_ns
    assert run(workspace, competition(n_splits=3), force=True) == table
    assert capsys.readouterr().out.startswith("folds/toy.csv is there and the same\n")
    assert workspace.folds_csv.stat().st_mtime_ns == written


def test_other_folds_are_refused_without_force(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    old = run(workspace, competition(n_splits=3))
    with pytest.raises(RunMismatchError) as caught:
        run(workspace, competition(n_splits=4, seed=2, scheme="kfold"))
    message = str(caught.value)
    assert message.startswith(
        "folds/toy.csv differs from what the competition says now: "
        "scheme stratified -> kfold, seed 0 -> 2, n_splits 3 -> 4"
    )
    assert message.endswith("keep it, or replace it with `comp folds --force`")
    assert read_folds(workspace, old.ids) == old
    capsys.readouterr()
    new = run(workspace, competition(n_splits=4), force=True)
    said = capsys.readouterr().out
    assert said.startswith("replaced folds/toy.csv; the old one is kept as folds/toy.")
    assert len(list(workspace.folds_csv.parent.glob("toy.*.csv"))) == 1
    assert read_folds(workspace, new.ids) == new != old


def test_new_images_are_counted(workspace: Workspace) -> None:
    run(workspace, competition(n_splits=3))
    for name in ("images", "masks"):
        (workspace.root / "data" / name / "00.png").rename(
            workspace.root / "data" / name / "99.png"
        )
    with pytest.raises(RunMismatchError, match="1 images are new, 1 images are gone"):
        run(workspace, competition(n_splits=3))


def test_a_damaged_file_is_replaced_with_force_only(workspace: Workspace) -> None:
    table = run(workspace, competition(n_splits=3))
    workspace.folds_csv.write_text("nonsense")
    with pytest.raises(
        FoldsError, match="expected the columns image_id,fold,group,stratum, got nonsense"
    ):
        run(workspace, competition(n_splits=3))
    run(workspace, competition(n_splits=3), force=True)
    assert read_folds(workspace, table.ids) == table


def test_no_data_no_folds(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no data at .*put the data there"):
        run(Workspace(tmp_path, "toy"), competition())


def test_needs_no_torch(workspace: Workspace) -> None:
    code = (
        "import sys; from pathlib import Path; from comp.config import Competition; from comp.files import Workspace\n"
        "from comp.commands.folds import run\n"
        f"competition = Competition.model_validate({competition(n_splits=2).model_dump()!r})\n"
        f"run(Workspace(Path({str(workspace.root)!r}), 'toy'), competition)\n"
        "assert not {'torch', 'albumentations'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    assert done.returncode == 0, done.stderr
