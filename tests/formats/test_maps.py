"""A submission of GeoTIFF masks: a zip that reads back as the table of codes that it stands for."""

from __future__ import annotations

import contextlib
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comp.config import Competition, Submission
from comp.errors import ConfigError, SubmissionError, UsageError
from comp.files import sha256
from comp.formats import maps
from comp.formats.geotiff import GeoReference, read_meaning
from comp.formats.maps import make_meaning, read_maps, write_maps

pytest.importorskip("rasterio")

SIZES = {"a": (6, 7), "Tile 1/007": (9, 4), "é.b": (5, 5)}
KINDS = {"binary": ("roof",), "multiclass": ("x", "y", "z"), "multilabel": ("x", "y", "z")}
PLACE = (0.5, 0.0, 400.0, 0.0, -0.5, 9000.0)


def draw(image_id: str, task: str) -> np.ndarray:
    rng = np.random.default_rng(list(image_id.encode()))
    size = SIZES[image_id]
    shape = (3, *size) if task == "multilabel" else size
    return rng.integers(0, 3 if task == "multiclass" else 2, shape).astype(np.uint8)


def place_of(image_id: str) -> GeoReference:
    return GeoReference(None, None if image_id == "a" else PLACE, SIZES[image_id])


def write(folder: Path, task: str = "binary", **more: Any) -> dict[str, Any]:
    layout = more.pop("layout", Submission(format="geotiff"))
    call: dict[str, Any] = {
        "ids": list(SIZES), "mask_of": lambda image_id: draw(image_id, task), "place_of": place_of,
        **more,
    }  # fmt: skip
    return write_maps(folder / "out.zip", layout, task, KINDS[task], **call)


def competition(task: str, **submission: Any) -> Competition:
    return Competition.model_validate(
        {
            "name": "toy", "task": task, "classes": list(KINDS[task]),
            "data": {"root": "data", "train": [{"images": "i/{id}.png"}]},
            "submission": {"format": "geotiff", **submission},
        }
    )  # fmt: skip


@pytest.mark.parametrize("task", list(KINDS))
@pytest.mark.parametrize("order", ["row", "column"])
def test_what_is_written_reads_back(tmp_path: Path, task: str, order: str) -> None:
    written = write(tmp_path, task)
    path = tmp_path / "out.zip"
    assert [p.name for p in tmp_path.iterdir()] == ["out.zip"]
    assert written["sha256"] == sha256(path) and written["bytes"] == path.stat().st_size
    assert written["images"] == 3 and written["rows"] == 3 * len(KINDS[task])
    assert written["unplaced"] == ["a"]
    names = KINDS[task]
    layout = Submission.model_validate(
        {"order": order, "base": 0, "row": "image"}
        if task == "binary"
        else {"order": order, "row": "image_class", "class_column": "c", "class_names": names}
    )
    problems: list[str] = []
    table, sizes = read_maps(path, layout, names, names, None, problems)
    assert not problems and sizes == SIZES and sorted(table.ids) == sorted(SIZES)
    n_empty = n_pixels = 0
    for image_id, size in SIZES.items():
        mask = draw(image_id, task)
        np.testing.assert_array_equal(table.mask(image_id, *size, task), mask)
        planes = [mask == k for k in range(3)] if task == "multiclass" else mask.reshape(-1, *size)
        n_empty += sum(not plane.any() for plane in planes)
        n_pixels += sum(int(plane.sum()) for plane in planes)
    assert (written["empty_rows"], written["foreground_px"]) == (n_empty, n_pixels)


def test_the_same_masks_make_the_same_bytes(tmp_path: Path) -> None:
    first = write(tmp_path)["sha256"]
    assert write(tmp_path)["sha256"] == first


def test_classes_are_found_by_name_then_by_number(tmp_path: Path) -> None:
    write(tmp_path, "multiclass")
    path = tmp_path / "out.zip"
    layout = Submission(row="image_class", class_column="c")
    want = {k: int((draw("a", "multiclass") == k).sum()) for k in range(3)}
    for names, shown, order in (
        (("2", "0"), ("2", "0"), (2, 0)),  # a key without a competition: by number
        (("1", "2"), ("y", "z"), (1, 2)),
        (("z", "x"), ("z", "x"), (2, 0)),
    ):
        table, _ = read_maps(path, layout, names, shown, None, [])
        sums = [int(table.runs("a", k, 6, 7, [])[:, 1].sum()) for k in range(2)]
        assert sums == [want[order[0]], want[order[1]]]
    problems: list[str] = []
    read_maps(path, layout, ("x", "lake"), ("x", "lake"), None, problems)
    assert "Tile 1/007.tif: has no class 'lake' of the key; its classes: x, y, z" in problems[0]


