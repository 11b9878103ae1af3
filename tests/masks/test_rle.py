"""Run-length codes against plain numpy, and every fault that the parser refuses."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from comp.errors import SubmissionError
from comp.masks import kernels, rle

MASKS = npst.arrays(
    np.uint8,
    npst.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=23),
    elements=st.integers(0, 1),
)
ORDERS = st.sampled_from(["column", "row"])


def plain_encode(mask: np.ndarray, order: str, base: int) -> str:
    """The oracle: where the padded pixels change."""
    pixels = np.concatenate([[0], mask.ravel("F" if order == "column" else "C"), [0]])
    change = np.flatnonzero(pixels[1:] != pixels[:-1])
    starts, ends = change[::2], change[1::2]
    return " ".join(
        f"{start + base} {end - start}" for start, end in zip(starts, ends, strict=True)
    )


def plain_decode(text: str, height: int, width: int, order: str, base: int) -> np.ndarray:
    flat = np.zeros(height * width, np.uint8)
    numbers = [int(word) for word in text.split()]
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        flat[start - base : start - base + length] = 1
    return flat.reshape((height, width), order="F" if order == "column" else "C")


@given(MASKS, ORDERS, st.integers(0, 1))
def test_encode_and_decode_equal_the_oracle(mask: np.ndarray, order: str, base: int) -> None:
    text = rle.encode(mask, order, base)
    assert text == plain_encode(mask, order, base)
    back = rle.decode(text, *mask.shape, order, base)
    assert back.dtype == np.uint8 and back.flags.c_contiguous
    np.testing.assert_array_equal(back, mask)
    np.testing.assert_array_equal(plain_decode(text, *mask.shape, order, base), mask)


@given(
    npst.arrays(
        np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.integers(0, 1)
    ),
    ORDERS,
    st.integers(1, 400),
    st.data(),
)
def test_pieces_of_a_large_mask_change_nothing(
    mask: np.ndarray, order: str, pixels: int, data: st.DataObject
) -> None:
    whole = rle.runs_of(mask, order)
    flip = mask.copy()
    flip[
        data.draw(st.integers(0, mask.shape[0] - 1)), data.draw(st.integers(0, mask.shape[1] - 1))
    ] ^= 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rle, "BAND_PIXELS", pixels)
        np.testing.assert_array_equal(rle.runs_of(mask, order), whole)
        assert rle.are_pixels_of(whole, mask, order)
        assert not rle.are_pixels_of(whole, flip, order)
        assert not rle.are_pixels_of(rle.runs_of(flip, order), mask, order)
        beyond = np.concatenate([whole, [[mask.size, 1]]])
        assert not rle.are_pixels_of(beyond, mask, order)


def test_a_large_mask_is_never_turned_whole() -> None:
    mask = np.zeros((6000, 6000), np.uint8)
    mask[100:200] = 1
    rle.runs_of(mask[:9], "column")  # numba compiles
    tracemalloc.start()
    try:
        runs = rle.runs_of(mask, "column")
        assert rle.are_pixels_of(runs, mask, "column")
        assert tracemalloc.get_traced_memory()[1] < 2.6 * mask.size
    finally:
        tracemalloc.stop()
    assert len(runs) == 6000


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (8, 8), (64, 96), (37, 101)])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99, 1.0])
def test_larger_masks_equal_the_oracle(shape: tuple[int, int], share: float) -> None:
    mask = (np.random.default_rng(3).random(shape) < share).astype(np.uint8)
    for order in ("column", "row"):
        assert rle.encode(mask, order) == plain_encode(mask, order, 1)
        np.testing.assert_array_equal(rle.decode(rle.encode(mask, order), *shape, order), mask)


@given(MASKS)
def test_word_skipping_finds_the_runs_of_long_plain_stretches(mask: np.ndarray) -> None:
    wide = np.repeat(mask, 11, axis=1)
    assert rle.encode(wide, "row") == plain_encode(wide, "row", 1)


@given(MASKS, ORDERS, st.integers(0, 1))
def test_relative_codes_read_back(mask: np.ndarray, order: str, base: int) -> None:
    text = rle.encode(mask, order, base, relative=True)
    place, drawn = 0, np.zeros(mask.size, np.uint8)
    numbers = [int(word) for word in text.split()]
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        place += start - base
        drawn[place : place + length] = 1
        place += length
    shape_order = "F" if order == "column" else "C"
    np.testing.assert_array_equal(drawn.reshape(mask.shape, order=shape_order), mask)
    back = rle.decode(text, *mask.shape, order, base, relative=True)
    np.testing.assert_array_equal(back, mask)


def test_a_relative_code_as_in_siim_acr() -> None:
    np.testing.assert_array_equal(
        rle.parse("3 2 1 4 0 1", 4, 5, base=0, relative=True), [[3, 2], [6, 4], [10, 1]]
    )
    assert rle.text_of(np.array([[3, 2], [6, 4]]), base=0, relative=True) == "3 2 1 4"
    with pytest.raises(SubmissionError, match=r"run 9 4 passes .* \(starts count from the end of"):
        rle.parse("3 5 9 4", 4, 5, base=0, relative=True)
    with pytest.raises(SubmissionError, match="start 0 is before the first pixel"):
        rle.parse("3 5 0 4", 4, 5, base=1, relative=True)


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("number", [10**19, 2**64 + 3, 10**30, (1 << 63) - 1, 12 * 10**17])
def test_numbers_beyond_64_bits_are_past_the_end(number: int, relative: bool) -> None:
    for text in (f"1 {number}", f"{number} 1"):
        with pytest.raises(SubmissionError, match="passes the last of"):
            rle.parse(text, 10**9, 10**9, relative=relative)


def test_a_worked_example() -> None:
    mask = np.zeros((4, 5), np.uint8)
    mask[:2, 0] = 1  # pixels 1 and 2 down the first column
    mask[2:, 1] = 1  # 7 and 8
    mask[0, 2] = 1  # 9
    assert rle.encode(mask) == "1 2 7 3"
    assert rle.encode(mask, base=0) == "0 2 6 3"
    assert rle.encode(mask, order="row") == "1 1 3 1 6 1 12 1 17 1"


def test_readonly_strided_bool_and_empty_masks_are_taken() -> None:
    mask = np.zeros((6, 8), np.uint8)
    mask[1:3, 2:6] = 1
    text = rle.encode(mask)
    frozen = mask.copy()
    frozen.setflags(write=False)
    wide = np.zeros((12, 16), np.uint8)
    wide[::2, ::2] = mask
    for same in (frozen, wide[::2, ::2], np.asfortranarray(mask), mask.astype(bool)):
        assert rle.encode(same) == text
    assert rle.encode(frozen, "row") == plain_encode(mask, "row", 1)
    assert rle.encode(np.zeros((0, 5), np.uint8)) == ""
    assert rle.decode("  ", 3, 2).sum() == 0


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.full((2, 2), 255, np.uint8), "0 and 1 only, got 255"),
        (np.array([[0] * 9 + [2]], np.uint8), "0 and 1 only, got 2"),
        (np.array([[1] * 11 + [3] + [0] * 9], np.uint8), "0 and 1 only, got 3"),
        (np.zeros((2, 2), np.int64), r"\(2, 2\) int64"),
        (np.zeros((1, 2, 2), np.uint8), r"\(1, 2, 2\) uint8"),
    ],
)
def test_what_is_no_mask_is_not_encoded(mask: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rle.encode(mask, "row")


@pytest.mark.parametrize(
    ("text", "base", "said"),
    [
        ("1 2 7", 1, "start 7 has no length: got an odd count of numbers, not pairs"),
        ("5", 1, "start 5 has no length"),
        ("0 2", 1, "start 0 is before the first pixel, which is number 1"),
        ("-1", 1, "-1 is negative; starts and lengths count pixels"),
        ("1 -2", 1, "-2 is negative"),
        ("-1 2", 0, "-1 is negative"),
        ("1 2 5 0", 1, "run 5 0 has no pixel: lengths are 1 or more"),
        ("20 2", 1, r"run 20 2 passes the last of 20 pixels \(4 x 5\)"),
        ("21 1", 1, "run 21 1 passes the last of 20 pixels"),
        ("20 1", 0, "run 20 1 passes the last of 20 pixels"),
        ("1 4 3 2", 1, "the runs 1 4 and 3 2 overlap"),
        ("3 2 1 4", 1, "the runs 1 4 and 3 2 overlap"),
        ("2 3 2 3", 1, "the runs 2 3 and 2 3 overlap"),
        ("1 20 1 1 2 1", 1, "overlap"),
        ("1.0 2.0", 1, "'1.0' is not a whole number"),
        ("1 2e1", 1, "'2e1' is not a whole number"),
        ("1 two", 1, "'two' is not a whole number"),
        ("+1 2", 1, r"'\+1' is not a whole number"),
        ("1,2", 1, "'1,2' is not a whole number"),
        ("1 2\n3 4", 1, r"'2\\n3' is not a whole number"),
        ("1 \u0662", 1, "'\u0662' is not a whole number"),
        ("nan", 1, "'nan' is not a whole number"),
        (f"1 {'9' * 100}", 1, r"run 1 99999999999999999999\.\.\. passes the last"),
        (f"{'1' * 100} 1", 1, r"run 11111111111111111111\.\.\. 1 passes the last"),
        ("9223372036854775807 9223372036854775807", 1, "passes the last of 20"),
        ("18446744073709551617 1", 1, "passes the last of 20"),
    ],
)
def test_the_parser_refuses(text: str, base: int, said: str) -> None:
    with pytest.raises(SubmissionError, match=f"^sub.csv: row 3, id 'a': .*{said}"):
        rle.parse(text, 4, 5, base, "sub.csv: row 3, id 'a'")
    with pytest.raises(SubmissionError):
        rle.decode(text, 4, 5, base=base)


def test_runs_may_come_unsorted_touching_and_widely_spaced() -> None:
    np.testing.assert_array_equal(rle.parse("7 3 1 2", 4, 5), [[0, 2], [6, 3]])
    np.testing.assert_array_equal(rle.parse(" 1 2\t3  4 ", 4, 5), [[0, 2], [2, 4]])
    np.testing.assert_array_equal(rle.parse("007 02", 4, 5), [[6, 2]])
    np.testing.assert_array_equal(rle.parse("1 20", 4, 5), [[0, 20]])


def test_more_runs_than_pixels_are_refused_before_they_are_held() -> None:
    # touching runs of no overlap cannot be more than the pixels; these go round and round
    text = "1 1 2 1 3 1 4 1 " * 200_000
    tracemalloc.start()
    with pytest.raises(SubmissionError, match=r"more runs than 4 pixels \(2 x 2\): they overlap"):
        rle.parse(text, 2, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * len(text)


def test_a_million_digits_are_refused_at_once() -> None:
    with pytest.raises(SubmissionError, match="passes the last of 1000000000000 pixels") as caught:
        rle.parse("1" * 1_000_000 + " 1", 10**6, 10**6)
    assert len(str(caught.value)) < 200
    with pytest.raises(SubmissionError, match="more than this program draws"):
        rle.decode("1 1", 10**6, 10**6)


@given(st.text(st.sampled_from("0123456789 -.\te"), max_size=30))
def test_any_text_is_a_mask_or_refused(text: str) -> None:
    try:
        mask = rle.decode(text, 4, 5)
    except SubmissionError:
        return
    np.testing.assert_array_equal(mask, plain_decode(text, 4, 5, "column", 1))


@given(MASKS, st.data())
def test_pixels_shared_by_runs_equal_pixels_shared_by_masks(
    a: np.ndarray, data: st.DataObject
) -> None:
    b = data.draw(npst.arrays(np.uint8, a.shape, elements=st.integers(0, 1)))
    shared = rle.shared_pixels(rle.runs_of(a), rle.runs_of(b))
    assert shared == int((a & b).sum())


@given(MASKS, st.data())
@settings(max_examples=50)
def test_union_of_runs_is_union_of_masks(a: np.ndarray, data: st.DataObject) -> None:
    b = data.draw(npst.arrays(np.uint8, a.shape, elements=st.integers(0, 1)))
    joined = rle.union([rle.runs_of(b), rle.runs_of(a)])
    np.testing.assert_array_equal(joined, rle.runs_of(a | b))
    assert rle.union([]).shape == (0, 2)


def test_union_keeps_a_run_inside_another() -> None:
    tables = [np.array([[0, 10]]), np.array([[2, 3]]), np.array([[10, 1], [20, 2]])]
    np.testing.assert_array_equal(rle.union(tables), [[0, 11], [20, 2]])


def test_kernels_equal_their_plain_twins_uncompiled() -> None:
    """The same source, run by Python: what the compiler made of it must not differ."""
    mask = (np.random.default_rng(1).random((9, 13)) < 0.4).astype(np.uint8)
    flat = rle.flatten(mask, "column")
    words = flat[: flat.size // 8 * 8].view(np.uint64)
    with np.errstate(over="ignore"):  # sums in a word's top byte overflow on purpose
        runs, wrong = kernels.find_runs.py_func(flat, words)
    assert wrong == -1
    np.testing.assert_array_equal(runs, rle.runs_of(mask))
    text = np.frombuffer(rle.text_of(runs).encode(), np.uint8)
    room = np.empty((len(runs) + 1, 2), np.int64)
    assert kernels.read_runs.py_func(text, 1, mask.size, room)[:2] == (0, len(runs))
    np.testing.assert_array_equal(room[: len(runs)], runs)
    code = np.frombuffer(rle.text_of(runs, 0, relative=True).encode(), np.uint8)
    assert kernels.read_runs.py_func(code, 0, mask.size, room, True)[:2] == (0, len(runs))
    np.testing.assert_array_equal(room[: len(runs)], runs)
    assert kernels.shared_pixels.py_func(runs, runs) == mask.sum()
    out = np.empty(len(text) + 1, np.uint8)
    assert kernels.write_runs.py_func(runs, 1, out) == len(text)
    assert kernels.write_runs.py_func(runs, 0, out, True) == len(code)
    np.testing.assert_array_equal(out[: len(code)], code)
    drawn = np.zeros(mask.size, np.uint8)
    kernels.fill_runs.py_func(runs, drawn)
    np.testing.assert_array_equal(drawn, flat)
