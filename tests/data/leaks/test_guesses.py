"""Groups by name, sequence and column: found where the pictures agree, refused where they do not."""

from __future__ import annotations

import numpy as np
import pytest

from comp.data.leaks.guesses import (
    Guess,
    _split_name,
    folder_groups,
    guess_by_column,
    guess_by_folder,
    guess_by_name,
    weigh,
)

N_SCENES, EACH = 12, 8


def looks_of(groups: list[int], seed: int = 0, apart: float = 4.0) -> np.ndarray:
    """(N, 7): images of one group look alike."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(0, apart, (max(groups) + 1, 7))
    return (centre[groups] + rng.normal(0, 1, (len(groups), 7))).astype(np.float32)


SCENES = [k // EACH for k in range(N_SCENES * EACH)]
TILES = [f"s{k // EACH:02d}_y{k % EACH // 4 * 256:04d}_x{k % 4 * 256:04d}" for k in range(96)]
FRAMES = [f"clip{k // EACH}_frame_{k % EACH:06d}" for k in range(96)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("t1_001_y0000_x0256", ("t1_001", 256)),
        ("0001TP_006690", ("0001TP_", 6690)),
        ("scene 3 (12, 40)", ("scene 3", 1240)),
        ("patient_7-slice_12", ("patient_7", 12)),
        ("video1_frame0012", ("video1", 12)),
        ("Tile 1/img_r3_c4", ("Tile 1/img", 34)),
        ("img_12", ("img_", 12)),
        ("max_12", ("max_", 12)),
        ("12", ("", 12)),
        ("abc", None),
        ("9f8e7d6c5b", None),
        ("20200101_3", ("20200101_", 3)),
        ("00071198d059ba7f5914a526d124d28e6d010c92466da21d4a04cd5413362552", None),
    ],
)
def test_names_are_split(name: str, expected: tuple[str, int] | None) -> None:
    assert _split_name(name) == expected


@pytest.mark.parametrize("ids", [TILES, FRAMES])
def test_names_group_where_pictures_agree(ids: list[str]) -> None:
    found = guess_by_name(ids, looks_of(SCENES), 5)
    assert found is not None and found.used and found.witness == "names"
    assert found.n_groups == N_SCENES and found.auc is not None and found.auc > 0.9
    assert [found.groups.index(g) // EACH for g in found.groups] == SCENES
    assert "used: the pictures agree" in found.told


def test_names_do_not_group_where_pictures_do_not_agree() -> None:
    looks = np.random.default_rng(1).normal(0, 1, (96, 7)).astype(np.float32)
    found = guess_by_name(TILES, looks, 5)
    assert found is not None and not found.used and "as by chance" in found.told
    assert found.told.endswith("if they are right: `comp folds --groups names`")


def test_an_auc_is_cut_not_rounded() -> None:
    guess = Guess("names", "names", ("a", "a"), 0.6489, False, "below 0.65, as by chance")
    assert "AUC 0.64; not used: below 0.65" in guess.told


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["a/0", "a/1", "b/0", "b/1"], ["a", "a", "b", "b"]),
        (["s/a/0", "s/b/0", "t/a/0", "t/b/0"], ["s", "s", "t", "t"]),
        (["a/0", "a/1", "b/0", "c"], ["a", "a", "b", ""]),
        (["a/0", "a/1", "a/2"], None),
        (["a/0", "b/0", "c/0"], None),
        (["0", "1"], None),
    ],
)
def test_folders_of_ids(ids: list[str], expected: list[str] | None) -> None:
    assert folder_groups(ids) == expected


def test_folders_are_used_whatever_they_look_like() -> None:
    looks = np.random.default_rng(1).normal(0, 1, (24, 7)).astype(np.float32)
    ids = [f"patient{k // 4:02d}/{k % 4}" for k in range(24)]
    found = guess_by_folder(ids, looks, 5)
    assert found is not None and found.used and found.n_groups == 6
    few = guess_by_folder(ids, looks, 8)
    assert few is not None and not few.used and "too few for 8 folds" in few.told
    assert guess_by_folder([f"n{k}" for k in range(24)], looks, 5) is None


def test_codes_and_lone_names_say_nothing() -> None:
    looks = looks_of(SCENES)
    assert guess_by_name([f"{k:08x}ab{k:06x}" for k in range(96)], looks, 5) is None
    assert guess_by_name([f"n{k}x{'abcdefgh'[k % 8]}" for k in range(4)], looks[:4], 5) is None


def test_a_film_is_cut_into_runs() -> None:
    rng = np.random.default_rng(0)
    looks = np.cumsum(rng.normal(0, 1, (200, 7)), axis=0).astype(np.float32)
    found = guess_by_name([f"img_{k}" for k in range(200)], looks, 5)
    assert found is not None and found.used and found.witness == "sequence"
    assert found.n_groups == 20 and found.groups[:10] == ("from img_0",) * 10
    still = guess_by_name([f"img_{k}" for k in range(200)], rng.permutation(looks), 5)
    assert still is not None and not still.used


def test_a_column_with_a_telling_name() -> None:
    source = [f"photo {s}" for s in SCENES]
    shares = [f"{k / 96:.4f}" for k in range(96)]
    first, second = guess_by_column(
        {"Source": source, "Area": [str(s // 2) for s in SCENES], "cover": shares},
        looks_of(SCENES),
        [],
        5,
    )
    assert first.used and first.what == "column 'Source'" and first.n_groups == N_SCENES
    assert not second.used and "finer" in second.why


def test_links_speak_against_and_for_a_column() -> None:
    links = [(k, k + 1) for k in range(0, 95, 2)]
    flat = np.random.default_rng(0).normal(0, 1, (96, 7)).astype(np.float32)
    (good,) = guess_by_column({"key": [f"k{s}" for s in SCENES]}, flat, links, 5)
    assert good.used and "48 of 48 linked pairs" in good.why
    mixed = [f"m{k % 12}" for k in range(96)]
    (bad,) = guess_by_column({"Source": mixed}, looks_of(SCENES), links, 5)
    assert not bad.used and bad.why == "48 of 48 linked pairs have two values"


def test_columns_that_cannot_be_groups_are_passed_over() -> None:
    looks = looks_of(SCENES)
    columns = {
        "Height": ["256", "512"] * 48,
        "id": [f"x{k}" for k in range(96)],
        "kind": ["a", "b"] * 48,
    }
    assert guess_by_column(columns, looks, [], 5) == []
    (open_,) = guess_by_column({"note": [f"n{s}" for s in SCENES]}, looks, [], 5)
    assert not open_.used and open_.told.endswith("right: `comp folds --groups note`")


def test_weigh_without_pairs_says_nothing() -> None:
    assert weigh(["a", "b", ""], looks_of([0, 1, 2])) == 0.5
    assert weigh(["a", "a", "a"], looks_of([0, 0, 0])) == 0.5
