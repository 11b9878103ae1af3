"""Stored probabilities: what goes in comes out, for any sizes, and damage is seen."""

import io
import pickle
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from comp.errors import DataError
from comp.store import Probs, ProbsWriter, quantise


def write(stem: Path, images: dict[str, np.ndarray], store: str = "uint8") -> Path:
    writer = ProbsWriter(stem, store)
    for image_id, q in images.items():
        writer.append(image_id, q)
    return writer.commit()[0]


def test_images_of_any_size_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = {f"città {n}": rng.integers(0, 256, (2, 3 + n, 7), dtype=np.uint8) for n in range(4)}
    probs = Probs(write(tmp_path / "oof.none", images))
    assert probs.ids == list(images)
    for image_id, q in images.items():
        assert probs.shape(image_id) == q.shape
        np.testing.assert_array_equal(probs.read(image_id), q)
        assert not probs.read(image_id).flags.writeable


def test_uint16_is_kept(tmp_path: Path) -> None:
    q = np.array([[[0, 1, 65535]]], np.uint16)
    probs = Probs(write(tmp_path / "p", {"a": q}, "uint16"))
    assert probs.dtype == np.uint16
    np.testing.assert_array_equal(probs.read("a"), q)


@given(hnp.arrays(np.float32, (1, 3, 5), elements=st.floats(0, 1, width=32)))
def test_quantising_rounds_to_the_nearest(probs: np.ndarray) -> None:
    q = quantise(probs)
    assert q.dtype == np.uint8
    assert np.abs(q / 255 - probs).max() <= 0.5 / 255 + 1e-6


def test_nothing_stands_under_the_final_name_before_commit(tmp_path: Path) -> None:
    writer = ProbsWriter(tmp_path / "p")
    writer.append("a", np.zeros((1, 2, 2), np.uint8))
    assert not (tmp_path / "p.npy").exists()
    writer.abandon()
    assert list(tmp_path.iterdir()) == []


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    npy = write(tmp_path / "p", {"a": np.zeros((1, 20, 20), np.uint8)})
    npy.write_bytes(npy.read_bytes()[:-50])
    with pytest.raises(DataError, match=r"p\.npy"):
        Probs(npy)


def test_an_index_of_another_file_is_refused(tmp_path: Path) -> None:
    npy = write(tmp_path / "p", {"a": np.zeros((1, 2, 2), np.uint8)})
    write(tmp_path / "q", {"a": np.zeros((1, 3, 2), np.uint8)})
    (tmp_path / "p.csv").write_bytes((tmp_path / "q.csv").read_bytes())
    with pytest.raises(DataError, match="do not fit"):
        Probs(npy)


def test_an_unknown_image_is_named(tmp_path: Path) -> None:
    probs = Probs(write(tmp_path / "p", {"a": np.zeros((1, 2, 2), np.uint8)}))
    with pytest.raises(DataError, match="holds no image 'b'"):
        probs.read("b")


def test_a_wrong_array_is_a_programming_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected"):
        ProbsWriter(tmp_path / "p").append("a", np.zeros((2, 2), np.uint8))


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 5)),
    st.lists(st.integers(0, 9), max_size=4),
    st.sampled_from(["uint8", "uint16"]),
)
def test_rows_appended_are_the_image(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    cuts: list[int],
    store: str,
) -> None:
    rng = np.random.default_rng(1)
    first, q = (rng.integers(0, 256, shape).astype(store) for _ in range(2))
    stem = tmp_path_factory.mktemp("rows") / "p"
    edges = sorted({0, shape[1], *(cut for cut in cuts if cut < shape[1])})
    with ProbsWriter(stem, store) as writer:
        writer.append("a", first)
        for start, stop in pairwise(edges):
            writer.append_rows("b", start, q[:, start:stop], shape[1])
        writer.append("c", first)
        probs = Probs(writer.commit()[0])
    assert probs.ids == ["a", "b", "c"]
    for image_id, whole in (("a", first), ("b", q), ("c", first)):
        np.testing.assert_array_equal(probs.read(image_id), whole)
        for start, stop in pairwise(edges):
            rows = probs.read_rows(image_id, start, stop)
            np.testing.assert_array_equal(rows, whole[:, start:stop])
            assert rows.dtype == whole.dtype and rows.flags.writeable


def test_rows_out_of_order_are_refused(tmp_path: Path) -> None:
    q = np.zeros((1, 2, 4), np.uint8)
    writer = ProbsWriter(tmp_path / "p")
    writer.append_rows("a", 0, q, 5)
    with pytest.raises(ValueError, match="a: expected rows from 2 of 5 as uint8, got 2 from 3"):
        writer.append_rows("a", 3, q, 5)
    with pytest.raises(ValueError, match="b: expected"):
        writer.append("b", q)
    with pytest.raises(ValueError, match="its last image has 2 rows and wants more"):
        writer.commit()
    writer.abandon()
    assert list(tmp_path.iterdir()) == []


def header(shape: str, descr: str = "'|u1'") -> bytes:
    """The head of an npy that claims a shape."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (117 - len(text)) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


class Evil:
    """Unpickled, it would end the test."""

    def __reduce__(self) -> object:
        return pytest.fail, ("code was run",)


def npz(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=values)
    return buffer.getvalue()


def npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=True)
    return buffer.getvalue()


FOREIGN = {
    "claims 4 TB": header("(4398046511104,)") + bytes(100),
    "claims more than there is": header("(99999999999999999999999,)") + bytes(100),
    "negative": header("(-1,)") + bytes(100),
    "two rows": header("(2, 3)") + bytes(6),
    "floats": npy(np.zeros(6, np.float32)),
    "objects": npy(np.array([Evil()], object)),
    "objects claimed": header("(1,)", "'|O'") + pickle.dumps(Evil()),
    "code for a shape": header("__import__('os').system('touch PWNED')"),
    "a pickle": pickle.dumps(Evil()),
    "an archive": npz(np.zeros(6, np.uint8)),
    "a bomb": npz(np.zeros(1 << 24, np.uint8)),
    "torn": header("(6,)")[:50],
    "short": header("(6,)") + bytes(5),
    "empty": b"",
}


@pytest.mark.parametrize("kind", list(FOREIGN))
def test_arrays_of_another_kind_are_refused_from_the_header(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "oof.none", {"a": np.zeros((1, 2, 3), np.uint8)})
    assert Probs(path).ids == ["a"]
    path.write_bytes(FOREIGN[kind])
    tracemalloc.start()
    with pytest.raises(DataError, match=r"cannot read probabilities .*oof\.none\.npy: "):
        Probs(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()
    assert not (tmp_path / "PWNED").exists()


@pytest.mark.parametrize(
    "row", ["a,x,2,3,0", "a,1,2", "a,1,2,3,-6", "a,-1,-2,3,0", "a,0,2,3,0", "a,1,2,3,0\nb,1,2,3,-1"]
)
def test_an_index_that_cannot_be_is_refused(tmp_path: Path, row: str) -> None:
    path = write(tmp_path / "oof.none", {"a": np.zeros((1, 2, 3), np.uint8)})
    path.with_suffix(".csv").write_text(f"image_id,K,H,W,offset\n{row}\n")
    with pytest.raises(DataError, match=r"oof\.none\.csv"):
        Probs(path)


def test_an_index_of_other_bytes_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "oof.none", {"a": np.zeros((1, 2, 3), np.uint8)})
    for data in (b"\xff\xfe", b"image_id\n" + b'"' + b"x" * 200_000):
        path.with_suffix(".csv").write_bytes(data)
        with pytest.raises(DataError, match=r"oof\.none\.csv"):
            Probs(path)
