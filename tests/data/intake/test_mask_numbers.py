"""Masks of a few small numbers: which are background, object, classes; what is said of those that are absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from comp.data.intake.masks import ClassTable, MaskRule, choose_rule, look_at_masks
from comp.data.sources.labels import read_plane
from comp.data.sources.records import Record
from comp.errors import DataError
from tests.data.reading import competition, save

SHAPE = (40, 40)


def draw(folder: Path, *masks: list[int]) -> list[Record]:
    """One file a list of values: bands of equal height, the first value twice as high."""
    folder.mkdir(exist_ok=True)
    records = []
    for k, values in enumerate(masks):
        rows = np.array([values[0], *values])[np.arange(SHAPE[0]) * (len(values) + 1) // SHAPE[0]]
        mask = np.repeat(rows[:, None], SHAPE[1], 1).astype(np.uint8)
        path = save(folder / f"m{k}.png", mask)
        records.append(Record(f"m{k}", path, (path,)))
    return records


def rule_of(records: list[Record], table: ClassTable | None = None, layout: str = "") -> MaskRule:
    return choose_rule(look_at_masks(records), table, layout)


def labels(record: Record, rule: MaskRule) -> set[int]:
    rest = {"ignore_index": rule.ignore_index, **rule.data}
    read = read_plane(record.masks[0], competition(rule.task, len(rule.classes), **rest))
    return set(np.unique(read).tolist())


@pytest.mark.parametrize("on", [2, 3, 7, 38, 63, 64, 100, 254])
def test_zero_and_one_other_number_are_binary(tmp_path: Path, on: int) -> None:
    records = draw(tmp_path, [0, on], [0], [0, on])
    rule = rule_of(records)
    assert (rule.task, rule.mask_values) == ("binary", {0: 0, on: 1})
    assert f"masks hold 0 and {on} and no other class" in rule.notes[0]
    assert labels(records[0], rule) == {0, 1} and labels(records[1], rule) == {0}


def test_zero_one_other_number_and_255(tmp_path: Path) -> None:
    records = draw(tmp_path, [0, 3, 255], [0, 3], [0])
    rule = rule_of(records)
    assert (rule.task, rule.ignore_index) == ("binary", 255)
    assert rule.mask_values == {0: 0, 3: 1, 255: 255} and "255 is taken as ignore" in rule.notes[0]
    assert labels(records[0], rule) == {0, 1, 255}
    with pytest.raises(DataError, match=r"hold 3 values .*more than one way"):
        rule_of(draw(tmp_path / "shades", [0, 128, 255], [0, 128], [0, 255]))


def test_a_rare_third_number_beside_0_and_k(tmp_path: Path) -> None:
    records = draw(tmp_path, *[[0, 3]] * 6)
    mask = np.full(SHAPE, 0, np.uint8)
    mask[20:] = 3
    mask[0, 0] = 1
    save(records[4].masks[0], mask)
    rule = rule_of(records)
    assert rule.mask_values == {0: 0, 3: 1}
    assert "mask value 1: 1 pixels in 1 of 6 masks" in rule.problems[0]


def test_a_value_that_only_the_last_file_holds_is_a_class(tmp_path: Path) -> None:
    """Every file is looked at, not some."""
    records = draw(tmp_path, *[[0, 1, 2]] * 60, [0, 1, 2, 3])
    rule = rule_of(records)
    assert rule.classes == ("class_0", "class_1", "class_2", "class_3")


def test_one_and_two_without_a_zero_are_asked_about(tmp_path: Path) -> None:
    records = draw(tmp_path, [1, 2], [1, 2], [1])
    rule = rule_of(records)
    assert (rule.task, rule.mask_values) == ("binary", {1: 0, 2: 1})
    assert "masks hold 1 and 2 and no 0: 1 (78% of their pixels)" in rule.problems[0]
    assert "exchange them in data.mask_values" in rule.problems[0]
    assert "data.mask_values: {1: 0, 2: 1}" in rule.problems[0]
    assert labels(records[0], rule) == {0, 1}
    rule = rule_of(draw(tmp_path / "b", [2, 1], [2, 1], [2]))
    assert rule.mask_values == {2: 0, 1: 1}


def test_classes_that_begin_at_one(tmp_path: Path) -> None:
    records = draw(tmp_path, [1, 2, 3], [1, 2, 255], [3, 1])
    rule = rule_of(records)
    assert (rule.classes, rule.ignore_index) == (("class_1", "class_2", "class_3"), 255)
    assert rule.mask_values == {1: 0, 2: 1, 3: 2, 255: 255}
    assert "no mask holds 0" in rule.notes[0] and labels(records[1], rule) == {0, 1, 255}
    table = ClassTable("classes.csv", {0: "none", 1: "a", 2: "b", 3: "c"}, 255)
    assert rule_of(records, table).classes == ("none", "a", "b", "c")


def test_numbers_that_no_mask_holds_keep_their_places(tmp_path: Path) -> None:
    records = draw(tmp_path, [0, 1, 3], [0, 1], [0, 3])
    rule = rule_of(records)
    assert rule.classes == ("class_0", "class_1", "class_2", "class_3")
    assert rule.mask_values is None and "no mask holds 2: class_2 kept" in rule.notes[1]
    assert labels(records[0], rule) == {0, 1, 3}
    assert len(rule_of(draw(tmp_path / "b", [0, 1, 2], [0, 1], [0, 2])).notes) == 1


def test_pascals_single_class_stays_pascals(tmp_path: Path) -> None:
    assert len(rule_of(draw(tmp_path, [0, 15], [0, 15], [0]), layout="voc").classes) == 21
