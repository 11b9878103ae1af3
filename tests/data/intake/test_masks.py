"""What masks hold -> the rule: strays, colours, palettes, soft edges, inversion, class tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from comp.config import Competition, check
from comp.data.images.palette import color_columns, parsed, spelled
from comp.data.intake.colors import voc_colors
from comp.data.intake.masks import VOC_CLASSES, ClassTable, MaskRule, choose_rule, look_at_masks
from comp.data.intake.names import read_names, rule_with_names
from comp.data.intake.tables import class_table
from comp.data.layouts.tree import walk
from comp.data.sources.labels import read_plane
from comp.data.sources.records import Record
from comp.data.sources.tables import Table
from comp.errors import DataError

Masks = list[np.ndarray | Image.Image]
DISC = (np.add.outer((np.arange(40) - 20) ** 2, (np.arange(40) - 20) ** 2) < 100).astype(np.uint8)


def write(folder: Path, masks: Masks, extension: str = "png", **kwargs: Any) -> list[Record]:
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for k, mask in enumerate(masks):
        path = folder / f"m{k:02d}.{extension}"
        (mask if isinstance(mask, Image.Image) else Image.fromarray(mask)).save(path, **kwargs)
        records.append(Record(f"m{k:02d}", path, (path,)))
    return records


def rule_of(records: list[Record], table: ClassTable | None = None, layout: str = "") -> MaskRule:
    return choose_rule(look_at_masks(records), table, layout)


def read_all(records: list[Record], rule: MaskRule) -> list[np.ndarray]:
    values = {
        "name": "t", "task": rule.task, "classes": list(rule.classes), "ignore_index": rule.ignore_index,
        "data": {"root": ".", "train": [{"images": "{id}.png"}], **rule.data},
    }  # fmt: skip
    competition = check(Competition, values, "test")
    return [read_plane(r.masks[0], competition) for r in records]


def palette(indices: np.ndarray, colors: list[int]) -> Image.Image:
    image = Image.frombytes("P", indices.shape[::-1], np.ascontiguousarray(indices).tobytes())
    image.putpalette([v for c in colors for v in (c >> 16, c >> 8 & 255, c & 255)])
    return image


def colored(indices: np.ndarray, colors: list[int]) -> np.ndarray:
    table = np.array([(c >> 16, c >> 8 & 255, c & 255) for c in colors], np.uint8)
    return table[indices]


CLASSES = [DISC + np.roll(DISC, k, 1) for k in range(6)]  # 0, 1, 2


# --------------------------------------------------------------------------------------- strays


def test_one_stray_value_is_a_problem_and_not_the_end(tmp_path: Path) -> None:
    masks = [DISC * 255 for _ in range(6)]
    masks[3] = masks[3].copy()
    masks[3][0, 0] = 7
    records = write(tmp_path, masks)
    rule = rule_of(records)
    assert (rule.task, rule.mask_values) == ("binary", {0: 0, 255: 1})
    assert len(rule.problems) == 1
    assert "mask value 7: 1 pixels in 1 of 6 masks" in rule.problems[0]
    assert "m03.png" in rule.problems[0] and "until then it is an error" in rule.problems[0]
    with pytest.raises(DataError, match=r"m03\.png: value 7 at 1 of 1600 pixels"):
        read_all(records, rule)


@pytest.mark.parametrize("stray", [1, 2, 9, 200, 254])
def test_any_stray_beside_0_and_255(tmp_path: Path, stray: int) -> None:
    masks = [DISC * 255 for _ in range(8)]
    masks[5] = masks[5].copy()
    masks[5][2, :3] = stray
    rule = rule_of(write(tmp_path, masks))
    assert rule.mask_values == {0: 0, 255: 1} and len(rule.problems) == 1
    assert "m05.png" in rule.problems[0]


def test_a_stray_far_above_the_class_numbers(tmp_path: Path) -> None:
    masks = [mask.copy() for mask in CLASSES * 2]
    masks[1][0, 0] = 40
    rule = rule_of(write(tmp_path, masks))
    assert rule.classes == ("class_0", "class_1", "class_2") and "value 40" in rule.problems[0]


def test_a_rare_class_beside_others_stays_a_class(tmp_path: Path) -> None:
    masks = [mask.copy() for mask in CLASSES * 2]
    masks[1][0, 0] = 3
    rule = rule_of(write(tmp_path, masks))
    assert len(rule.classes) == 4 and rule.problems == ()


def test_a_class_table_and_a_value_that_it_does_not_name(tmp_path: Path) -> None:
    masks = [mask.copy() for mask in CLASSES]
    masks[4][0, 0] = 9
    table = ClassTable("classes.csv", {0: "a", 1: "b", 2: "c"}, None)
    rule = rule_of(write(tmp_path, masks), table)
    assert rule.classes == ("a", "b", "c") and "value 9: 1 pixels" in rule.problems[0]
    masks = [np.where(mask == 2, 9, mask).astype(np.uint8) for mask in CLASSES]
    with pytest.raises(DataError, match=r"value 9 .*which classes\.csv does not name"):
        rule_of(write(tmp_path / "many", masks), table)


def test_one_colour_mask_among_grey_ones_is_a_problem(tmp_path: Path) -> None:
    masks: Masks = [DISC * 255 for _ in range(5)]
    masks[2] = colored(DISC, [0, 0xFF0000])
    rule = rule_of(write(tmp_path, masks))
    assert rule.mask_values == {0: 0, 255: 1}
    assert "1 colour masks among masks of one band" in rule.problems[0]
    assert "m02.png" in rule.problems[0]


# --------------------------------------------------------------------------------- soft, inverted


@pytest.mark.parametrize("extension", ["png", "jpg"])
def test_soft_and_ringing_masks_get_a_threshold(tmp_path: Path, extension: str) -> None:
    records = write(tmp_path, [cv2.GaussianBlur(DISC * 255, (5, 5), 0)] * 3, extension)
    rule = rule_of(records)
    assert rule.task == "binary" and rule.mask_threshold in range(120, 130)
    assert f"{rule.mask_threshold} and above -> object" in rule.told
    assert (read_all(records, rule)[0] != DISC).mean() < 0.05


def test_deep_soft_masks_get_a_deep_threshold(tmp_path: Path) -> None:
    soft = (cv2.GaussianBlur(DISC.astype(np.float32), (5, 5), 0) * 65535).astype(np.uint16)
    records = write(tmp_path, [np.roll(soft, k) for k in range(3)])
    rule = rule_of(records)
    assert rule.mask_threshold is not None and abs(rule.mask_threshold - 32768) < 200
    assert (read_all(records, rule)[0] != DISC).mean() < 0.05


def test_masks_that_mark_the_background_are_told(tmp_path: Path) -> None:
    rule = rule_of(write(tmp_path / "a", [(1 - DISC) * 255] * 4))
    assert "inverted?" in rule.problems[-1] and "data.mask_invert: true" in rule.problems[-1]
    assert "data.mask_values: {0: 1, 255: 0}" in rule.problems[-1]
    assert rule.mask_values == {0: 0, 255: 1} and len(rule.problems) == 1
    masks = [DISC * 255] * 12
    masks[7] = (1 - DISC) * 255
    rule = rule_of(write(tmp_path / "b", masks))
    assert "inverted? 1 masks" in rule.problems[-1] and "b/m07.png" in rule.problems[-1]
    assert not rule_of(write(tmp_path / "c", [DISC * 255] * 12)).problems
    full = [DISC * 255] * 11 + [np.full_like(DISC, 255)]
    assert not rule_of(write(tmp_path / "d", full)).problems


@pytest.mark.parametrize("deep", [False, True])
def test_one_mask_of_another_depth_does_not_decide(tmp_path: Path, deep: bool) -> None:
    soft = cv2.GaussianBlur(DISC.astype(np.float32), (5, 5), 0)
    of = {False: (soft * 255).astype(np.uint8), True: (soft * 65535).astype(np.uint16)}
    masks = [np.roll(of[deep], k) for k in range(5)]
    rule = rule_of(write(tmp_path, [*masks, of[not deep], np.zeros_like(DISC)]))
    assert rule.mask_threshold is not None and (rule.mask_threshold > 255) == deep
    told = rule.problems[0]
    assert told.startswith("1 of 7 masks are of ") and "/m05.png; save them" in told
    assert any("read as empty" in p and "/m05.png" in p for p in rule.problems) == deep


def test_pascals_names_need_pascals_numbers(tmp_path: Path) -> None:
    few = [k * DISC for k in range(1, 6)]
    rule = rule_of(write(tmp_path / "few", few), layout="voc")
    assert rule.classes == tuple(f"class_{k}" for k in range(6))
    assert rule.source == "the mask values"
    many = [k * DISC for k in range(1, 16)]
    rule = rule_of(write(tmp_path / "many", many), layout="voc")
    assert rule.classes == VOC_CLASSES and rule.source == "Pascal VOC's list"
    colors = [colored(m, voc_colors(21)) for m in few]
    rule = rule_of(write(tmp_path / "colors", colors), layout="voc")
    assert rule.classes == tuple(f"class_{k}" for k in range(6)) and rule.ignore_index == 255


@pytest.mark.parametrize(
    ("text", "on", "classes", "ignore"),
    [
        ("building\nland\nroad\n", (0, 1, 2), ("building", "land", "road"), None),
        ("0 building\n1 land\n2 road\n", (0, 1, 2, 255), ("building", "land", "road"), 255),
        ("building\nland\nvoid\n", (0, 1, 255), ("building", "land"), 255),
        ("building\nland\nvoid\n", (0, 1, 2), ("building", "land"), 2),
        ("building\nland\n", (0, 1, 2), ("background", "building", "land"), None),
        ("building\n", (0, 255), ("building",), None),
        ("bg\nbuilding\n", (0, 1), ("building",), None),
        ("bg:0,0,0::\nland:9,9,9::\nroad:7,7,7::\n", (0, 1, 2), ("bg", "land", "road"), None),
    ],
)
def test_names_in_a_text_file(
    tmp_path: Path, text: str, on: tuple[int, ...], classes: tuple[str, ...], ignore: int | None
) -> None:
    masks: Masks = [np.resize(np.array(on, np.uint8), (12, 12 + k)) for k in range(4)]
    records = write(tmp_path / "masks", masks)
    (tmp_path / ("labelmap.txt" if ":" in text else "classes.txt")).write_text(text)
    listed = read_names(walk(tmp_path), "masks")
    assert listed is not None
    rule = rule_with_names(look_at_masks(records), listed, "")
    assert (rule.classes, rule.ignore_index, rule.source) == (classes, ignore, listed.source)
    read_all(records, rule)


def test_names_that_do_not_fit_are_a_problem(tmp_path: Path) -> None:
    records = write(tmp_path, [np.resize(np.arange(5, dtype=np.uint8), (9, 9))] * 4)
    (tmp_path / "classes.txt").write_text("a\nb\n")
    listed = read_names(walk(tmp_path), "")
    assert listed is not None
    rule = rule_with_names(look_at_masks(records), listed, "")
    assert rule.classes[0] == "class_0" and "classes.txt: 2 names, not used" in rule.problems[-1]
    for text in ("a\na\n", "x/1.png\nx/2.png\n", ""):
        (tmp_path / "classes.txt").write_text(text)
        assert read_names(walk(tmp_path), "") is None


# ---------------------------------------------------------------------------------------- colours

SOME = [0x000000, 0xFF0000, 0x0000FF]


def test_colour_masks_without_a_table(tmp_path: Path) -> None:
    records = write(tmp_path, [colored(mask, SOME) for mask in CLASSES])
    rule = rule_of(records)
    assert rule.mask_colors == {"#000000": 0, "#0000ff": 1, "#ff0000": 2}
    assert (
        rule.classes == ("background", "blue", "red") and "give the classes names" in rule.notes[0]
    )
    assert "#ff0000 -> red" in rule.told
    expected = np.array([0, 2, 1])[CLASSES[3]]
    assert np.array_equal(read_all(records, rule)[3], expected)
    two = rule_of(write(tmp_path / "two", [colored(DISC, [0, 0xFF00AA])] * 3))
    assert (two.task, two.mask_colors) == ("binary", {"#000000": 0, "#ff00aa": 1})


def test_a_stray_colour_is_a_problem(tmp_path: Path) -> None:
    masks = [colored(mask, SOME) for mask in CLASSES * 2]
    masks[4][0, 0] = (1, 2, 3)
    rule = rule_of(write(tmp_path, masks))
    assert rule.mask_colors == {"#000000": 0, "#0000ff": 1, "#ff0000": 2}
    assert "mask colour #010203: 1 pixels in 1 of 12 masks" in rule.problems[0]
    assert "m04.png" in rule.problems[0]


def test_colour_masks_saved_as_jpeg(tmp_path: Path) -> None:
    big = [np.kron(mask, np.ones((3, 3), np.uint8)) for mask in CLASSES]
    masks: Masks = [colored(mask, SOME) for mask in big]
    records = write(tmp_path, masks, "jpg", quality=90, subsampling=0)
    rule = rule_of(records)
    assert (
        len(rule.classes) == 3 and rule.mask_color_distance > 0 and "check that" in rule.problems[0]
    )
    order = np.array([0, 2, 1])
    for got, mask in zip(read_all(records, rule), big, strict=True):
        assert (got != order[mask]).mean() < 0.06
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    with pytest.raises(
        DataError, match=r"colour masks of \d+ colours, which are no classes .*m00\.png"
    ):
        rule_of(write(tmp_path / "noise", [noise] * 2))


@pytest.mark.parametrize("kind", ["rgb", "palette", "grey"])
def test_a_table_with_colours(tmp_path: Path, kind: str) -> None:
    colors = [0x000000, 0xFFFFFF, 0x808080] if kind == "grey" else [*SOME]
    masks: Masks = [colored(mask, colors) for mask in CLASSES]
    if kind == "palette":  # the order differs by file
        masks = [
            palette(
                np.array([k % 3, (k + 1) % 3, (k + 2) % 3], np.uint8)[mask],
                list(np.roll(colors, k)),
            )
            for k, mask in enumerate(CLASSES)
        ]
    if kind == "grey":
        masks = [mask[..., 0] for mask in masks]  # type: ignore[index]
    frame = pd.DataFrame(
        {
            "name": ["ground", "house", "void"],
            "r": [str(c >> 16) for c in colors],
            "g": [str(c >> 8 & 255) for c in colors],
            "b": [str(c & 255) for c in colors],
        }
    )
    table = class_table([Table("class_dict.csv", frame)])
    assert table is not None and table.names == {0: "ground", 1: "house"} and table.ignore == 2
    records = write(tmp_path, masks)
    rule = rule_of(records, table)
    assert (rule.task, rule.classes, rule.ignore_index) == ("multiclass", ("ground", "house"), 255)
    assert rule.mask_colors == {spelled(c): v for c, v in zip(colors, (0, 1, 255), strict=True)}
    for got, mask in zip(read_all(records, rule), CLASSES, strict=True):
        assert np.array_equal(got, np.array([0, 1, 255])[mask])


def test_a_table_with_colours_and_indices_that_agree_reads_the_indices(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"id": ["0", "1", "2"], "name": ["a", "b", "c"], "color": list(map(spelled, SOME))}
    )
    table = class_table([Table("labels.csv", frame)])
    for k, masks in enumerate((CLASSES, [palette(mask, SOME) for mask in CLASSES])):
        rule = rule_of(write(tmp_path / str(k), masks), table)  # type: ignore[arg-type]
        assert (rule.classes, rule.mask_colors) == (("a", "b", "c"), None)


def test_colours_that_the_table_does_not_name(tmp_path: Path) -> None:
    table = ClassTable("classes.csv", {0: "ground", 1: "house"}, None, {0: 0, 0xFF0000: 1})
    masks = [colored(mask, SOME) for mask in CLASSES]
    with pytest.raises(
        DataError, match=r"hold the colour #0000ff .*which classes\.csv does not name"
    ):
        rule_of(write(tmp_path, masks), table)
    masks = [colored(DISC, SOME) for _ in range(6)]
    masks[2][0, 0] = (9, 9, 9)
    rule = rule_of(
        write(tmp_path / "one", masks),
        ClassTable("c", {0: "background", 1: "x"}, None, table.colors),
    )
    assert (rule.task, rule.classes) == ("binary", ("x",)) and "#090909" in rule.problems[0]


def test_palettes_whose_order_differs_are_read_by_colour(tmp_path: Path) -> None:
    masks = [
        palette(DISC, [0, 0xFF0000]),
        palette(1 - DISC, [0xFF0000, 0]),
        palette(DISC, [0, 0xFF0000]),
    ]
    records = write(tmp_path, masks)  # type: ignore[arg-type]
    rule = rule_of(records)
    assert rule.mask_colors == {"#000000": 0, "#ff0000": 1} and rule.task == "binary"
    assert "palettes differ from file to file" in rule.notes[0] and "by colour" in rule.notes[0]
    assert all(np.array_equal(got, DISC) for got in read_all(records, rule))


def test_palettes_of_changing_colours_and_equal_indices_stay_indices(tmp_path: Path) -> None:
    masks = [palette(mask, [0, 0x100000 * (k + 1), 0x10 * k + 3]) for k, mask in enumerate(CLASSES)]
    rule = rule_of(write(tmp_path, masks))  # type: ignore[arg-type]
    assert rule.mask_colors is None and len(rule.classes) == 3
    assert any("palettes differ from file to file" in note for note in rule.notes)


def test_voc_colours(tmp_path: Path) -> None:
    assert [spelled(c) for c in voc_colors(4)] == ["#000000", "#800000", "#008000", "#808000"]
    assert spelled(voc_colors(21)[20]) == "#004080"
    colors = [*voc_colors(21), 0xE0E0C0]
    masks = [colored(np.where(DISC == 1, 15, 21 * (k % 2)), colors) for k in range(4)]
    records = write(tmp_path, masks)
    rule = rule_of(records, layout="voc")
    assert rule.classes == VOC_CLASSES and rule.ignore_index == 255
    got = read_all(records, rule)
    assert set(np.unique(got[0])) == {0, 15} and set(np.unique(got[1])) == {15, 255}


# ----------------------------------------------------------------------------------- small things


@pytest.mark.parametrize(
    ("columns", "codes"),
    [
        ({"R": ["1", "255"], "G": ["0", "0"], "B": ["0", "16"]}, [0x010000, 0xFF0010]),
        ({"red": ["1", "2"], "green": ["0", "0"], "blue": ["0", "0"]}, [0x010000, 0x020000]),
        ({"hex": ["#3C1098", "8429f6"]}, [0x3C1098, 0x8429F6]),
        ({"x": ["#3C1098", "#8429f6"]}, [0x3C1098, 0x8429F6]),
        ({"colour": ["(60, 16, 152)", "132 41 246"]}, [0x3C1098, 0x8429F6]),
        ({"name": ["a", "b"], "id": ["0", "1"]}, []),
    ],
)
def test_colours_in_a_table(columns: dict[str, list[str]], codes: list[int]) -> None:
    assert color_columns(pd.DataFrame(columns), "c.csv")[0] == codes


def test_colours_in_a_table_that_are_none() -> None:
    with pytest.raises(DataError, match=r"c\.csv: colour 300, 0, 0: expected numbers 0\.\.255"):
        color_columns(pd.DataFrame({"r": ["300"], "g": ["0"], "b": ["0"]}), "c.csv")
    with pytest.raises(DataError, match=r"c\.csv: the colour #010203 stands there twice"):
        color_columns(pd.DataFrame({"color": ["#010203", "010203"]}), "c.csv")
    assert parsed("0xFF00aa") == 0xFF00AA and parsed("red") is None


def test_two_ignored_rows_are_refused() -> None:
    frame = pd.DataFrame({"name": ["void", "ignore"], "color": ["#000000", "#ffffff"]})
    with pytest.raises(DataError, match=r"classes\.csv: more than one class to ignore"):
        class_table([Table("classes.csv", frame)])


def test_unreadable_masks_are_faults_not_the_end(tmp_path: Path) -> None:
    records = write(tmp_path, [DISC * 255] * 3)
    records[1].masks[0].write_bytes(b"")
    facts = look_at_masks(records)
    assert len(facts.faults) == 1 and "m01.png: empty file" in facts.faults[0]
    assert choose_rule(facts, None, "").mask_values == {0: 0, 255: 1}
    assert len(look_at_masks(records, max_pixels=100).faults) == 3


def test_the_rule_is_told_in_one_line(tmp_path: Path) -> None:
    rule = rule_of(write(tmp_path, CLASSES))
    assert rule.told.startswith("masks are read so: 0 -> class_0, 1 -> class_1, 2 -> class_2;")
    rule = rule_of(write(tmp_path / "b", [DISC * 255]))
    assert "0 -> background, 255 -> object; anything else is an error" in rule.told


# ------------------------------------------------------------------------------- the whole of init


def test_a_folder_of_colour_masks_becomes_a_competition(tmp_path: Path) -> None:
    from comp.commands import init
    from comp.config import load_competition

    (tmp_path / "data/images").mkdir(parents=True)
    for k, mask in enumerate(CLASSES):
        floats = np.random.default_rng(k).random((40, 40), np.float32) * 900
        Image.fromarray(floats).save(tmp_path / f"data/images/m{k:02d}.tif")
        assert mask.shape == floats.shape
    records = write(tmp_path / "data/masks", [colored(mask, SOME) for mask in CLASSES])
    init.run(tmp_path / "ws", tmp_path / "data")
    comp = load_competition(tmp_path / "ws")
    assert comp.data.mask_colors == {"#000000": 0, "#0000ff": 1, "#ff0000": 2}
    assert comp.data.scale == (0.0, 1000.0)
    assert np.array_equal(read_plane(records[2].masks[0], comp), np.array([0, 2, 1])[CLASSES[2]])
