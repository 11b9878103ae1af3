"""`comp folds`: safe to run again, refuses to replace, needs no torch."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from comp.commands.folds import run
from comp.config import Competition
from comp.data.folds.split import read_folds
from comp.errors import ConfigError, DataError, FoldsError, RunMismatchError, UnknownNameError
from comp.files import Workspace
from tests.processes import run_python


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
    assert said.splitlines()[-1] == "picture: folds/toy.png"
    assert (workspace.folds_csv.parent / "toy.png").is_file()
    assert said.splitlines()[-2].split() == ["all", "12", "-", "0.1500", "3"]
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


def draw_crops(workspace: Workspace) -> None:
    """Replace the images by crops of 10 x 10, four of each picture, in order."""
    rng = np.random.default_rng(0)
    for k in range(12):
        if k % 4 == 0:
            big = cv2.GaussianBlur(rng.normal(0, 1, (40, 40, 3)).astype(np.float32), (0, 0), 1.5)
            big = np.clip(128 + 40 * big / big.std(), 0, 255).astype(np.uint8)
        y, x = 20 * (k % 4 // 2), 20 * (k % 2)
        cv2.imwrite(
            str(workspace.root / "data" / "images" / f"{k:02d}.png"), big[y : y + 20, x : x + 20]
        )
        mask = np.zeros((20, 20), np.uint8)
        mask[: 1 + k % 4] = 255
        cv2.imwrite(str(workspace.root / "data" / "masks" / f"{k:02d}.png"), mask)


def test_groups_are_found_and_kept_whole(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_crops(workspace)
    table = run(workspace, competition(n_splits=3), groups="auto")
    said = capsys.readouterr().out
    assert "write `scheme: stratified_group` and `group: auto` under folds:" in said
    assert "12 seams" in said and "12 of 12 training images in 3 groups" in said
    assert table.scheme == "stratified_group"
    assert table.group == tuple(f"with {4 * (k // 4):02d}" for k in range(12))
    assert [len(set(table.fold[k : k + 4])) for k in (0, 4, 8)] == [1, 1, 1]
    found = sorted(workspace.cache.glob("leaks.*.json"))
    assert len(found) == 1
    written = found[0].stat().st_mtime_ns
    config = competition(n_splits=3, scheme="stratified_group", group="auto")
    assert run(workspace, config) == table  # the same, said in the competition file
    assert found[0].stat().st_mtime_ns == written
    found[0].write_text("torn")
    assert run(workspace, config) == table


def test_auto_needs_a_scheme_that_keeps_groups(workspace: Workspace) -> None:
    with pytest.raises(ConfigError, match="scheme stratified would let groups of 'auto' cross"):
        run(workspace, competition(n_splits=3, group="auto"))


def test_a_column_may_be_named_instead(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "\n".join(f"{k:02d},{k // 3}" for k in range(12))
    (workspace.root / "data" / "meta.csv").write_text(f"ImageId,Slide\n{rows}\n")
    config = competition(n_splits=3, scheme="kfold")
    data = config.data.model_copy(update={"meta": "meta.csv"})
    config = config.model_copy(update={"data": data})
    table = run(workspace, config, groups="Slide")
    assert table.scheme == "group" and table.group[:4] == ("0", "0", "0", "1")
    assert "scheme group, group Slide" in capsys.readouterr().out


def test_a_declared_column_holds_beside_what_is_found(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """Crops of a picture belong together (0-3, 4-7, 8-11), and patient q has one of the first and the second."""
    draw_crops(workspace)
    patients = {0: "q", 4: "q"}
    rows = "\n".join(f"{k:02d},{patients.get(k, f'p{k}')}" for k in range(12))
    (workspace.root / "data" / "meta.csv").write_text(f"ImageId,patient\n{rows}\n")
    config = competition(n_splits=2, scheme="group", group="patient")
    data = config.data.model_copy(update={"meta": "meta.csv"})
    config = config.model_copy(update={"data": data})
    table = run(workspace, config, groups="auto")
    said = capsys.readouterr().out
    assert "joined with the groups of folds.group, patient: 2 groups of 12 images" in said
    assert "keep `group: patient` in the competition file" in said and "group: auto" not in said
    assert [len(set(part)) for part in (table.fold[:8], table.fold[8:])] == [1, 1]


def test_a_column_that_is_not_there_is_said_first(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    told = r"data\.meta: a CSV, relative to data\.root, with one row an image"
    with pytest.raises(FoldsError, match=told):
        run(workspace, competition(n_splits=3), groups="site")
    with pytest.raises(FoldsError, match=r"scheme logo needs groups.*data\.meta is not set"):
        run(workspace, competition(n_splits=3, scheme="logo"))
    with pytest.raises(UnknownNameError, match="'leave_one_group_out'; here it is called 'logo'"):
        run(workspace, competition(n_splits=3, scheme="leave_one_group_out"))
    assert capsys.readouterr().out == "" and not workspace.cache.exists()


def test_ids_may_tell_the_groups(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("images", "masks"):
        for k in range(12):
            path = workspace.root / "data" / name / f"{k:02d}.png"
            path.rename(path.with_name(f"s{k // 3}_{k % 3}.png"))
    table = run(workspace, competition(n_splits=2, scheme="kfold"), groups="names")
    assert table.group[:4] == ("s0_", "s0_", "s0_", "s1_") and table.scheme == "group"
    assert "write `scheme: group` and `group: names` under" in capsys.readouterr().out
    with pytest.raises(FoldsError, match=r"folds\.group is folders, but the image ids name no"):
        run(workspace, competition(n_splits=2), groups="folders")


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
    run_python(code)


def given_split(workspace: Workspace) -> Competition:
    """Crops in data/val and data/train: the first two of the second picture are validated."""
    draw_crops(workspace)
    data = workspace.root / "data"
    for k in range(12):
        part = "val" if k in (4, 5) else "train"
        for name in ("images", "masks"):
            (data / part / name).mkdir(parents=True, exist_ok=True)
            (data / name / f"{k:02d}.png").rename(data / part / name / f"{k:02d}.png")
    parts = [
        {"images": f"{p}/images/{{id}}.png", "masks": f"{p}/masks/{{id}}.png", "split": p}
        for p in ("train", "val")
    ]
    made = competition(scheme="predefined").model_dump()
    return Competition.model_validate({**made, "data": {"root": "data", "train": parts}})


def test_groups_that_cross_a_given_split_are_written_for_the_next_call(
    workspace: Workspace,
) -> None:
    config = given_split(workspace)
    with pytest.raises(FoldsError) as caught:
        run(workspace, config, groups="auto")
    message = str(caught.value)
    assert message.startswith("scheme predefined: 1 of 3 groups crosses the given split, 4 images;")
    assert "`scheme: predefined` and `listed: ../folds/toy.crossing.csv` under folds:" in message
    assert not workspace.folds_csv.exists()
    update = {"listed": "../folds/toy.crossing.csv", "group": "auto"}
    config = config.model_copy(update={"folds": config.folds.model_copy(update=update)})
    assert run(workspace, config).validation(0) == [4, 5, 6, 7]


def test_too_few_pictures_say_what_to_do(workspace: Workspace) -> None:
    draw_crops(workspace)
    with pytest.raises(FoldsError) as caught:
        run(workspace, competition(n_splits=4), groups="auto")
    assert str(caught.value).startswith(
        "3 groups (4 of 12 images in the largest) cannot fill 4 folds: lower folds.n_splits to 3, or cut"
    )


def test_groups_that_a_given_split_does_not_cut_have_no_effect(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    config = given_split(workspace)
    plain = run(workspace, config)
    rows = "\n".join(f"{k:02d},{int(k in (4, 5))}" for k in range(12))
    (workspace.root / "data" / "meta.csv").write_text(f"ImageId,site\n{rows}\n")
    data = config.data.model_copy(update={"meta": "meta.csv"})
    config = config.model_copy(update={"data": data})
    capsys.readouterr()
    assert run(workspace, config, force=True, groups="site") == plain
    said = capsys.readouterr().out
    assert said.startswith(
        "scheme predefined divides as it was given, and cuts none of these groups: --groups site has no effect"
    )
    assert "folds/toy.csv is there and the same" in said and "folds by groups" not in said


def draw_map(workspace: Workspace, stride: int) -> Competition:
    """36 GeoTIFFs of 12 x 12 pixels, `stride` apart: parts of one picture."""
    side = 5 * stride + 12
    big = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    for k in range(36):
        y, x = stride * (k // 6), stride * (k % 6)
        tags = [
            (33550, 12, 3, (1.0, 1.0, 0.0), True),
            (33922, 12, 6, (0.0, 0.0, 0.0, float(x), 1000.0 - y, 0.0), True),
            (34735, 3, 8, (1, 1, 0, 1, 3072, 0, 1, 32640), True),
        ]
        path = workspace.root / "data" / "tifs" / f"t{7919 * k % 1009:04d}.tif"
        path.parent.mkdir(exist_ok=True)
        tifffile.imwrite(path, big[y : y + 12, x : x + 12], photometric="rgb", extratags=tags)
        mask = np.zeros((12, 12), np.uint8)
        mask[: 1 + k % 4] = 255
        cv2.imwrite(str(workspace.root / "data" / "masks" / f"{path.stem}.png"), mask)
    made = competition(n_splits=3).model_dump()
    made["data"]["train"] = [{"images": "tifs/{id}.tif", "masks": "masks/{id}.png"}]
    for k in range(12):
        (workspace.root / "data" / "masks" / f"{k:02d}.png").unlink()
    return Competition.model_validate(made)


def test_tiles_of_a_map_that_overlap_never_lie_on_both_sides(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    config = draw_map(workspace, 9)
    table = run(workspace, config, groups="auto")
    said = capsys.readouterr().out
    assert "by blocks of the map" in said and "images overlap on the ground: " in said
    place = {f"t{7919 * k % 1009:04d}": (9 * (k // 6), 9 * (k % 6)) for k in range(36)}
    for f in range(3):
        assert 9 <= len(table.validation(f)) <= 15 and len(table.training(f)) >= 15
        for i in table.validation(f):
            for j in table.training(f):
                (y, x), (v, u) = place[table.ids[i]], place[table.ids[j]]
                assert abs(y - v) >= 12 or abs(x - u) >= 12
    assert read_folds(workspace, table.ids) == table
    kept = next(iter(workspace.cache.glob("leaks.*.json")))
    before = kept.stat().st_mtime_ns
    assert run(workspace, config, groups="auto") == table  # the radar's answer is kept, places too
    assert kept.stat().st_mtime_ns == before


def test_tiles_of_a_map_that_only_touch_lose_none(workspace: Workspace) -> None:
    table = run(workspace, draw_map(workspace, 12), groups="auto")
    assert table.left_out == ()
