"""A class list beside masks: a name decides what is not scored, and 255 alone does not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from comp.commands import init
from comp.config import load_competition
from comp.data.checks.one_class import all_of_one_class
from comp.data.checks.scan import scan
from comp.data.intake.masks import MaskRule, choose_rule, look_at_masks
from comp.data.intake.names import NameList, rule_with_names
from comp.data.intake.tables import class_table
from comp.data.sources.labels import read_labels
from comp.data.sources.record import Record
from comp.data.sources.records import find_records
from comp.data.sources.tables import Table
from comp.errors import DataError

DISC = (np.add.outer((np.arange(40) - 20) ** 2, (np.arange(40) - 20) ** 2) < 100).astype(np.uint8)
THREE = DISC + np.roll(DISC, 9, 1)  # 0, 1, 2


def by(values: list[int]) -> list[np.ndarray]:
    """Four masks of 0, 1, 2, ... spelled by these values."""
    base = THREE if len(values) == 3 else DISC
    if len(values) == 4:
        base = THREE + np.where(np.roll(DISC, 20, 0) == 1, 3 - THREE, 0).astype(np.uint8)
    table = np.array(values, np.uint8)
    return [np.roll(table[base], k, 0) for k in range(4)]


def rule_of(
    folder: Path, values: list[int], names: dict[int, str], listed: NameList | None = None
) -> MaskRule:
    records = []
    for k, mask in enumerate(by(values)):
        path = folder / f"m{k}.png"
        cv2.imwrite(str(path), mask)
        records.append(Record(f"m{k}", path, (path,)))
    facts = look_at_masks(records)
    if listed is not None:
        return rule_with_names(facts, listed, "")
    frame = pd.DataFrame({"ClassId": [str(v) for v in names], "Name": list(names.values())})
    return choose_rule(facts, class_table([Table("classes.csv", frame)]), "")


def test_a_class_at_255_is_a_class(tmp_path: Path) -> None:
    rule = rule_of(tmp_path, [0, 255], {0: "background", 255: "cell"})
    assert (rule.task, rule.classes, rule.ignore_index) == ("binary", ("cell",), None)
    assert rule.mask_values == {0: 0, 255: 1}


def test_the_last_of_four_classes_at_255(tmp_path: Path) -> None:
    names = {0: "background", 85: "road", 170: "roof", 255: "tree"}
    rule = rule_of(tmp_path, list(names), names)
    assert rule.classes == tuple(names.values()) and rule.ignore_index is None
    assert rule.mask_values == {0: 0, 85: 1, 170: 2, 255: 3}


def test_ignore_by_name_beside_a_class_at_255(tmp_path: Path) -> None:
    rule = rule_of(tmp_path, [0, 128, 255], {0: "background", 128: "ignore", 255: "cell"})
    assert (rule.task, rule.classes, rule.ignore_index) == ("binary", ("cell",), 128)
    assert "128 -> ignored" in rule.told and "255 -> cell" in rule.told


@pytest.mark.parametrize(
    "name", ["Ignore", "void", "Don't care", "un-labelled", "border", "no data"]
)
def test_names_that_are_not_scored_at_255(tmp_path: Path, name: str) -> None:
    rule = rule_of(tmp_path, [0, 1, 255], {0: "background", 1: "cell", 255: name})
    assert (rule.classes, rule.ignore_index) == (("cell",), 255)


def test_a_border_elsewhere_is_a_class_and_is_asked_about(tmp_path: Path) -> None:
    rule = rule_of(tmp_path, [0, 128, 255], {0: "background", 128: "border", 255: "cell"})
    assert rule.classes == ("background", "border", "cell") and rule.ignore_index is None
    assert any("'border' (128) is kept as a class; name it ignore" in note for note in rule.notes)


def test_255_that_the_table_does_not_name(tmp_path: Path) -> None:
    names = {0: "background", 1: "cell"}
    rule = rule_of(tmp_path, [0, 1, 255], names)
    assert rule.ignore_index == 255 and rule.mask_values == {0: 0, 1: 1}
    assert any("does not name 255: taken as ignore" in note for note in rule.notes)
    rule = rule_of(tmp_path, [0, 255], names)
    assert rule.ignore_index is None and rule.mask_values == {0: 0, 255: 1}
    with pytest.raises(DataError, match=r"value 255 .*classes\.csv does not name"):
        rule_of(tmp_path, [0, 255], {**names, 2: "nucleus"})


def test_a_table_of_the_background_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"names no class to learn but background"):
        rule_of(tmp_path, [0, 255], {0: "background", 255: "ignore"})


def test_white_in_a_list_of_colours_is_a_class(tmp_path: Path) -> None:
    listed = NameList("labelmap.txt", ("background", "cell"), (0, 0xFFFFFF))
    rule = rule_of(tmp_path, [0, 255], {}, listed)
    assert (rule.task, rule.classes, rule.ignore_index) == ("binary", ("cell",), None)
    red = NameList("labelmap.txt", ("background", "cell"), (0, 0xFF0000))
    rule = rule_of(tmp_path, [0, 255], {}, red)
    assert (rule.classes, rule.mask_values, rule.ignore_index) == (("cell",), {0: 0, 255: 1}, None)
    assert rule_of(tmp_path, [0, 1, 255], {}, red).ignore_index == 255


def test_a_class_number_that_is_the_ignored_value_is_told_right(tmp_path: Path) -> None:
    rule = rule_of(tmp_path, [0, 1, 2], {0: "a", 1: "ignore", 2: "b"})
    assert rule.ignore_index == 1 and "1 -> ignored" in rule.told and "2 -> b" in rule.told


def draw(root: Path, values: list[int], table: str) -> None:
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for k, mask in enumerate(by(values)):
        cv2.imwrite(str(root / f"images/a{k}.png"), rng.integers(0, 255, (40, 40, 3)))
        cv2.imwrite(str(root / f"masks/a{k}.png"), mask)
    (root / "classes.csv").write_text(table)


def test_the_truth_at_255_arrives(tmp_path: Path) -> None:
    draw(tmp_path / "d", [0, 255], "ClassId,Name\n0,background\n255,cell\n")
    init.run(tmp_path / "ws", tmp_path / "d")
    comp = load_competition(tmp_path / "ws")
    labels = read_labels(find_records(comp, tmp_path / "d").train[0], comp)
    assert np.array_equal(labels, by([0, 1])[0])


def test_what_is_dropped_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw(tmp_path / "d", [0, 1, 255], "ClassId,Name\n0,background\n1,cell\n255,void\n")
    init.run(tmp_path / "ws", tmp_path / "d")
    share = 100 * (THREE == 2).mean()
    told = f"ignored mask value: 255 ({share:.3g} % of the pixels, in 4 masks: neither trained"
    assert told in capsys.readouterr().out


def test_masks_of_one_class_are_to_be_mended(tmp_path: Path) -> None:
    draw(tmp_path / "d", [0, 255], "ClassId,Name\n0,background\n255,cell\n")
    init.run(tmp_path / "ws", tmp_path / "d")
    comp = load_competition(tmp_path / "ws")
    records = find_records(comp, tmp_path / "d").train
    assert all_of_one_class(scan(records, comp), comp) == []
    lost = comp.model_copy(
        update={
            "ignore_index": 255,
            "data": comp.data.model_copy(update={"mask_values": {0: 1}}),
        }
    )
    (told,) = all_of_one_class(scan(records, lost), lost)
    assert told.startswith("class 'cell' is 100 % of the valid pixels of every mask (4)")
    assert f"{DISC.mean():.1%} of all pixels are ignored" in told
