"""Every odd input behaves as the table of the real folder says: on that folder, and on one drawn alike."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from comp.config import Competition, check
from comp.data.cache.cache import Recipe
from comp.data.cache.open import open_cache
from comp.data.images.decode import read_size
from comp.data.images.read import read_image
from comp.data.intake.masks import MaskRule, choose_rule, look_at_masks
from comp.data.sources.labels import read_labels
from comp.data.sources.records import Record, find_records, look_for_records
from comp.errors import DataError
from comp.formats.table import table_bytes
from comp.masks.rle import encode
from tests.data.odd_files import SIDE, draw_odd

THREE = {"task": "multiclass", "classes": ["ground", "a", "b"]}


@dataclass
class Odd:
    """One folder of odd inputs."""

    root: Path

    def competition(self, task: str = "binary", **more: Any) -> Competition:
        data = {k: more.pop(k) for k in list(more) if k.startswith(("mask_", "scale", "channels"))}
        values = {
            "name": "odd",
            "task": task,
            "classes": more.pop("classes", ["object"]),
            "data": {
                "root": str(self.root),
                "train": [{"images": "images/{id}.*", "masks": "masks/{id}.*"}],
                **data,
            },
            **more,
        }
        return check(Competition, values, "test")

    def record(self, stem: str) -> Record:
        """The pair as the package finds it."""
        found, _ = look_for_records(self.competition(), self.root)
        pairs = {record.image_id: record for record in found.train}
        assert stem in pairs, f"{stem} was not paired"
        return pairs[stem]

    def image(self, stem: str, channels: int = 3) -> np.ndarray:
        return read_image(self.record(stem).image, self.competition(channels=channels).data)

    def labels(self, stem: str, **more: Any) -> np.ndarray:
        return read_labels(self.record(stem), self.competition(**more))

    def rule(self, stem: str) -> MaskRule:
        return choose_rule(look_at_masks([self.record(stem)]), None, "")

    def problems(self) -> str:
        return "\n".join(look_for_records(self.competition(), self.root)[1])

    def refused(self, *stems: str) -> str:
        """What the package says before training, which reads every file into the cache."""
        records = [self.record(stem) for stem in stems]
        with pytest.raises(DataError) as caught:
            open_cache(self.root.parent / "never", self.competition(), records)
        return str(caught.value)


def as_the_control(odd: Odd, stem: str) -> None:
    assert np.array_equal(odd.image(stem), odd.image("00_control"))
    assert np.array_equal(odd.labels(stem), odd.labels("00_control"))


def control(odd: Odd, stem: str) -> None:
    image, labels = odd.image(stem), odd.labels(stem)
    assert image.shape == (SIDE, SIDE, 3) and image.dtype == np.uint8
    assert set(np.unique(labels)) == {0, 1} and odd.rule(stem).mask_values == {0: 0, 255: 1}


def deep_grey(odd: Odd, stem: str) -> None:
    image = odd.image(stem, 1)
    assert image.dtype == np.float32 and image.shape == (SIDE, SIDE, 1)
    stored = tifffile.imread(odd.record(stem).image)
    assert stored.max() > 1000 and np.array_equal(np.rint(image[..., 0] * 65535), stored)
    assert np.array_equal(odd.image(stem), np.repeat(image, 3, axis=2))


def deep_color(odd: Odd, stem: str) -> None:
    assert np.allclose(odd.image(stem), odd.image("00_control") / 255, atol=1e-6)


def four_bands(odd: Odd, stem: str) -> None:
    image = odd.image(stem, 4)
    assert np.array_equal(image[..., :3], odd.image("00_control"))
    assert np.array_equal(image[..., 3], 255 - image[..., 0])
    with pytest.raises(DataError, match=rf"{stem}\.tif: 4 bands, but data\.channels is 3"):
        odd.image(stem)


def five_bands(odd: Odd, stem: str) -> None:
    image = odd.image(stem, 5)
    control = odd.image("00_control")
    assert np.allclose(image[..., :3] * 65535, control.astype(int) * 40, atol=0.01)
    with pytest.raises(DataError, match=r"5 bands, but data\.channels is 3"):
        odd.image(stem)


def grey(odd: Odd, stem: str) -> None:
    one, three = odd.image(stem, 1), odd.image(stem)
    assert one.shape == (SIDE, SIDE, 1) and np.array_equal(three, np.repeat(one, 3, axis=2))


def palette_image(odd: Odd, stem: str) -> None:
    apart = np.abs(odd.image(stem).astype(int) - odd.image("00_control"))
    assert odd.image(stem).shape == (SIDE, SIDE, 3) and apart.mean() < 8  # near in colour


def narrow(odd: Odd, stem: str) -> None:
    import torch

    from comp.models.segmenter import Segmenter

    image = odd.image(stem)
    assert image.shape == (SIDE, 23, 3) and odd.labels(stem).shape == (SIDE, 23)
    seen: list[tuple[int, ...]] = []

    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(x.shape[-2:]))
            return x[:, :1]

    segmenter = Segmenter(Net(), task="binary", head="sigmoid", stride=32).eval()
    probs = segmenter(torch.from_numpy(image).permute(2, 0, 1)[None].float())
    assert seen == [(96, 32)] and probs.shape[-2:] == (SIDE, 23)
    cache = open_cache(
        odd.root.parent / "c", odd.competition(), [odd.record(stem)], Recipe((32, 32))
    )
    assert cache.image(0).shape == (32, 32, 3) and cache.original_size(0) == (SIDE, 23)


def spelled(odd: Odd, stem: str) -> None:
    as_the_control(odd, stem)
    assert odd.record(stem).image_id == stem
    text = table_bytes(("ImageId", "EncodedPixels"), [(stem, "1 2")]).decode("utf-8")
    assert list(csv.reader(io.StringIO(text)))[1] == [stem, "1 2"]


def upper(odd: Odd, stem: str) -> None:
    as_the_control(odd, stem)
    record = odd.record(stem)
    assert (record.image.name, record.masks[0].name) == ("09_UPPER.PNG", "09_UPPER.png")


def stored_orientation(odd: Odd, stem: str) -> None:
    assert odd.image(stem).shape == (64, SIDE, 3) and odd.labels(stem).shape == (64, SIDE)
    assert read_size(odd.record(stem).image) == (64, SIDE)
    apart = np.abs(odd.image(stem).astype(int) - odd.image("00_control")[:64])
    assert apart.mean() < 8


def binary_as_the_control(odd: Odd, stem: str) -> None:
    rule = odd.rule(stem)
    assert rule.task == "binary"
    for data in ({}, rule.data):
        assert np.array_equal(odd.labels(stem, **data), odd.labels("00_control"))


def three_indices(odd: Odd, stem: str) -> None:
    rule, labels = odd.rule(stem), odd.labels(stem, **THREE)
    assert (rule.task, len(rule.classes), rule.mask_colors) == ("multiclass", 3, None)
    assert set(np.unique(labels)) == {0, 1, 2}
    assert np.array_equal(labels > 0, odd.labels("00_control") > 0)


def soft(odd: Odd, stem: str) -> None:
    rule = odd.rule(stem)
    assert rule.task == "binary" and rule.mask_threshold is not None
    assert 110 <= rule.mask_threshold <= 130 and "soft edges" in rule.notes[0]
    labels = odd.labels(stem, **rule.data)
    assert (labels != odd.labels("00_control")).mean() < 0.05
    with pytest.raises(DataError, match=rf"{stem}.*expected 0 and one of 1, 255, 65535"):
        odd.labels(stem)


def nothing_and_all(odd: Odd, stem: str) -> None:
    from comp.metrics.counts import count_image
    from comp.metrics.scores import score_counts

    labels = odd.labels(stem)
    assert labels.min() == labels.max() == int("full" in stem)
    assert (encode(labels) == "") == ("empty" in stem)
    counts = count_image(labels, labels, "binary", 1)[None]
    assert score_counts("dice_image_mean", counts) == 1.0


def a_class_too_many(odd: Odd, stem: str) -> None:
    with pytest.raises(DataError, match=rf"{stem}\.png: value 7 at 100 of 9216 pixels"):
        odd.labels(stem, **THREE, ignore_index=255)
    with pytest.raises(DataError, match=rf"{stem}\.png: value 7 .*\(also 255\)"):
        odd.labels(stem, **THREE)
    declared = {"task": "multiclass", "classes": ["ground", "a", "b", "c"], "ignore_index": 255}
    values = {0: 0, 1: 1, 2: 2, 7: 3}
    assert set(np.unique(odd.labels(stem, **declared, mask_values=values))) == {0, 1, 2, 3, 255}


def unreadable(odd: Odd, stem: str) -> None:
    said = odd.refused("40_truncated", "41_zero_byte", "42_not_an_image", "00_control")
    assert "3 of 4 images cannot be read" in said and f"{stem}.png: " in said
    reason = {"40": "broken or cut short", "41": "empty file (0 bytes)", "42": "not an image"}
    assert f"{stem}.png: {reason[stem[:2]]}" in said


def other_size(odd: Odd, stem: str) -> None:
    assert re.search(rf"{stem}\.png: mask is 64 x 64 .* is 96 x 96", odd.refused(stem))


def alone(odd: Odd, stem: str) -> None:
    assert f"{stem}.png" in odd.problems()
    with pytest.raises(DataError, match=re.escape(f"{stem}.png")):
        find_records(odd.competition(), odd.root)


def two_of_one_stem(odd: Odd, stem: str) -> None:
    assert re.search(rf"{stem}\.jpg and .*{stem}\.png", odd.problems())
    assert len(odd.problems().splitlines()) == 3


def cut_mask(odd: Odd, stem: str) -> None:
    assert re.search(rf"masks/{stem}\.png: broken or cut short", odd.refused(stem))


def litter(odd: Odd, stem: str) -> None:
    found, _ = look_for_records(odd.competition(), odd.root)
    assert not {r.image_id for r in found.train} & {
        stem,
        "Thumbs",
        "._00_control",
        "00_control.png",
    }
    assert not [path for path in found.left_out if path.name.startswith(stem)]


ODD: dict[str, Callable[[Odd, str], None]] = {
    "00_control": control,
    "01_u16_gray": deep_grey,
    "02_u16_rgb": deep_color,
    "03_four_band": four_bands,
    "14_four_band_minisblack": four_bands,
    "04_five_band_u16": five_bands,
    "05_rgba": as_the_control,
    "06_gray": grey,
    "07_gray_palette": palette_image,
    "08_tall_narrow": narrow,
    "09_UPPER": upper,
    "10_città_日本": spelled,
    "11 spaces (1).v2": spelled,
    "12_png_named_jpg": as_the_control,
    "13_exif_rotated": stored_orientation,
    "20_mask_rgb": binary_as_the_control,
    "21_mask_palette": three_indices,
    "22_mask_01": binary_as_the_control,
    "23_mask_u16": binary_as_the_control,
    "24_mask_1bit": binary_as_the_control,
    "25_mask_soft": soft,
    "26_mask_jpg": soft,
    "27_mask_empty": nothing_and_all,
    "28_mask_full": nothing_and_all,
    "29_mask_class_7": a_class_too_many,
    "40_truncated": unreadable,
    "41_zero_byte": unreadable,
    "42_not_an_image": unreadable,
    "43_mask_other_size": other_size,
    "44_mask_missing": alone,
    "45_image_missing": alone,
    "46_duplicate_stem": two_of_one_stem,
    "47_mask_truncated": cut_mask,
    "._00_control": litter,
    "Thumbs": litter,
}


@pytest.fixture(scope="module")
def drawn_odd(tmp_path_factory: pytest.TempPathFactory) -> Odd:
    return Odd(draw_odd(tmp_path_factory.mktemp("odd") / "odd"))


@pytest.mark.parametrize("stem", ODD)
def test_a_drawn_odd_file(drawn_odd: Odd, stem: str) -> None:
    ODD[stem](drawn_odd, stem)


@pytest.mark.realdata
@pytest.mark.parametrize("stem", ODD)
def test_a_real_odd_file(real_data: Path, tmp_path: Path, stem: str) -> None:
    link = tmp_path / "odd"  # the checks keep caches beside the folder
    link.symlink_to(real_data / "odd")
    ODD[stem](Odd(link), stem)


@pytest.mark.realdata
def test_no_real_odd_file_is_forgotten(real_data: Path) -> None:
    found = {
        path.stem
        for folder in ("images", "masks")
        for path in (real_data / "odd" / folder).iterdir()
    }
    assert found == set(ODD)


def test_the_drawn_stems_are_the_tables(drawn_odd: Odd) -> None:
    found = {
        path.stem for name in ("images", "masks") for path in (drawn_odd.root / name).iterdir()
    }
    assert found == set(ODD)
