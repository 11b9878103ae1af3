"""Fold schemes: every image in one fold, balanced, the same again; groups and duplicates together."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.config import Competition
from comp.data.cache.open import open_cache
from comp.data.cache.stats import ImageStats
from comp.data.folds.balance import balance_table
from comp.data.folds.split import FOLD_SCHEMES, FoldTable, ensure_folds, make_folds, read_folds
from comp.data.sources.records import Record
from comp.errors import ConfigError, FoldsError

NOWHERE = Path("/nowhere")


def competition_of(
    task: str = "binary", n_classes: int = 1, meta: str | None = None, **folds: Any
) -> Competition:
    return Competition.model_validate(
        {
            "name": "toy",
            "task": task,
            "classes": [f"c{k}" for k in range(n_classes)],
            "data": {
                "root": "data",
                "train": [{"images": "{id}.png", "masks": "m/{id}.png"}],
                "meta": meta,
            },
            "folds": folds,
        }
    )


def images(
    n: int, n_classes: int = 1, hashes: dict[int, str] | None = None, n_val: int = 0
) -> tuple[list[Record], ImageStats]:
    """n records and statistics: a fifth without any foreground, the rest of growing coverage."""
    ids = [f"i{i:04d}" for i in range(n)]
    records = [
        Record(
            id_, Path(f"/d/{id_}.png"), (Path(f"/d/m/{id_}.png"),), "val" if i < n_val else "train"
        )
        for i, id_ in enumerate(ids)
    ]
    counts = np.array(
        [
            [(i % 5 > 0) * (i + k) * (k == 0 or (i + k) % (k + 2) > 0) for k in range(n_classes)]
            for i in range(n)
        ]
    )
    valid = np.full((n, n_classes), 5000)
    named = [(hashes or {}).get(i, f"h{i}") for i in range(n)]
    return records, ImageStats(
        tuple(ids), np.full((n, 2), 10), counts.reshape(n, -1), valid, tuple(named)
    )


def folds_of(
    n: int, hashes: dict[int, str] | None = None, root: Path = NOWHERE, n_val: int = 0, **folds: Any
) -> FoldTable:
    records, stats = images(n, hashes=hashes, n_val=n_val)
    meta = "meta.csv" if root is not NOWHERE else None
    return make_folds(competition_of(meta=meta, **folds), records, stats, root)


def write_meta(folder: Path, n: int, size: int = 4) -> Path:
    rows = [f"i{i:04d},g{i // size},{'AB'[i % 3 == 0]},{i * 0.37}" for i in range(n)]
    (folder / "meta.csv").write_text("ImageId,Source,Kind,Height\n" + "\n".join(rows) + "\n")
    return folder


@given(
    st.integers(4, 70),
    st.integers(2, 4),
    st.integers(0, 5),
    st.sampled_from(["kfold", "stratified"]),
)
@settings(max_examples=40)
def test_every_image_once_even_and_the_same_again(
    n: int, n_splits: int, seed: int, scheme: str
) -> None:
    table = folds_of(n, scheme=scheme, n_splits=n_splits, seed=seed)
    sizes = Counter(table.fold)
    assert sorted(sizes) == list(range(n_splits))
    assert max(sizes.values()) - min(sizes.values()) <= (1 if scheme == "kfold" else 11)
    assert table == folds_of(n, scheme=scheme, n_splits=n_splits, seed=seed)


@pytest.mark.parametrize("scheme", ["kfold", "stratified", "split"])
def test_another_seed_gives_other_folds(scheme: str) -> None:
    assert folds_of(60, scheme=scheme, seed=0).fold != folds_of(60, scheme=scheme, seed=1).fold


def test_stratified_balances_coverage_and_emptiness() -> None:
    table = folds_of(200, scheme="stratified", n_splits=5)
    _, stats = images(200)
    coverage = stats.coverage()[:, 0]
    empty = coverage == 0
    fold = np.array(table.fold)
    assert {int(empty[fold == f].sum()) for f in range(5)} == {int(empty.sum()) // 5}
    means = [coverage[fold == f].mean() for f in range(5)]
    assert max(means) / min(means) < 1.06
    assert set(table.stratum) == {"empty", *(f"coverage {b}" for b in range(10))}


def test_stratified_balances_classes() -> None:
    records, stats = images(120, n_classes=3)
    table = make_folds(
        competition_of("multiclass", 3, scheme="stratified", n_splits=4), records, stats, NOWHERE
    )
    fold = np.array(table.fold)
    per_fold = np.array([stats.presence()[fold == f].sum(axis=0) for f in range(4)])
    assert (per_fold.max(axis=0) - per_fold.min(axis=0) <= 3).all()


@pytest.mark.parametrize("scheme", ["group", "stratified_group"])
def test_groups_stay_together(tmp_path: Path, scheme: str) -> None:
    root = write_meta(tmp_path, 60)
    table = folds_of(60, root=root, scheme=scheme, group="Source", n_splits=4)
    assert table.group == tuple(f"g{i // 4}" for i in range(60))
    folds = {
        group: {f for g, f in zip(table.group, table.fold, strict=True) if g == group}
        for group in set(table.group)
    }
    assert all(len(found) == 1 for found in folds.values())
    sizes = Counter(table.fold).values()
    assert max(sizes) - min(sizes) <= (4 if scheme == "group" else 8)
    assert (
        folds_of(60, root=root, scheme=scheme, group="Source", n_splits=4, seed=7).fold
        != table.fold
    )


def test_strata_from_a_column(tmp_path: Path) -> None:
    root = write_meta(tmp_path, 60)
    table = folds_of(60, root=root, scheme="stratified", stratify="Kind", n_splits=5)
    pairs = Counter(zip(table.fold, table.stratum, strict=True))
    assert set(pairs.values()) == {4, 8}
    by_number = folds_of(60, root=root, scheme="stratified", stratify="Height", n_splits=5)
    assert set(by_number.stratum) == {f"bin {b}" for b in range(6)}


def test_predefined_and_its_absence() -> None:
    table = folds_of(10, n_val=3, scheme="predefined")
    assert table.fold == (0, 0, 0, *[-1] * 7) and table.n_splits == 1
    with pytest.raises(
        FoldsError, match=r"scheme predefined: no entry of data\.train has split: val"
    ):
        folds_of(10, scheme="predefined")


def test_heldout_list(tmp_path: Path) -> None:
    (tmp_path / "val.json").write_text('["i0002", "i0005.png"]')
    table = folds_of(8, root=write_meta(tmp_path, 8), scheme="heldout", heldout="val.json")
    assert [i for i, f in enumerate(table.fold) if f == 0] == [2, 5]
    with pytest.raises(FoldsError, match=r"folds\.heldout names no file; expected a JSON or CSV"):
        folds_of(8, scheme="heldout")


@given(st.integers(3, 300), st.floats(0.02, 0.4), st.sampled_from([0.0, 0.05, 0.2]))
@settings(max_examples=40)
def test_split_has_the_shares_it_says(n: int, val_share: float, test_share: float) -> None:
    table = folds_of(n, scheme="split", val_share=val_share, test_share=test_share)
    sizes = Counter(table.fold)
    assert sizes[0] == max(1, round(val_share * n))
    assert sizes[-2] == (max(1, round(test_share * n)) if test_share else 0)
    assert table.n_splits == 1


def test_split_90_5_5_is_stratified() -> None:
    table = folds_of(1000, scheme="split")
    assert Counter(table.fold) == {0: 50, -2: 50, -1: 900}
    per_stratum = Counter(s for s, f in zip(table.stratum, table.fold, strict=True) if f == 0)
    assert per_stratum["empty"] == 10 and set(per_stratum.values()) <= {3, 4, 5, 10}


def test_split_by_group_takes_few_groups(tmp_path: Path) -> None:
    root = write_meta(tmp_path, 80, size=8)
    table = folds_of(80, root=root, scheme="split", group="Source")
    assert Counter(table.fold) == {0: 8, -2: 8, -1: 64}


@pytest.mark.parametrize("scheme", ["kfold", "stratified", "split"])
def test_duplicates_share_a_fold_and_it_is_said(scheme: str) -> None:
    twins = {3: "same", 17: "same", 31: "same", 8: "too", 9: "too"}
    for seed in range(5):
        table = folds_of(40, twins, scheme=scheme, n_splits=4, seed=seed)
        assert (
            len({table.fold[i] for i in (3, 17, 31)}) == len({table.fold[i] for i in (8, 9)}) == 1
        )
    assert table.group[3] == table.group[31] == "duplicates of i0003" and table.group[0] == ""
    assert table.notes[0] == (
        "5 images are exact duplicates, kept together in 2 sets: i0003 = i0017 = i0031, i0008 = i0009"
    )
    few = [note for note in table.notes[1:] if "fewer than 20 images is worth little" in note]
    assert len(few) == len(table.notes) - 1 == (scheme == "split")


def test_groups_that_spoil_the_mix_are_said(tmp_path: Path) -> None:
    rows = [f"i{i:04d},g{i // 8},{'AABBB'[i // 8]},{i % 2}" for i in range(40)]
    (tmp_path / "meta.csv").write_text("ImageId,Source,Kind,Height\n" + "\n".join(rows) + "\n")
    by_group: dict[str, Any] = {"scheme": "stratified_group", "group": "Source", "n_splits": 5}
    (said,) = folds_of(40, root=tmp_path, stratify="Kind", **by_group).notes
    assert said.startswith("groups make the folds less even: 48% of a fold's images")
    assert said.endswith("without groups 4% (folds of 8, 8, 8, 8, 8 images)")
    assert folds_of(40, root=tmp_path, stratify="Height", **by_group).notes == ()


def test_duplicates_join_groups(tmp_path: Path) -> None:
    root = write_meta(tmp_path, 40)
    table = folds_of(40, {0: "same", 39: "same"}, root, scheme="group", group="Source", n_splits=4)
    assert {table.group[i] for i in (0, 1, 2, 3, 36, 37, 38, 39)} == {"g0"}
    assert len({table.fold[i] for i in (0, 3, 36, 39)}) == 1


def test_a_duplicate_of_a_validation_image_is_not_trained_on(tmp_path: Path) -> None:
    table = folds_of(10, {1: "same", 7: "same"}, n_val=3, scheme="predefined")
    assert table.fold[7] == 0
    assert "1 training images equal a validation image and moved to its fold: i0007" in table.notes


def test_groups_that_spoil_the_spread_of_labels_are_told(tmp_path: Path) -> None:
    root = write_meta(tmp_path, 60, size=12)
    told = folds_of(60, root=root, scheme="iterative", group="Source", n_splits=5).notes
    (said,) = [note for note in told if note.startswith("groups make")]
    assert said.startswith("groups make the folds less even: '")
    assert "of a fold's images, on average, more or fewer than in all; without groups no" in said
    assert folds_of(60, root=root, scheme="iterative", n_splits=5).notes == ()
    (tmp_path / "fine").mkdir()
    fine = write_meta(tmp_path / "fine", 60, size=2)
    assert folds_of(60, root=fine, scheme="iterative", group="Source", n_splits=3).notes == ()


def test_a_given_list_must_not_cut_a_group(tmp_path: Path) -> None:
    root = write_meta(tmp_path, 10)
    with pytest.raises(
        FoldsError, match="group 'g0' lies on both sides of the given split: i0000, i0001"
    ):
        folds_of(10, root=root, n_val=3, scheme="predefined", group="Source")


@pytest.mark.parametrize(
    ("n", "folds", "error", "message"),
    [
        (4, {"scheme": "kfold"}, FoldsError, "4 images cannot fill 5 folds; lower folds.n_splits"),
        (4, {"scheme": "stratified"}, FoldsError, "4 images cannot fill 5 folds"),
        (9, {"scheme": "kfold", "n_splits": 1}, FoldsError, "needs 2 or more; for one fold use scheme split"),
        (12, {"scheme": "group", "group": "Source", "n_splits": 4}, FoldsError, "3 groups cannot fill 4 folds"),
        (9, {"scheme": "group"}, FoldsError, "name a column of meta.csv (data.meta), it has: Source, Kind, Height"),
        (9, {"scheme": "Leave-One-Group-Out"}, ConfigError, "here it is called 'logo'"),
        (9, {"scheme": "group", "group": "names"}, FoldsError, "the image ids name no groups"),
        (9, {"scheme": "group", "group": "folders"}, FoldsError, "expected ids like scene3_017 (names)"),
        (9, {"scheme": "kfold", "group": "Source"}, ConfigError, "groups of 'Source' cross folds; use scheme group"),
        (9, {"scheme": "stratified", "group": "Source"}, ConfigError, "use scheme stratified_group, or drop"),
        (9, {"scheme": "stratifid"}, ConfigError, "unknown fold scheme 'stratifid'; did you mean"),
        (9, {"scheme": "group", "group": "Sorce"}, FoldsError, "unknown column 'Sorce'; did you mean 'Source'?"),
        (2, {"scheme": "split"}, FoldsError, "2 images in 2 parts that stay together cannot be split 90% / 5% / 5%"),
    ],
)  # fmt: skip
def test_what_cannot_be_divided(
    tmp_path: Path, n: int, folds: Any, error: Any, message: str
) -> None:
    with pytest.raises(error) as caught:
        folds_of(n, root=write_meta(tmp_path, n), **folds)
    assert message in str(caught.value)


def test_the_meta_table_must_know_every_image(tmp_path: Path) -> None:
    options: dict[str, Any] = {"scheme": "group", "group": "Source", "n_splits": 2}
    with pytest.raises(
        FoldsError, match="4 training images have no row: i0008, i0009, i0010, i0011"
    ):
        folds_of(12, root=write_meta(tmp_path, 8), **options)
    with pytest.raises(
        FoldsError, match=r"folds\.group is 'Source', but data\.meta names no table"
    ):
        folds_of(12, **options)
    (tmp_path / "meta.csv").write_text("ImageId,Source\ni0000,a\ni0001,\ni0002,b\n")
    with pytest.raises(FoldsError, match="column 'Source' is empty for 1 images: i0001"):
        folds_of(3, root=tmp_path, **options)
    (tmp_path / "meta.csv").write_text("ImageId,Source\ni0000,a\ni0000,b\n")
    with pytest.raises(Exception, match="1 ids have more than one row: i0000"):
        folds_of(1, root=tmp_path, **options)


def test_images_without_masks_have_no_strata() -> None:
    records, stats = images(10)
    stats.counts[:] = -1
    with pytest.raises(
        FoldsError, match="scheme stratified balances by the masks, and images have none"
    ):
        make_folds(competition_of(scheme="stratified"), records, stats, NOWHERE)
    assert set(make_folds(competition_of(scheme="kfold"), records, stats, NOWHERE).stratum) == {""}


def test_the_table_of_schemes_is_complete() -> None:
    assert sorted(FOLD_SCHEMES) == [
        "group",
        "heldout",
        "iterative",
        "kfold",
        "logo",
        "predefined",
        "split",
        "stratified",
        "stratified_group",
        "time",
    ]
    assert all(scheme.__doc__ for scheme in FOLD_SCHEMES.values())


def test_balance_table_of_one_class() -> None:
    records, stats = images(40, hashes={1: "s", 2: "s"})
    competition = competition_of(scheme="split", val_share=0.2, test_share=0.1)
    lines = balance_table(
        make_folds(competition, records, stats, NOWHERE), competition, stats
    ).splitlines()
    assert lines[0].startswith("split, seed 0, 1 fold(s), 40 images, hash ")
    assert lines[1].split() == ["fold", "images", "groups", "coverage", "empty"]
    assert [line.split()[0] for line in lines[2:6]] == ["0", "train", "held", "all"]
    assert lines[5].split() == ["all", "40", "1", f"{stats.coverage().mean():.4f}", "8"]
    assert lines[6].startswith("2 images are exact duplicates")


def test_balance_table_of_classes() -> None:
    records, stats = images(40, n_classes=3)
    competition = competition_of("multilabel", 3, scheme="kfold", n_splits=2)
    text = balance_table(make_folds(competition, records, stats, NOWHERE), competition, stats)
    rows = [line for line in text.splitlines() if line.startswith("c")]
    assert len(rows) == 4 and rows[0].split() == ["class", "0", "1", "all"]
    n = int((stats.counts[:, 2] > 0).sum())
    assert rows[3].split()[-2:] == [
        str(n),
        f"({stats.counts[:, 2].sum() / stats.valid[:, 2].sum():.1%})",
    ]


def test_ensure_folds_makes_them_once_and_says_so(make_toy) -> None:
    toy = make_toy(folds={"n_splits": 3})
    cache = open_cache(toy.workspace.cache, toy.competition, toy.records.train)
    said: list[str] = []
    table = ensure_folds(toy.workspace, toy.competition, toy.records, cache, said.append)
    assert said == ["folds: made folds/toy.csv: 3 fold(s) of 12 images, scheme stratified, seed 0"]
    assert read_folds(toy.workspace, toy.records) == table
    assert ensure_folds(toy.workspace, toy.competition, toy.records, cache, said.append) == table
    assert len(said) == 1
    other = toy.with_folds(n_splits=3, seed=5)
    assert ensure_folds(toy.workspace, other, toy.records, cache, said.append) == table
    assert said[1] == (
        "folds: folds/toy.csv was made by scheme stratified, seed 0, n_splits 3; "
        "the competition now says scheme stratified, seed 5, n_splits 3. The file counts; "
        "`comp folds --force` replaces it"
    )
    (toy.data / "images" / "t003.png").unlink()
    (toy.data / "masks" / "t003.png").unlink()
    with pytest.raises(FoldsError, match="1 of its ids have no image: t003"):
        ensure_folds(toy.workspace, toy.competition, toy.records, cache, said.append)


@pytest.mark.realdata
def test_dubai_groups_balance_classes(real_data: Path) -> None:
    import csv

    with open(real_data / "dubai" / "train_meta.csv", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["ImageId"])
    names = ["building", "land", "road", "vegetation", "water"]
    counts = np.array([[round(float(row[name]) * 65536) for name in names] for row in rows])
    records = [Record(row["ImageId"], Path(f"/d/{row['ImageId']}.jpg")) for row in rows]
    stats = ImageStats(
        tuple(r.image_id for r in records), np.full((len(rows), 2), 256), counts, np.full(counts.shape, 65536),
        tuple(r.image_id for r in records),
    )  # fmt: skip
    folds = {"scheme": "stratified_group", "group": "Source", "n_splits": 3}
    competition = competition_of("multiclass", 5, meta="train_meta.csv", **folds)
    table = make_folds(competition, records, stats, real_data / "dubai")
    fold = np.array(table.fold)
    shares = np.array([counts[fold == f].mean(axis=0) for f in range(3)]) / 65536
    assert (shares.max(axis=0) - shares.min(axis=0) < 0.08).all()
    assert len({(g, f) for g, f in zip(table.group, table.fold, strict=True)}) == 60
