"""A fold is done when result.json says so and every file it names is there and unchanged."""

import os
from pathlib import Path

import numpy as np
import pytest

from comp.config import Competition
from comp.errors import DataError, RunMismatchError
from comp.files import Workspace, write_json
from comp.jobs.plan import shared_identity
from comp.store import list_runs, read_counts, read_result, read_run, write_counts, write_result


def make_fold(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "weights.last.safetensors").write_bytes(b"weights")
    write_result(folder, {"fold": 0, "score": 0.5}, ["weights.last.safetensors"])


def test_a_fold_without_result_is_not_done(tmp_path: Path) -> None:
    assert read_result(tmp_path) is None


def test_a_result_is_read_back(tmp_path: Path) -> None:
    make_fold(tmp_path / "fold0")
    result = read_result(tmp_path / "fold0", verify=True)
    assert result is not None and result["score"] == 0.5


def test_a_missing_file_is_seen(tmp_path: Path) -> None:
    make_fold(tmp_path / "fold0")
    (tmp_path / "fold0" / "weights.last.safetensors").unlink()
    with pytest.raises(RunMismatchError, match=r"weights\.last"):
        read_result(tmp_path / "fold0")


def test_a_flipped_bit_is_seen_when_the_time_is_another_or_when_asked(tmp_path: Path) -> None:
    make_fold(tmp_path / "fold0")
    weights = tmp_path / "fold0" / "weights.last.safetensors"
    written = weights.stat().st_mtime_ns
    os.utime(weights, ns=(written + 10**9, written + 10**9))
    assert read_result(tmp_path / "fold0") is not None  # touched, not changed
    weights.write_bytes(b"weightz")
    os.utime(weights, ns=(written - 10**9, written - 10**9))
    with pytest.raises(RunMismatchError, match=r"weights\.last"):
        read_result(tmp_path / "fold0")
    os.utime(weights, ns=(written, written))
    assert read_result(tmp_path / "fold0") is not None
    with pytest.raises(RunMismatchError, match=r"weights\.last"):
        read_result(tmp_path / "fold0", verify=True)


def test_counts_come_back(tmp_path: Path) -> None:
    counts = np.arange(24, dtype=np.int64).reshape(3, 2, 4)
    write_counts(tmp_path / "c.csv", ["007", "NA", "x"], counts, ["land", "water"])
    ids, found = read_counts(tmp_path / "c.csv", 2)
    assert ids == ["007", "NA", "x"]
    np.testing.assert_array_equal(found, counts)


def test_runs_are_listed_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "roofs")
    assert list_runs(workspace) == []
    make_fold(workspace.fold("unet", 0))
    write_json(workspace.run("unet") / "config.json", {"config": {}, "config_hash": "x"})
    run = read_run(workspace, "unet")
    assert list(run.folds) == [0] and not run.complete
    assert run.shared == {}
    with pytest.raises(DataError, match="there are: unet"):
        read_run(workspace, "unett")


def test_a_run_knows_what_it_shares_with_others(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "roofs")
    pairs = [{"images": "i/{id}.png", "masks": "m/{id}.png"}]
    competition = Competition.model_validate(
        {
            "name": "roofs",
            "task": "binary",
            "classes": ["roof"],
            "data": {"root": "d", "train": pairs},
        }
    )
    shared = shared_identity(competition, "folds", "content")
    write_json(workspace.run("a") / "config.json", {"config": {}, "config_hash": "x", **shared})
    found = read_run(workspace, "a").shared
    assert found == {key: shared[key] for key in ("competition", "data")}
    assert found["data"]["content"] == "content" and found["competition"]["task"] == "binary"
