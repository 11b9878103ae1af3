"""data.exclude: training images left out as if they were not there, whatever their truth is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from comp.config import Competition, check, config_hash, load_competition
from comp.data.sources.records import look_for_records
from comp.errors import ConfigError


def draw(root: Path) -> None:
    """Images a, b, c, d with masks of a and b; m has a mask alone; d cannot be read; t is a test image."""
    picture, mask = np.full((8, 8, 3), 90, np.uint8), np.zeros((8, 8), np.uint8)
    for folder in ("images", "masks", "test"):
        (root / folder).mkdir()
    for name in "abc":
        cv2.imwrite(str(root / f"images/{name}.png"), picture)
    (root / "images/d.png").write_bytes(b"broken")
    for name in "abdm":
        cv2.imwrite(str(root / f"masks/{name}.png"), mask)
    cv2.imwrite(str(root / "test/t.png"), picture)
    cv2.imwrite(str(root / "test/a.png"), picture)
    (root / "codes.csv").write_text("ImageId,EncodedPixels\na,1 2\nb,1 3\nm,1 4\n")
    coco = {
        "images": [
            {"id": n, "file_name": f"{name}.png", "height": 8, "width": 8}
            for n, name in enumerate("abm")
        ],
        "categories": [{"id": 1, "name": "object"}],
        "annotations": [],
    }
    (root / "coco.json").write_text(json.dumps(coco))
    rows = ["image_id,split,image,masks", "t,test,test/t.png,"]
    rows += [f"{i},train,images/{i}.png,masks/{i}.png" for i in "abcd"]
    (root / "rows.csv").write_text("\n".join(rows) + "\n")


def competition(train: dict[str, Any], exclude: object = None, **more: Any) -> Competition:
    data = {"root": ".", "train": [train], "exclude": exclude, **more}
    whole = {"name": "x", "task": "binary", "classes": ["object"], "data": data}
    return check(Competition, whole, "x")


MASKS = {"images": "images/{id}.png", "masks": "masks/{id}.png"}
RLE = {"train_rle": {"file": "codes.csv"}}


@pytest.mark.parametrize(
    ("train", "more", "exclude"),
    [
        (MASKS, {"test": "test/{id}.png"}, ["c", "d", "m"]),
        ({"images": "images/{id}.png", "rle": True}, RLE, ["c", "d", "m"]),
        ({"images": "images/{id}.png", "coco": "coco.json"}, {}, ["c", "d", "m"]),
        ({"manifest": "rows.csv"}, {}, ["c", "d"]),
    ],
)
def test_excluded_images_are_as_if_not_there(
    tmp_path: Path, train: dict[str, Any], more: dict[str, Any], exclude: list[str]
) -> None:
    draw(tmp_path)
    assert look_for_records(competition(train, None, **more), tmp_path)[1]
    records, problems = look_for_records(competition(train, exclude, **more), tmp_path)
    assert problems == []
    assert [record.image_id for record in records.train] == ["a", "b"]
    assert records.alone == ()
    assert not [path for path in records.left_out if path.parent.name == "images"]


def test_test_images_stay(tmp_path: Path) -> None:
    draw(tmp_path)
    whole = competition(MASKS, ["a", "c", "d", "m"], test="test/{id}.png")
    records, problems = look_for_records(whole, tmp_path)
    assert problems == []
    assert [record.image_id for record in records.test] == ["a", "t"]


def test_unknown_ids_are_said_with_the_nearest(tmp_path: Path) -> None:
    draw(tmp_path)
    (tmp_path / "images/tile_01.png").write_bytes(b"")
    whole = competition(MASKS, ["c", "d", "m", "tile_01", "tile-01", "t"], test="test/{id}.png")
    _, (told,) = look_for_records(whole, tmp_path)
    assert told == (
        "data.exclude: 2 of its ids name no training image: 'tile-01' (did you mean 'tile_01'?),"
        " 't' is a test image"
    )


def workspace(root: Path, exclude: str) -> Path:
    (root / "configs").mkdir(exist_ok=True)
    (root / "configs/competition.yaml").write_text(
        "name: x\ntask: binary\nclasses: [object]\ndata:\n  root: data\n  train:\n"
        "    - images: images/{id}.png\n      masks: masks/{id}.png\n" + exclude
    )
    return root


def test_a_file_of_ids_is_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "configs/bad.txt").write_text("c\n\n d\nc\n")
    (tmp_path / "data/bad.txt").write_text("c\nd\n")
    plain = load_competition(workspace(tmp_path, ""))
    listed = load_competition(workspace(tmp_path, "  exclude: [c, d]\n"))
    for name in ("configs/bad.txt", "bad.txt"):
        assert load_competition(workspace(tmp_path, f"  exclude: {name}\n")) == listed
    assert listed.data.excluded == ("c", "d")
    assert config_hash(listed) != config_hash(plain)
    assert "exclude" not in plain.data.model_dump()  # a competition without it keeps its identity


def test_a_missing_file_and_a_number_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.exclude: no file bad\.txt in .* one a line"):
        load_competition(workspace(tmp_path, "  exclude: bad.txt\n"))
    with pytest.raises(ConfigError, match="image ids are text, in quotes, got 26"):
        load_competition(workspace(tmp_path, "  exclude: [26]\n"))