def foreign(path: Path, pixels: np.ndarray, name: str = "a.tif") -> Path:
    import rasterio

    tif = path.with_suffix(".tif")
    with rasterio.open(
        tif, "w", driver="GTiff", count=len(pixels), height=6, width=7, dtype=pixels.dtype.name,
        transform=rasterio.Affine(*PLACE),
    ) as target:  # fmt: skip
        target.write(pixels)
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(tif, name)
    return path


def test_files_of_another_program_are_read_by_the_competition(tmp_path: Path) -> None:
    mask = draw("a", "binary")
    path = foreign(tmp_path / "f.zip", mask[None] * np.uint8(255))
    layout, problems = Submission(), list[str]()
    read_maps(path, layout, ("",), ("roof",), None, problems)
    assert "f.zip: a.tif: does not say what its values mean (no tag COMP_CLASSES)" in problems[0]
    problems.clear()
    read_maps(path, layout, ("",), ("roof",), competition("binary"), problems)
    assert problems == ["f.zip: a.tif: holds the value 255; expected 0, 1"]
    problems.clear()
    known = competition("binary", pixel_values=[0, 255])
    table, _ = read_maps(path, layout, ("",), ("roof",), known, problems)
    assert not problems
    np.testing.assert_array_equal(table.mask("a", 6, 7), mask)
    foreign(path, np.zeros((2, 6, 7), np.uint16))
    read_maps(path, layout, ("",), ("roof",), known, problems)
    assert problems == ["f.zip: a.tif: 2 bands of uint16; expected 1 of uint8"]


def test_zips_that_hold_no_masks(tmp_path: Path) -> None:
    path = tmp_path / "s.zip"
    with pytest.raises(SubmissionError, match=r"missing file: .*s\.zip"):
        read_maps(path, Submission(), ("",), ("roof",), None, [])
    path.write_text("no zip")
    with pytest.raises(SubmissionError, match=r"cannot read .*s\.zip: File is not a zip file"):
        read_maps(path, Submission(), ("",), ("roof",), None, [])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(SubmissionError, match=r"s\.zip: no \.tif in it; expected one an image"):
        read_maps(path, Submission(), ("",), ("roof",), None, [])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a.tif", b"II*\0 torn")
    problems: list[str] = []
    read_maps(path, Submission(), ("",), ("roof",), None, problems)
    assert problems[0].startswith("s.zip: a.tif: cannot be read: ")


