"""`comp init`: what it understands of each layout, what it writes, what it refuses to guess."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.commands import init
from comp.config import Competition, data_root, load_competition, load_model, parse_yaml
from comp.data.folds.schemes import FOLD_SCHEMES
from comp.data.intake.masks import ClassTable, MaskFacts, choose_rule
from comp.data.intake.seen import Understood
from comp.data.intake.tables import class_table, group_columns
from comp.data.intake.yaml import competition_yaml
from comp.data.sources.labels import read_labels
from comp.data.sources.records import find_records
from comp.data.sources.tables import code_shape, read_tables
from comp.errors import DataError, UsageError
from comp.files import Workspace
from comp.formats.rle_table import check_layout
from comp.formats.table import parse_table

spec = importlib.util.spec_from_file_location("drawn", Path(__file__).with_name("drawn.py"))
assert spec is not None and spec.loader is not None
drawn = importlib.util.module_from_spec(spec)
spec.loader.exec_module(drawn)


def made(folder: Path, data: Path) -> tuple[Competition, int]:
    """Run init; return the competition that it wrote and the number of its training images."""
    init.run(folder, data)
    comp = load_competition(folder)
    records = find_records(comp, data_root(Workspace(folder, comp.name), comp))
    for record in (*records.train[:3], *records.train[-3:]):
        read_labels(record, comp)
    return comp, len(records.train)


# ------------------------------------------------------------------------------------- layouts


@pytest.mark.parametrize(
    ("draw", "n", "scheme", "values"),
    [
        ("draw_landfill", 11, "predefined", {0: 0, 255: 1}),
        ("draw_rooftop", 20, "stratified", {0: 0, 255: 1}),
        ("draw_atrous", 8, "stratified", {0: 0, 255: 1}),
        ("draw_voc21", 12, "stratified", None),
        ("draw_plain", 12, "heldout", {0: 0, 255: 1}),
    ],
)
def test_the_five_systems(
    tmp_path: Path, draw: str, n: int, scheme: str, values: dict[int, int] | None
) -> None:
    comp, found = made(tmp_path / "ws", getattr(drawn, draw)(tmp_path / "data"))
    assert (found, comp.folds.scheme, comp.data.mask_values) == (n, scheme, values)
    if draw == "draw_voc21":
        assert comp.n_classes == 21 and comp.ignore_index == 255 and comp.classes[15] == "person"
    if draw == "draw_plain":
        assert comp.folds.heldout == "validation_ids.json"
        assert comp.data.test == "test/test_image_{id}.tif"
        assert comp.submission.sample == "sample_submission.csv"


def test_kaggle_binary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    comp, n = made(tmp_path / "ws", drawn.draw_kaggle(tmp_path / "data"))
    assert n == 12 and comp.task == "binary" and comp.data.test == "test/images/{id}.png"
    rle = comp.data.train_rle
    assert rle is not None and (rle.row, rle.order, rle.base, rle.empty) == (
        "image",
        "column",
        1,
        "",
    )
    assert comp.submission.row == "image" and comp.data.meta is None
    said = capsys.readouterr().out
    assert "12 pairs: images/{id}.png with masks/{id}.png" in said
    assert "4 test images" in said and "48 x 64 (12)" in said
    assert "mask values, share of pixels: 0: 0." in said
    assert "column-major, first pixel 1 agrees with the masks of 10 of 10 images" in said
    assert "train.csv: 12 of 12 masks agree" in said
    assert "solution.csv: an answer key" in said and "to settle" not in said


def test_kaggle_multiclass_with_classes_and_groups(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = drawn.draw_kaggle(tmp_path / "data", 32, task="multiclass")
    comp, _ = made(tmp_path / "ws", data)
    assert comp.classes == ("ground", "roof", "tree") and comp.ignore_index == 255
    assert (comp.folds.scheme, comp.folds.group) == ("stratified_group", "Source")
    assert (comp.data.meta, comp.data.meta_id_column) == ("train_meta.csv", "ImageId")
    assert comp.submission.row == "image_class" and comp.submission.class_column == "ClassId"
    assert comp.submission.class_names is None
    said = capsys.readouterr().out
    assert "possible group columns: Source (8 groups), Area (4 groups)" in said
    assert "ce: 0.5" in (tmp_path / "ws/configs/unet_r34.yaml").read_text()


def test_object_rows_in_training_and_image_rows_in_the_sample(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    comp, _ = made(tmp_path / "ws", drawn.draw_kaggle(tmp_path / "data", rows="object"))
    assert comp.data.train_rle is not None and comp.data.train_rle.row == "object"
    assert comp.submission.row == "image"
    assert "the submission takes the sample's unit, image" in capsys.readouterr().out


@pytest.mark.parametrize(("order", "base"), [("column", 0), ("row", 1), ("row", 0)])
def test_the_convention_is_read_from_the_masks(tmp_path: Path, order: str, base: int) -> None:
    from comp.masks.rle import decode, encode

    data = drawn.draw_kaggle(tmp_path / "data", size=(48, 48))
    lines = (data / "train.csv").read_text().splitlines()
    changed = [lines[0]]
    for line in lines[1:]:
        name, code = line.split(",")
        mask = decode(code, 48, 48)
        changed.append(f"{name},{encode(mask, order, base) or '-1'}")
    (data / "train.csv").write_text("\n".join(changed))
    comp, _ = made(tmp_path / "ws", data)
    for found in (comp.data.train_rle, comp.submission):
        assert found is not None and (found.order, found.base, found.empty) == (order, base, "-1")


# -------------------------------------------------------------------------- what is said, not hidden


def test_masks_are_the_truth_and_disagreements_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = drawn.draw_kaggle(tmp_path / "data")
    table = data / "train.csv"
    rows = [line for line in table.read_text().splitlines() if not line.startswith("p_003,")]
    rows = [("p_001,1 5" if line.startswith("p_001,") else line) for line in rows]
    table.write_text("\n".join([*rows, "p_999,1 1"]))
    comp, _ = made(tmp_path / "ws", data)
    assert comp.data.train_rle is not None
    said = capsys.readouterr().out
    assert "train.csv: 10 of 11 masks agree" in said
    assert "train.csv: 1 images differ from their masks: p_001: " in said
    assert "train.csv: 1 ids without an image: p_999" in said
    assert "train.csv: 1 images without a row: p_003" in said


def test_a_table_that_fits_no_mask_is_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = drawn.draw_kaggle(tmp_path / "data")
    ids = [f"p_{i:03d}" for i in range(12)]
    (data / "train.csv").write_text(
        "\n".join(["ImageId,EncodedPixels", *(f"{i},3 4" for i in ids)])
    )
    comp, _ = made(tmp_path / "ws", data)
    assert comp.data.train_rle is None
    assert "train.csv: not used: agrees with the masks in no convention" in capsys.readouterr().out


def test_unmatched_files_are_named_and_the_workspace_is_still_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = drawn.draw_atrous(tmp_path / "data")
    (data / "masks/picture3.png").unlink()
    (data / "images/picture5.jpg").unlink()
    (data / "masks/picture6.png").write_bytes(b"")
    init.run(tmp_path / "ws", data)
    said = capsys.readouterr().out
    assert "to settle before training (3; comp verify looks again)" in said
    assert "1 image without a mask" in said and "picture3.jpg" in said
    assert "1 mask without an image" in said and "picture5.png" in said
    assert "picture6.png: empty file" in said
    assert load_competition(tmp_path / "ws").data.test is None


def test_ids_of_the_sample_are_compared_with_the_test_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = drawn.draw_kaggle(tmp_path / "data")
    (data / "test/images/t_012.png").rename(data / "test/images/other.png")
    init.run(tmp_path / "ws", data)
    said = capsys.readouterr().out
    assert "1 ids of sample_submission.csv have no test image: t_012" in said
    assert "1 test images are not in sample_submission.csv: other" in said


def test_a_class_in_the_id(tmp_path: Path) -> None:
    data = drawn.draw_kaggle(tmp_path / "data", 8, task="multiclass")
    names = ["ground", "roof", "tree"]
    for file in ("train.csv", "sample_submission.csv"):
        lines = [line.split(",") for line in (data / file).read_text().splitlines()[1:]]
        rows = [f"{i}_{names[int(k)]},{code}" for i, k, code in lines]
        (data / file).write_text("\n".join(["Image_Label,EncodedPixels", *rows]))
    (data / "solution.csv").unlink()
    comp, _ = made(tmp_path / "ws", data)
    assert comp.submission.class_in_id and comp.submission.id_column == "Image_Label"
    assert comp.submission.class_names == ("ground", "roof", "tree")
    assert comp.data.train_rle is not None and comp.data.train_rle.class_in_id


# ------------------------------------------------------------------------------------- workspace


def test_several_classes_without_a_sample_get_rows_that_name_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = drawn.draw_kaggle(tmp_path / "data", 32, task="multiclass")
    sample = (data / "sample_submission.csv").read_text().splitlines()
    for table in ("train.csv", "sample_submission.csv"):
        (data / table).unlink()
    comp, _ = made(tmp_path / "ws", data)
    assert (comp.submission.row, comp.submission.class_column) == ("image_class", "ClassId")
    assert check_layout(comp.submission, comp.n_classes).name == "image_class"
    assert "a guess, for no sample submission is there" in capsys.readouterr().out
    rows = dict.fromkeys(line.split(",")[0] for line in sample[1:])
    (data / "sample_submission.csv").write_text(
        "ImageId,EncodedPixels\n" + "".join(f"{i},1 1\n" for i in rows)
    )
    made(tmp_path / "ws2", data)
    assert "its rows name no class, but the masks hold 3 classes" in capsys.readouterr().out


def test_what_the_lines_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = np.zeros((24, 24, 3), np.uint8)
    mask = np.add.outer(np.arange(24), np.arange(24)).astype(np.uint8) // 4
    for part, n in (("train", 4), ("val", 2), ("test", 2)):
        for k in range(n):
            drawn.save(tmp_path / f"data/{part}/{part}{k}.png", image)
            drawn.save(tmp_path / f"data/{part}annot/{part}{k}.png", mask)
    comp, _ = made(tmp_path / "ws", tmp_path / "data")
    assert comp.n_classes == 12
    said = capsys.readouterr().out
    assert "training part (4 images), validated on their validation part (2)" in said
    assert "testannot/: 2 masks of test images, not used" in said
    assert "(and 4 more)" in said and "8: 0." not in said
    text = (tmp_path / "ws/configs/competition.yaml").read_text()
    assert f"# {', '.join(FOLD_SCHEMES)}" in text


def test_what_is_written(tmp_path: Path) -> None:
    data = drawn.draw_atrous(tmp_path / "my comp" / "raw")
    target = init.run(tmp_path / "my comp", data)
    root = tmp_path / "my comp"
    assert target == root / "configs/competition.yaml"
    assert (
        parse_yaml(target.read_text(), "")["data"]["root"] == "raw"
    )  # relative: the folder may move
    assert load_competition(root).name == "my-comp"
    assert (root / "folds").is_dir()
    assert (root / "submissions/.gitignore").read_text().splitlines()[1:] == [
        "*",
        "!.gitignore",
        "!*.json",
    ]
    assert "/runs/" in (root / ".gitignore").read_text()
    for name in ("unet_r34.yaml", "fpn_r18.yaml"):
        assert load_model(root / "configs" / name).model.encoder_weights is None
    assert not list(root.rglob("*.tmp"))


def test_nothing_of_the_users_is_overwritten(tmp_path: Path) -> None:
    data = drawn.draw_atrous(tmp_path / "data")
    mine = tmp_path / "ws/configs/fpn_r18.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("# mine\n")
    init.run(tmp_path / "ws", data, name="other")
    assert mine.read_text() == "# mine\n" and load_competition(tmp_path / "ws").name == "other"
    before = (tmp_path / "ws/configs/competition.yaml").read_text()
    with pytest.raises(UsageError, match=r"competition\.yaml is there already and is never overwr"):
        init.run(tmp_path / "ws", data)
    assert (tmp_path / "ws/configs/competition.yaml").read_text() == before


def test_refusals_write_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder .*nowhere \(--data\)"):
        init.run(tmp_path / "ws", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no known layout"):
        init.run(tmp_path / "ws", tmp_path / "empty")
    with pytest.raises(UsageError, match=r"competition name '\.\./x': use letters"):
        init.run(tmp_path / "ws", tmp_path / "empty", name="../x")
    assert not (tmp_path / "ws").exists()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file is a file; expected a folder"):
        init.run(tmp_path / "file", tmp_path / "empty")


# ------------------------------------------------------------------------------ ambiguity is an error


def facts(*masks: dict[int, int]) -> MaskFacts:
    """Facts of masks given as value -> pixels."""
    found = MaskFacts(n_files=len(masks))
    for mask in masks:
        found.pixels.update(mask)
        found.files.update(mask.keys())
        found.one_with_255 += 1 in mask and 255 in mask
        for value in mask:
            found.first.setdefault(value, Path("m.png"))
    return found


def test_rules_from_values_alone() -> None:
    rule = choose_rule(facts({0: 9, 1: 1}, {0: 9, 255: 1}), None, "")
    assert rule.mask_values == {0: 0, 1: 1, 255: 1} and rule.ignore_index is None
    rule = choose_rule(facts({0: 9, 65535: 1}), None, "")
    assert (rule.task, rule.mask_values) == ("binary", {0: 0, 65535: 1})
    rule = choose_rule(facts({0: 9, 1: 1, 255: 1}, {0: 9, 1: 3}), None, "")
    assert (rule.task, rule.ignore_index) == ("binary", 255)
    rule = choose_rule(facts({0: 9, 1: 1, 2: 1, 255: 1}), None, "")
    assert (rule.task, len(rule.classes), rule.ignore_index) == ("multiclass", 3, 255)
    rule = choose_rule(facts({0: 9, 100: 1}), None, "")
    assert (rule.task, rule.mask_values) == ("binary", {0: 0, 100: 1})
    soft = {0: 800, **dict.fromkeys(range(1, 237), 1), 237: 400}
    rule = choose_rule(facts(soft), None, "")
    assert (rule.task, rule.mask_threshold) == ("binary", 119)
    rule = choose_rule(facts({0: 9}), None, "")
    assert rule.task == "binary" and "nothing can be learned" in rule.notes[0]


@pytest.mark.parametrize(
    "masks",
    [
        [{0: 9, 128: 1, 255: 1}],  # three greys: 255 a class, or ignored?
        [{0: 9, 50: 1, 100: 1, 150: 1}],
        [dict.fromkeys(range(200), 5)],  # neither few classes nor two peaks
        [{3: 5, 200: 1}],
    ],
)
def test_values_of_two_readings_are_refused(masks: list[dict[int, int]]) -> None:
    with pytest.raises(DataError, match=r"more than one way. Decide by adding classes\.csv"):
        choose_rule(facts(*masks), None, "")


def test_255_beside_1_here_and_alone_there_is_a_problem() -> None:
    alone = [{0: 9, 255: 1}] * 8
    rule = choose_rule(facts({0: 9, 1: 1, 255: 1}, *alone), None, "")
    assert (rule.task, rule.mask_values) == ("binary", {0: 0, 255: 1})
    assert "255 stands beside 1 in 1 masks and without it in 8" in rule.problems[0]
    with pytest.raises(DataError, match="no mask can be read: broken"):
        choose_rule(MaskFacts(faults=["broken"]), None, "")


def test_a_class_table_decides() -> None:
    three = facts({0: 9, 128: 1, 255: 1})
    rule = choose_rule(three, ClassTable("classes.csv", {0: "a", 128: "b", 255: "c"}, None), "")
    assert (rule.task, rule.mask_values) == ("multiclass", {0: 0, 128: 1, 255: 2})
    rule = choose_rule(three, ClassTable("classes.csv", {0: "background", 128: "b"}, 255), "")
    assert (rule.task, rule.classes, rule.ignore_index) == ("binary", ("b",), 255)
    with pytest.raises(DataError, match=r"value 128 .* which classes\.csv does not name"):
        choose_rule(three, ClassTable("classes.csv", {0: "a", 1: "b"}, 255), "")


def test_two_lists_of_validation_ids_are_refused(tmp_path: Path) -> None:
    data = drawn.draw_plain(tmp_path / "data")
    (data / "val2.json").write_text(json.dumps(["1", "2"]))
    with pytest.raises(
        DataError, match=r"val2\.json, validation_ids\.json each list training images"
    ):
        init.run(tmp_path / "ws", data)
    (data / "val2.json").rename(data / "train_ids.json")
    init.run(tmp_path / "ws", data)
    assert load_competition(tmp_path / "ws").folds.heldout == "validation_ids.json"


def test_two_samples_and_mixed_bands_are_refused(tmp_path: Path) -> None:
    data = drawn.draw_kaggle(tmp_path / "data")
    (data / "sample2.csv").write_bytes((data / "sample_submission.csv").read_bytes())
    with pytest.raises(DataError, match=r"sample2\.csv, sample_submission\.csv all look like"):
        init.run(tmp_path / "ws", data)
    (data / "sample2.csv").unlink()
    five = np.zeros((48, 64, 5), np.uint8)
    import tifffile

    tifffile.imwrite(data / "five.tif", five, photometric="minisblack", planarconfig="contig")
    (data / "five.tif").rename(data / "images/p_000.png")
    with pytest.raises(
        DataError,
        match=r"images of 3, 5 bands: 3 bands: 15 \(p_001\.png, .*; 5 bands: 1 \(p_000\.png\), of 16",
    ):
        init.run(tmp_path / "ws", data)


# ----------------------------------------------------------------------------------------- tables


def frame(text: str) -> Any:
    return parse_table(text.encode(), "t.csv")


def test_code_shapes() -> None:
    shape = code_shape(frame("id,rle_mask\na,1 2\nb,\n"), {"a", "b"})
    assert shape is not None and (shape.id_column, shape.rle_column) == ("id", "rle_mask")
    assert (shape.row, shape.empty, shape.class_column) == ("image", "", None)
    shape = code_shape(frame("name,x\na,1 2 5 1\na,9 9\nb,-1\n"), {"a", "b"})
    assert shape is not None and (shape.row, shape.empty) == ("object", "-1")
    shape = code_shape(frame("id,class,predicted\na,x,\na,y,\nb,x,\nb,y,\n"), {"a", "b"})
    assert shape is not None and (shape.row, shape.class_column) == ("image_class", "class")
    assert shape.class_cells == ("x", "y")
    shape = code_shape(frame("Id,EncodedPixels\na.jpg_1,\na.jpg_2,1 1\n"), {"a.jpg"})
    assert shape is not None and shape.class_in_id and shape.class_cells == ("1", "2")
    assert code_shape(frame("id,Height\na,3\nb,4\n"), {"a", "b"}) is None
    assert code_shape(frame("id,rle\nq,1 2\n"), {"a", "b"}) is None


def test_group_columns() -> None:
    rows = "\n".join(f"i{k},s{k // 4},{k % 3},{k},p{k},{k // 6}" for k in range(12))
    table = frame("id,site,height,score,name,patient_id\n" + rows)
    found = group_columns(table, "id", [f"i{k}" for k in range(12)])
    assert found == {"site": 3, "patient_id": 2}


def test_class_tables(tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text(
        "ClassId,Name,Colour\n1,tree,#fff\n0,ground,#000\n9,void,#1\n"
    )
    (tmp_path / "broken.csv").write_text("a,b\n1\n")
    notes: list[str] = []
    found = class_table(read_tables(tmp_path, notes))
    assert found == ClassTable("classes.csv", {0: "ground", 1: "tree"}, 9)
    assert len(notes) == 1 and "left aside" in notes[0] and "broken.csv" in notes[0]
    (tmp_path / "classes.csv").write_text("ClassId,Name\n1,tree\n1,ground\n")
    with pytest.raises(DataError, match=r"classes\.csv: a number or a name stands there twice"):
        class_table(read_tables(tmp_path, notes))


@settings(max_examples=40)
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9),
        min_size=2,
        max_size=6,
        unique=True,
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
)
def test_any_names_survive_the_yaml(classes: list[str], empty: str) -> None:
    seen = Understood(Path("."))
    data = {
        "train": [{"images": "i: #{id}.png", "masks": "'m'/{id}.png"}],
        "mask_values": {0: 0, 7: 1},
    }
    seen.values = {"task": "multiclass", "classes": classes, "data": data}
    seen.values["submission"] = {"empty": empty, "base": 1}
    text = competition_yaml(seen, "n", "C:\\data # x")
    read = parse_yaml(text, "test")
    assert read["classes"] == classes and read["submission"]["empty"] == empty
    assert read["data"] == {"root": "C:\\data # x", **data}


# -------------------------------------------------------------------------------------- real data


@pytest.mark.realdata
def test_nuclei(tmp_path: Path, real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init.run(tmp_path / "ws", real_data / "nuclei")
    comp = load_competition(tmp_path / "ws")
    assert comp.task == "binary" and comp.data.mask_values == {0: 0, 255: 1}
    assert comp.data.train_rle is not None and comp.data.train_rle.row == "object"
    assert comp.submission.row == "image" and comp.folds.scheme == "stratified"
    said = capsys.readouterr().out
    assert "500 pairs" in said and "train.csv: 500 of 500 masks agree" in said
    assert "to settle" not in said


@pytest.mark.realdata
def test_dubai(tmp_path: Path, real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init.run(tmp_path / "ws", real_data / "dubai")
    comp = load_competition(tmp_path / "ws")
    assert comp.classes == ("building", "land", "road", "vegetation", "water")
    assert comp.ignore_index == 255 and comp.folds.group == "Source"
    assert comp.submission.row == "image_class" and comp.submission.class_names is None
    said = capsys.readouterr().out
    assert "train.csv: 1036 of 1036 masks agree" in said and "to settle" not in said
    assert "Source (60 groups), Area (8 groups)" in said


@pytest.mark.realdata
def test_odd_is_refused_with_a_reason(tmp_path: Path, real_data: Path) -> None:
    with pytest.raises(DataError, match="images of 1, 3, 4, 5 bands"):
        init.run(tmp_path / "ws", real_data / "odd")
