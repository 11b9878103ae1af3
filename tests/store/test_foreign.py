"""Predictions that others made: what is read, what is refused and why. No torch, no competition."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.config import Submission
from comp.data.images.decode import decode
from comp.errors import DataError
from comp.masks.rle import encode
from comp.store.foreign import gather, open_foreign
from comp.store.foreign_header import MAGIC, Refused, read_header
from comp.store.foreign_parts import Part
from comp.store.foreign_table import Reading
from comp.store.foreign_values import Problems, Seen, arrange, as_planes, to_stored
from comp.store.probs import quantise

SIZE = (5, 7)
IDS = ["a", "b", "sub/c"]


def reading(n_classes: int = 1, task: str = "binary", **more: Any) -> Reading:
    submission = more.pop("submission", Submission())
    return Reading(
        lambda path: decode(path).pixels,
        submission,
        lambda ids, cells: {i: i for i in ids},
        n_classes,
        task,
        **more,
    )


def draw(n_planes: int = 1, ids: list[str] = IDS) -> dict[str, np.ndarray]:
    """(K, H, W) float32 of each id."""
    rng = np.random.default_rng(3)
    return {i: rng.random((n_planes, *SIZE), np.float32) for i in ids}


def read_all(
    path: Path, how: Reading, ids_file: Path | None = None, ids: list[str] = IDS
) -> tuple[dict[str, np.ndarray], list[str]]:
    """What is read, and what is told."""
    problems, found = Problems(), {}

    def keep(image_id: str, planes: np.ndarray) -> None:
        to_stored(planes, "uint8")
        found[image_id] = planes

    source = open_foreign(path, ids_file, ids, how, problems)
    gather(source, ids, lambda _: SIZE, how.n_classes, problems, "OOF", keep)
    return found, problems.lines()


def write_folder(folder: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    for image_id, values in arrays.items():
        (folder / image_id).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{image_id}.npy", values)
    return folder


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "f2", "f8", "u1", ">u2"])
def test_every_kind_of_file_gives_the_same_planes(
    tmp_path: Path, dtype: str, order: Any, last: bool
) -> None:
    drawn = draw(3)
    full = {"u1": 255, ">u2": 65535}.get(dtype, 1)
    given_ = {i: (v * full).astype(dtype) for i, v in drawn.items()}
    laid = {
        i: np.asarray(np.moveaxis(v, 0, -1) if last else v, order=order) for i, v in given_.items()
    }
    np.savez_compressed(tmp_path / "x.npz", **laid)
    np.save(tmp_path / "x.npy", np.asarray(np.stack(list(laid.values())), order=order))
    (tmp_path / "x.txt").write_text("\n".join(laid) + "\n")
    folder = write_folder(tmp_path / "x", laid)
    for path in (tmp_path / "x.npz", tmp_path / "x.npy", folder):
        found, told = read_all(path, reading(3, "multilabel"))
        assert told == []
        assert all(np.array_equal(found[i], given_[i]) for i in IDS)
        assert {v.dtype.isnative for v in found.values()} == {True}


def test_pictures_by_id(tmp_path: Path) -> None:
    import cv2
    import tifffile

    drawn = draw(3)
    for image_id, v in drawn.items():
        q = np.moveaxis((v * 65535).astype(np.uint16), 0, -1)
        (tmp_path / "p" / image_id).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "p" / f"{image_id}.png"), q[..., ::-1])
        (tmp_path / "t" / image_id).parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(
            tmp_path / "t" / f"{image_id}.tif", np.moveaxis(v, 0, -1), photometric="rgb"
        )
    (tmp_path / "p" / ".DS_Store").write_text("x")
    found, told = read_all(tmp_path / "p", reading(3, "multilabel"))
    assert told == [] and np.array_equal(found["a"], (drawn["a"] * 65535).astype(np.uint16))
    found, told = read_all(tmp_path / "t", reading(3, "multilabel"))
    assert told == [] and np.array_equal(found["sub/c"], drawn["sub/c"])


def test_codes_are_hard_votes_and_uncovered_pixels_the_background(tmp_path: Path) -> None:
    masks = {i: (v[0] > 0.5).astype(np.uint8) for i, v in draw().items()}
    lines = [f"{i},{encode(m)}" for i, m in masks.items()]
    path = tmp_path / "x.csv"
    path.write_text("\n".join(["ImageId,EncodedPixels", *lines]) + "\n")
    found, told = read_all(path, reading())
    assert told == [] and all(np.array_equal(found[i][0], masks[i] == 1) for i in IDS)
    classes = Submission(row="image_class", class_column="Class", class_names=("0", "1"))
    path.write_text("ImageId,EncodedPixels,Class\n" + "".join(f"{line},1\n" for line in lines))
    found, told = read_all(path, reading(2, "multiclass", submission=classes, background=0))
    assert told == [] and np.array_equal(found["b"].argmax(0), masks["b"])
    found, told = read_all(path, reading(2, "multiclass", submission=classes))
    assert len(told) == 1 and "pixels without a class" in told[0] and ": 3: a (" in told[0]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 65535), st.sampled_from(["uint8", "uint16"]))
def test_whole_numbers_are_rounded_to_the_nearest(value: int, store: str) -> None:
    one = np.full((1, 1, 1), value, np.uint16)
    assert to_stored(one, store)[0, 0, 0] == quantise(one / 65535, store)[0, 0, 0]
    if value < 256:
        one = one.astype(np.uint8)
        assert to_stored(one, store)[0, 0, 0] == quantise(one / 255, store)[0, 0, 0]
    assert to_stored(one > 0, store).max() == (np.iinfo(store).max if value else 0)


VALUES = [
    (np.nan, "NaN or infinite: 1 value"), (np.inf, "NaN or infinite"), (-0.5, "below 0: logits?"),
    (7.5, "above 1: logits?"), (254.0, "0..255 as float? divide by 255"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "said"), VALUES)
def test_values_that_are_no_probabilities(value: float, said: str) -> None:
    planes = np.full((1, *SIZE), 0.5, np.float32)
    planes[0, 2, 3] = value
    with pytest.raises(Refused) as caught:
        to_stored(planes, "uint8")
    assert said in str(caught.value)


def test_rounding_above_one_is_no_fault() -> None:
    assert to_stored(np.full((1, 2, 2), 1.000001, np.float32), "uint8").max() == 255
    assert to_stored(np.full((1, 2, 2), 1.001, np.float16), "uint16").max() == 65535


@pytest.mark.parametrize(
    ("shape", "n_planes", "said"),
    [
        ((2, *SIZE), 1, "expected 1 plane (the foreground alone): got 2"), ((*SIZE, 4), 3, "expected 3 planes"),
        (SIZE, 3, "expected 3 planes"), ((1, 7, 5), 1, "rows and columns swapped"), ((1, 5, 8), 1, "image (5, 7)"),
        ((35,), 1, "not of the image's own size"), ((), 1, "not of the image's own size"),
        ((1, 1, *SIZE), 1, "not of the image's own size"),
    ],
)  # fmt: skip
def test_shapes_that_are_not_the_images(shape: tuple[int, ...], n_planes: int, said: str) -> None:
    with pytest.raises(Refused) as caught:
        arrange(shape, n_planes, SIZE)
    assert said in str(caught.value)


def test_a_square_of_as_many_classes_is_planes_first() -> None:
    values = np.arange(27).reshape(3, 3, 3)
    assert np.array_equal(as_planes(values, arrange((3, 3, 3), 3, (3, 3))), values)


def test_scales_that_are_not_their_dtypes() -> None:
    for dtype, top, said in (("uint8", 1, "a mask of 0 and 1"), ("uint16", 255, "wrong dtype")):
        seen, problems = Seen(), Problems()
        seen.look(np.array([[[0, top]]], dtype))
        seen.check(problems, "OOF")
        assert said in problems.lines()[0]
        seen.look(np.array([[[0, top * 200]]], dtype))
        problems = Problems()
        seen.check(problems, "OOF")
        assert problems.lines() == []


def test_everything_is_told_at_once_with_five_names_and_the_count(tmp_path: Path) -> None:
    ids = [f"i{n}" for n in range(9)]
    arrays = draw(1, ids)
    del arrays["i8"]
    arrays |= {f"x{n}": arrays["i0"] for n in range(7)}
    for n in range(6):
        arrays[f"i{n}"] = arrays[f"i{n}"] * 9 - 4
    arrays["i6"] = arrays["i6"][:, :3]
    folder = write_folder(tmp_path / "f", arrays)
    np.save(folder / "i7.npy", np.array([{"a": 1}], object), allow_pickle=True)
    (folder / "i0.png").write_bytes(b"x")
    (folder / "notes.pkl").write_bytes(b"x")
    (folder / "link.npy").symlink_to(folder / "i0.npy")
    (folder / "away").symlink_to(tmp_path)
    (folder / "dead.npy").symlink_to(tmp_path / "nothing.npy")
    _, told = read_all(folder, reading(), ids=ids)
    text = "\n".join(told)
    for said in (
        "f holds links, which are not followed: 3: away, dead.npy, link.npy", "notes.pkl",
        "OOF: missing: 1: i8", "OOF: not asked for: 7: x0, x1, x2, x3, x4 (and 2 more)", "more than once: 1: i0",
        "below 0: logits? apply the sigmoid or softmax: 5: i1 (", "own size: 1: i6 (image (5, 7), got (1, 3, 7))",
        "pickled objects, which are never loaded; save plain numbers: 1: i7", "cannot be decoded: 1: i0",
    ):  # fmt: skip
        assert said in text, (said, text)


def npy(text: str, version: bytes = b"\x01\x00", n: int | None = None) -> bytes:
    """The head of an npy file with these words."""
    data = text.encode() + b"\n"
    length = len(data) if n is None else n
    return MAGIC + version + struct.pack("<H" if version == b"\x01\x00" else "<I", length) + data


HEADS = [
    (b"", "not an npy array"), (b"PK\x03\x04" + b"0" * 20, "not an npy array"),
    (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000, 1000)}"), "claims another size"),
    (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, -5, 7)}"), "a broken npy head: shape"),
    (npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"), "pickled objects"),
    (npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}"), "expected float16"),
    (npy("{'descr': '<i8', 'fortran_order': False, 'shape': (0,)}"), "expected float16"),
    (npy("{'descr': '<c8', 'fortran_order': False, 'shape': (0,)}"), "expected float16"),
    (npy("__import__('os').abort()"), "a broken npy head"), (npy("(" * 5000), "a broken npy head"),
    (npy("x", b"\x02\x00", 1 << 31), "head that is too long"), (npy("x", b"\x03\x00"), "of a version"),
    (npy("{'descr': '<f4'", n=9000), "a broken npy head"), (MAGIC + b"\x01\x00", "not an npy array"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("data", "said"), HEADS)
def test_heads_that_are_not_believed(data: bytes, said: str) -> None:
    with pytest.raises(Refused) as caught:
        read_header(io.BytesIO(data), len(data))
    assert said in str(caught.value)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=80))
def test_any_bytes_are_a_head_or_refused(data: bytes) -> None:
    for start in (MAGIC + b"\x01\x00", MAGIC + b"\x02\x00", b""):
        with pytest.raises(Refused):
            read_header(io.BytesIO(start + data), len(start + data) + 1)


def test_an_archive_that_unfolds_to_a_gigabyte_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    head = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 40000, 40000)}")
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a.npy", "w", force_zip64=True) as file,
    ):
        file.write(head)
        for _ in range(40):
            file.write(bytes(1 << 20))
    before = os.stat(path).st_size
    found, told = read_all(path, reading(), ids=["a"])
    assert before < 1 << 20 and found == {}
    assert "claims another size than there is: 1: a" in told[0]


def test_archives_that_are_broken_or_hold_code(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, **draw())
    data = bytearray(path.read_bytes())
    data[300] ^= 255  # a value of the first image
    path.write_bytes(bytes(data))
    found, told = read_all(path, reading())
    assert "broken, or cut short: 1: a (Bad CRC-32" in told[0] and list(found) == ["b", "sub/c"]
    path.write_bytes(bytes(data[:-60]))
    with pytest.raises(DataError, match="cannot read"):
        read_all(path, reading())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"cos\nsystem\n(S'touch PWNED'\ntR.")
        archive.writestr("../../out.npy", b"x")
    _, told = read_all(path, reading(), ids=["a"])
    assert "holds what is no array of numbers: 1: archive/data.pkl" in told[0]
    assert any("not asked for: 1: ../../out" in line for line in told)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.npz"]


def test_stacks_and_their_ids(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.stack(list(draw().values()))[:, 0])
    with pytest.raises(DataError, match=r"x\.txt \(one a line\)"):
        read_all(path, reading())
    ids = tmp_path / "ids.csv"
    ids.write_text("n,name\n1,a\n")
    with pytest.raises(DataError, match="expected a column image_id or id, got n, name"):
        read_all(path, reading(), ids)
    ids.write_text("image_id\na\nb\n")
    with pytest.raises(DataError, match="expected an array of 2 images"):
        read_all(path, reading(), ids)
    ids.write_text("image_id\na\nb\nb\n")
    assert read_all(path, reading(), ids)[1] == [
        "OOF: missing: 1: sub/c", "OOF: more than once: 1: b",
    ]  # fmt: skip
    ids.write_text("image_id\na.png\nb\nsub/c\n")
    assert read_all(path, reading(), ids)[1] == [
        "OOF: missing: 1: a", "OOF: not asked for; without their endings they are ours: 1: a.png",
    ]  # fmt: skip
    ids.write_text("image_id\na\nb\nsub/c\n")
    assert read_all(path, reading(), ids)[1] == []
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DataError, match="claims another size"):
        read_all(path, reading(), ids)


@pytest.mark.parametrize("kind", ["npy", "npz", "folder"])
def test_no_more_than_an_image_is_held(tmp_path: Path, kind: str) -> None:
    ids, one = [f"i{n}" for n in range(24)], np.full((1, 256, 256), 0.25, np.float32)
    if kind == "npz":
        np.savez(tmp_path / "x.npz", **dict.fromkeys(ids, one))
    elif kind == "npy":
        np.save(tmp_path / "x.npy", np.stack([one] * len(ids)))
        (tmp_path / "x.txt").write_text("\n".join(ids))
    else:
        write_folder(tmp_path / "x.folder", dict.fromkeys(ids, one))
    problems = Problems()
    source = open_foreign(tmp_path / f"x.{kind}", None, ids, reading(), problems)
    part = Part(source, "OOF", (0,), ids, lambda _: (256, 256), 1)
    tracemalloc.start()
    try:
        part.look(problems)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert problems.lines() == [] and len(part.marks) == len(ids)
    assert peak < 6 * one.nbytes  # 24 images would be 24


def test_what_is_none_of_these(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(DataError, match="pickles and weights are never loaded"):
        read_all(tmp_path / "x.pkl", reading())
    with pytest.raises(DataError, match=r"cannot read .*No such file"):
        read_all(tmp_path / "gone.npy", reading())
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="a pipe or a device"):
        read_all(tmp_path / "pipe", reading())
    (tmp_path / "f").mkdir()
    with pytest.raises(DataError, match="has the ids in its file names"):
        read_all(tmp_path / "f", reading(), tmp_path / "ids.txt")