@pytest.mark.parametrize(
    "wrong",
    ["../a", "/a", "a//b", "a\\b", "./a", "", "a/..", "a\0b", "a\nb", "x" * 5000, "x" * 201, "C:a", "a/nul", "CON.b",
     "a/ /b", "a?", "\x1b[2J", "a/" * 600 + "b"],
)  # fmt: skip
def test_ids_that_would_leave_the_folder_are_refused(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(SubmissionError, match="1 test ids cannot name a file"):
        write(tmp_path, ids=["b", wrong])
    assert not list(tmp_path.iterdir())


def whole(tmp_path: Path) -> bytes:
    """A tif that is read without a problem."""
    write(tmp_path)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        return archive.read("a.tif")


def read(path: Path) -> list[str]:
    problems: list[str] = []
    read_maps(path, Submission(), ("",), ("roof",), None, problems)
    return problems


def test_members_of_a_zip_stay_where_they_are_unpacked(tmp_path: Path) -> None:
    tif = whole(tmp_path)
    path = tmp_path / "in" / "s.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("../../out.tif", "/tmp/comp-out.tif", "a/../../out.tif", "..\\out.tif"):
            archive.writestr(name, tif)
    before = sorted(tmp_path.rglob("*"))
    assert read(path) == []
    assert sorted(tmp_path.rglob("*")) == before and not Path("/tmp/comp-out.tif").exists()


def test_two_masks_of_one_image_are_a_problem(tmp_path: Path) -> None:
    tif = whole(tmp_path)
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("a.TIF", tif)
        archive.writestr("a.tif", tif)
        archive.writestr("b.tif", tif)
    assert read(tmp_path / "t.zip") == ["t.zip: a.tif: a second mask of 'a'"]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_that_unpacks_to_far_more_is_refused(
    tmp_path: Path, method: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maps, "MAX_UNPACKED", 1 << 20)
    with zipfile.ZipFile(tmp_path / "b.zip", "w", method) as archive:
        archive.writestr("a.tif", bytes(1 << 23))
    with pytest.raises(SubmissionError, match=r"b\.zip: claims to unpack to 8 MB from 0\.0 MB"):
        read(tmp_path / "b.zip")


@pytest.mark.parametrize("at", range(0, 2400, 193))
@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_flipped_bytes_of_a_zip_are_told(tmp_path: Path, method: int, at: int) -> None:
    noise = np.random.default_rng(1).integers(0, 256, 2000).astype(np.uint8).tobytes()
    with zipfile.ZipFile(tmp_path / "f.zip", "w", method) as archive:
        archive.writestr("a.tif", noise)
    data = bytearray((tmp_path / "f.zip").read_bytes())
    data[at % len(data)] ^= 0xFF
    (tmp_path / "f.zip").write_bytes(data)
    with contextlib.suppress(SubmissionError):
        assert read(tmp_path / "f.zip")


def test_a_tif_that_claims_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    monkeypatch.setattr(maps, "MAX_SIDE", 5)
    assert "out.zip: a.tif: claims " in "".join(read(tmp_path / "out.zip"))


@pytest.mark.parametrize(
    "said",
    ["{", "[]", '{"task": "binary"}', '{"task": "binary", "classes": [], "values": [0, 1]}',
     '{"task": "binary", "classes": ["a"], "values": [0]}', '{"task": [], "classes": ["a"], "values": [0, 1]}',
     '{"task": "binary", "classes": [{}], "values": [0, 1]}',
     '{"task": "binary", "classes": ["a"], "values": [0, 256]}',
     '{"task": "multiclass", "classes": ["a", "b"], "values": [0]}', "[" * 100_000],
)  # fmt: skip
def test_a_meaning_that_cannot_be_counts_as_none(said: str) -> None:
    class File:
        def tags(self) -> dict[str, str]:
            return {"COMP_CLASSES": said}

    assert read_meaning(File()) is None


def test_nothing_is_left_where_something_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match="1 test ids repeat: 'a'"):
        write(tmp_path, ids=["a", "é.b", "a"])
    with pytest.raises(SubmissionError, match=r"id 'Tile 1/007': expected a binary mask of shape"):
        write(tmp_path, mask_of=lambda _: np.zeros((6, 7), np.uint8))
    with pytest.raises(SubmissionError, match="id 'a': a mask holds the value 2; expected 0 to 1"):
        write(tmp_path, mask_of=lambda i: np.full(SIZES[i], 2, np.uint8))
    assert not list(tmp_path.iterdir())


def test_a_zip_that_does_not_read_back_is_not_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out.zip").write_text("old")
    monkeypatch.setattr(maps.zipfile.ZipFile, "testzip", lambda self: "a.tif")
    with pytest.raises(SubmissionError, match=r"out\.zip: does not read back as written: a\.tif"):
        write(tmp_path)
    assert (tmp_path / "out.zip").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_values_of_the_classes(tmp_path: Path) -> None:
    chosen = Submission(format="geotiff", pixel_values=(0, 255))
    assert make_meaning(chosen, "binary", ["roof"]).values == (0, 255)
    assert make_meaning(Submission(), "multiclass", ["x", "y", "z"]).values == (0, 1, 2)
    with pytest.raises(ConfigError, match=r"expected 3 values, one a class, got \[0, 255\]"):
        make_meaning(chosen, "multiclass", ["x", "y", "z"])
    with pytest.raises(ConfigError, match=r"expected 2 values, of background and foreground"):
        make_meaning(Submission(pixel_values=(1,)), "multilabel", ["x", "y"])
    with pytest.raises(ValueError, match="one value stands for one class"):
        Submission(pixel_values=(1, 1))
    with pytest.raises(ValueError, match="less than or equal to 255"):
        Submission(pixel_values=(0, 256))
    assert write(tmp_path, layout=chosen)["values"] == "0 background, 255 roof"


def test_without_rasterio_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(UsageError, match=r'pip install "comp\[geo\]"'):
        write(tmp_path)
    with pytest.raises(UsageError, match=r'pip install "comp\[geo\]"'):
        read_maps(tmp_path / "s.zip", Submission(), ("",), ("roof",), None, [])
    assert not list(tmp_path.iterdir())
