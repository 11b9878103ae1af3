"""The schemes beyond plain folds: leave one group out, along time, iterative, repeated; groups from outside."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.config import Competition, Folds, check, resolved
from comp.data.cache.open import open_cache
from comp.data.cache.stats import ImageStats
from comp.data.folds.balance import balance_table, fold_parts
from comp.data.folds.check import check_competition
from comp.data.folds.groups import find_groups, join_duplicates, number_units
from comp.data.folds.split import ensure_folds, make_folds, read_folds
from comp.data.folds.table import FoldTable, check_table
from comp.data.sources.records import Record
from comp.errors import ConfigError, FoldsError

NOWHERE = Path("/nowhere")


def competition_of(task: str = "binary", n_classes: int = 1, **folds: Any) -> Competition:
    values = {
        "name": "toy",
        "task": task,
        "classes": [f"c{k}" for k in range(n_classes)],
        "data": {
            "root": "data",
            "train": [{"images": "{id}.png", "masks": "m/{id}.png"}],
            "meta": "meta.csv",
        },
        "folds": folds,
    }
    return check(Competition, values, "toy.yaml")


def images(n: int, n_classes: int = 1, twins: dict[int, str] | None = None) -> Any:
    ids = tuple(f"i{i:04d}" for i in range(n))
    records = [Record(i, Path(f"/d/{i}.png"), (Path(f"/d/m/{i}.png"),)) for i in ids]
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 50, (n, n_classes)) * (rng.random((n, n_classes)) < 0.4)
    hashes = tuple((twins or {}).get(i, f"h{i}") for i in range(n))
    return records, ImageStats(ids, np.full((n, 2), 10), counts, np.full(counts.shape, 100), hashes)


def write_meta(folder: Path, n: int, size: int = 4) -> Path:
    rows = [f"i{i:04d},g{i // size:02d},2024-01-{1 + i % 28:02d}" for i in range(n)]
    (folder / "meta.csv").write_text("ImageId,Source,Day\n" + "\n".join(rows) + "\n")
    return folder


def make(n: int, root: Path, task: str = "binary", n_classes: int = 1, **folds: Any) -> FoldTable:
    return make_folds(competition_of(task, n_classes, **folds), *images(n, n_classes), root)


def test_one_fold_a_group(tmp_path: Path) -> None:
    table = make(22, write_meta(tmp_path, 22), scheme="logo", group="Source")
    assert table.n_splits == table.n_folds == 6 and table.scheme == "logo"
    assert table.fold == tuple(i // 4 for i in range(22))
    assert table.notes[0] == "one fold a group: 6 groups, so 6 models a config"


def test_groups_that_share_a_duplicate_are_left_out_together(tmp_path: Path) -> None:
    records, stats = images(12, twins={0: "same", 11: "same"})
    competition = competition_of(scheme="logo", group="Source")
    table = make_folds(competition, records, stats, write_meta(tmp_path, 12))
    assert table.n_splits == 2 and table.group[11] == table.group[0] == "g00"
    assert table.fold == (*[0] * 4, *[1] * 4, *[0] * 4)


def test_logo_needs_groups_and_two_of_them(tmp_path: Path) -> None:
    root = write_meta(tmp_path, 4)
    with pytest.raises(FoldsError, match=r"scheme logo needs groups, and folds\.group is not set"):
        make(4, root, scheme="logo")
    with pytest.raises(
        FoldsError, match="every image is of the group 'g00'; expected 2 groups or more"
    ):
        make(4, root, scheme="logo", group="Source")
    records, stats = images(4)
    with pytest.raises(
        FoldsError, match="2 images belong to no group: i0001, i0003; use scheme strat"
    ):
        make_folds(
            competition_of(scheme="logo", group="auto"), records, stats, root,
            {"i0000": "a", "i0001": "", "i0002": "b"},
        )  # fmt: skip


def test_time_before_trains_on_the_past(tmp_path: Path) -> None:
    table = make(28, write_meta(tmp_path, 28), scheme="time", time="Day", n_splits=3, purge=2)
    assert table.fold == (*[-1] * 7, *[0] * 7, *[1] * 7, *[2] * 7)
    assert table.training(0) == list(range(6))  # the 7th is the day before: nearer than 2
    assert table.training(2) == list(range(20))
    assert table.notes[0] == (
        "fold 0: 7 images from 2024-01-08 to 2024-01-14, trained on 6, 1 purged"
    )
    text = balance_table(table, competition_of(scheme="time"), images(28)[1])
    rows = [line.split() for line in text.splitlines()[1:6]]
    assert rows[0] == ["fold", "images", "groups", "coverage", "empty", "trained", "on"]
    assert [row[-1] for row in rows[1:4]] == ["6", "13", "20"]
    assert rows[4][:2] == ["train", "7"] and len(rows[4]) == 5


def test_time_around_trains_on_both_sides(tmp_path: Path) -> None:
    root = write_meta(tmp_path, 28)
    table = make(28, root, scheme="time", time="Day", n_splits=4, train_on="around", purge=3)
    assert Counter(table.fold) == dict.fromkeys(range(4), 7)
    assert table.training(1) == [*range(5), *range(16, 28)]
    whole = make(28, root, scheme="time", time="Day", n_splits=4, train_on="around")
    assert whole.training(1) == [*range(7), *range(14, 28)]


@pytest.mark.parametrize(
    ("n", "folds", "message"),
    [
        (9, {}, "scheme time: folds.time names no column of data.meta"),
        (9, {"time": "Date"}, "unknown column 'Date'; expected one of"),
        (9, {"time": "Source"}, "meta.csv: column 'Source' (folds.time): 9 cells are neither number nor date"),
        (4, {"time": "Day"}, "folds.time: 4 different times cannot fill 6 blocks; lower folds.n_splits"),
        (9, {"time": "Day", "n_splits": 1, "train_on": "around"}, "scheme time needs 2 or more with train_on: around"),
        (9, {"time": "Day", "n_splits": 3, "purge": 30}, "nothing is left to train on; lower folds.purge"),
    ],
)  # fmt: skip
def test_time_that_cannot_be_divided(
    tmp_path: Path, n: int, folds: dict[str, Any], message: str
) -> None:
    with pytest.raises(FoldsError) as caught:
        make(n, write_meta(tmp_path, n), scheme="time", **folds)
    assert message.partition(";")[0] in str(caught.value)


def test_iterative_balances_several_classes_better_than_patterns() -> None:
    table = make(300, NOWHERE, "multilabel", 6, scheme="iterative")
    _, stats = images(300, 6)
    parts = fold_parts(table, competition_of("multilabel", 6), stats)[:5]
    spread = np.ptp([part.n_with for part in parts], axis=0)
    assert spread.max() <= 2 and np.ptp([part.n_images for part in parts]) <= 3
    assert table == make(300, NOWHERE, "multilabel", 6, scheme="iterative")


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_iterative_keeps_groups_and_duplicates_whole(tmp_path: Path, task: str) -> None:
    n_classes = 1 if task == "binary" else 4
    records, stats = images(80, n_classes, twins={0: "same", 79: "same"})
    competition = competition_of(task, n_classes, scheme="iterative", group="Source", n_splits=4)
    table = make_folds(competition, records, stats, write_meta(tmp_path, 80, size=5))
    assert len(set(zip(table.group, table.fold, strict=True))) == 15
    assert table.fold[0] == table.fold[79]
    assert np.ptp(list(Counter(table.fold).values())) <= 5


def test_iterative_balances_a_column_too(tmp_path: Path) -> None:
    root = write_meta(tmp_path, 60, size=30)
    table = make(60, root, "multilabel", 3, scheme="iterative", stratify="Source", n_splits=3)
    assert set(Counter(zip(table.fold, table.stratum, strict=True)).values()) <= {9, 10, 11}


def test_iterative_with_few_images_or_no_masks() -> None:
    with pytest.raises(FoldsError, match=r"3 images cannot fill 5 folds; lower folds\.n_splits"):
        make(3, NOWHERE, scheme="iterative")
    records, stats = images(10)
    stats.counts[:] = -1
    with pytest.raises(FoldsError, match="scheme iterative balances by the masks, and images have"):
        make_folds(competition_of(scheme="iterative"), records, stats, NOWHERE)


@given(st.sampled_from(["kfold", "stratified", "iterative"]), st.integers(2, 4), st.integers(0, 20))
@settings(max_examples=20)
def test_repeats_divide_anew_and_no_model_sees_what_it_is_scored_on(
    scheme: str, n_repeats: int, seed: int
) -> None:
    folds = {"scheme": scheme, "n_splits": 3, "seed": seed}
    records, stats = images(40, twins={5: "same", 30: "same"})
    table = make_folds(competition_of(**folds, n_repeats=n_repeats), records, stats, NOWHERE)
    assert table.n_repeats == n_repeats and table.n_folds == 3 * n_repeats
    assert table.fold == make_folds(competition_of(**folds), records, stats, NOWHERE).fold
    for number in range(table.n_folds):
        validated, trained = set(table.validation(number)), set(table.training(number))
        assert not validated & trained and len(validated | trained) == 40
        assert len({5, 30} & validated) != 1
    for repeat in range(n_repeats):
        numbers = range(repeat * 3, repeat * 3 + 3)
        assert sorted(i for f in numbers for i in table.validation(f)) == list(range(40))
    assert len({tuple(f % 3 for f in folds) for folds in table.assignments}) == n_repeats


def test_what_cannot_be_repeated(tmp_path: Path) -> None:
    root = write_meta(tmp_path, 12)
    with pytest.raises(ConfigError) as caught:
        make(12, root, scheme="logo", group="Source", n_repeats=3)
    assert str(caught.value) == (
        "folds.n_repeats is 3: scheme logo divides in one way only; schemes that repeat: "
        "kfold, stratified, iterative, group, stratified_group"
    )
    with pytest.raises(FoldsError, match="scheme group divides repeat 2 as repeat 1; lower"):
        make(12, root, scheme="group", group="Source", n_splits=3, n_repeats=2)


def test_balance_of_repeats_has_a_row_a_fold() -> None:
    competition = competition_of(scheme="kfold", n_splits=2, n_repeats=2)
    records, stats = images(10)
    table = make_folds(competition, records, stats, NOWHERE)
    lines = balance_table(table, competition, stats).splitlines()
    assert lines[0].startswith("kfold, seed 0, 2 repeats of 2 fold(s), 10 images, hash ")
    assert [line.split()[:2] for line in lines[2:7]] == [
        ["0", "5"], ["1", "5"], ["2", "5"], ["3", "5"], ["all", "10"],
    ]  # fmt: skip


def test_groups_from_outside_count_instead_of_a_column(tmp_path: Path) -> None:
    given = {f"i{i:04d}": f"scene {i // 10}" for i in range(30)}
    competition = competition_of(scheme="stratified_group", group="auto", n_splits=3)
    records, stats = images(40)
    table = make_folds(competition, records, stats, NOWHERE, given)
    assert table.group[9] == "scene 0" and table.group[39] == ""
    assert len({(g, f) for g, f in zip(table.group, table.fold, strict=True) if g}) == 3
    with pytest.raises(
        FoldsError, match=r"folds\.group is auto, and nothing looked for the groups"
    ):
        make_folds(competition, records, stats, NOWHERE)
    for scheme, better in (("kfold", "group"), ("stratified", "stratified_group")):
        with pytest.raises(
            ConfigError, match=f"groups of 'auto' cross folds; use scheme {better}, or"
        ):
            make_folds(competition_of(scheme=scheme), records, stats, NOWHERE, given)


def test_duplicates_join_what_they_touch() -> None:
    ids = [f"i{i}" for i in range(7)]
    groups = ["a", "a", "b", "", "", "", "c"]
    assert join_duplicates(groups, [[1, 2], [3, 4]], ids) == [
        "a", "a", "a", "duplicates of i3", "duplicates of i3", "", "c",
    ]  # fmt: skip
    assert number_units(["b", "", "a", "b", ""]).tolist() == [1, 2, 0, 1, 3]
    records, stats = images(3)
    assert find_groups(competition_of(scheme="kfold"), records, stats, NOWHERE) == ([""] * 3, [])


def test_classes_that_a_fold_lacks_are_said() -> None:
    records, stats = images(20, 4)
    stats.counts[:] = 5
    stats.counts[:, 1] = 0
    stats.counts[:, 2] = 0
    stats.counts[3, 2] = 4
    table = make_folds(
        competition_of("multilabel", 4, scheme="kfold", n_splits=4), records, stats, NOWHERE
    )
    own = table.fold[3]
    others = ", ".join(str(f) for f in range(4) if f != own)
    assert table.notes == (
        "class 'c1' is in no training image",
        f"class 'c2' is never trained on in fold {own}",
        f"class 'c2' is not in the validation images of fold {others}",
    )


@pytest.mark.parametrize(
    "folds", [{"n_splits": 2, "n_repeats": 3}, {"scheme": "time", "time": "Day", "n_splits": 2}]
)
def test_written_read_and_checked_again(make_toy, folds: dict[str, Any]) -> None:
    toy = make_toy(folds=folds, data={"meta": "meta.csv"})
    rows = [f"t{i:03d},{i}" for i in range(12)]
    (toy.data / "meta.csv").write_text("ImageId,Day\n" + "\n".join(rows) + "\n")
    cache = open_cache(toy.workspace.cache, toy.competition, toy.records.train)
    said: list[str] = []
    table = ensure_folds(toy.workspace, toy.competition, toy.records, cache, said.append)
    assert read_folds(toy.workspace, toy.records) == table
    assert ensure_folds(toy.workspace, toy.competition, toy.records, cache, said.append) == table
    assert len(said) == 1 + len(table.notes)
    if "n_repeats" in folds:
        assert said[0] == (
            "folds: made folds/toy.csv: 6 fold(s) of 12 images, 3 repeats of 2, scheme stratified, seed 0"
        )
        fewer = toy.with_folds(n_splits=2)
        assert ensure_folds(toy.workspace, fewer, toy.records, cache, said.append) == table
        assert "n_splits 2, n_repeats 3; the competition now says" in said[-1]


def test_a_later_duplicate_is_found_in_every_repeat(make_toy) -> None:
    toy = make_toy(folds={"scheme": "kfold", "n_splits": 2, "n_repeats": 2})
    cache = open_cache(toy.workspace.cache, toy.competition, toy.records.train)
    table = ensure_folds(toy.workspace, toy.competition, toy.records, cache, lambda _: None)
    together = [i for i in range(12) if table.fold[i] == table.fold[0]]
    apart = next(i for i in together if table.repeats[0][i] != table.repeats[0][0])
    one, other = (toy.data / "images" / f"t{i:03d}.png" for i in (0, apart))
    other.write_bytes(one.read_bytes())
    for i in (0, apart):
        (toy.data / "masks" / f"t{i:03d}.png").write_bytes(
            (toy.data / "masks" / "t000.png").read_bytes()
        )
    cache = open_cache(toy.workspace.cache, toy.competition, toy.records.train)
    with pytest.raises(
        FoldsError, match="1 groups cross folds: duplicates of t000; make the folds"
    ):
        ensure_folds(toy.workspace, toy.competition, toy.records, cache, lambda _: None)


def test_younger_keys_leave_an_older_competition_as_it_was() -> None:
    assert set(resolved(Folds())) == {
        "scheme", "n_splits", "seed", "group", "stratify", "heldout", "val_share", "test_share",
    }  # fmt: skip
    assert resolved(Folds(n_repeats=2))["n_repeats"] == 2


def test_every_scheme_gives_a_sound_table(tmp_path: Path) -> None:
    root = write_meta(tmp_path, 28)
    for scheme in ("kfold", "stratified", "iterative"):
        check_table(make(28, root, scheme=scheme), "here")
    for scheme in ("group", "stratified_group", "iterative", "logo"):
        check_table(make(28, root, scheme=scheme, group="Source"), "here")


@pytest.mark.parametrize(
    ("folds", "problem"),
    [
        ({"scheme": "logo"}, "folds.group: scheme logo needs a column of data.meta"),
        ({"scheme": "time"}, "folds.time: scheme time needs a column of data.meta"),
        ({"scheme": "split", "n_repeats": 2}, "folds.n_repeats: scheme split divides in one way only; schemes that"),
        ({"scheme": "iterativ"}, "folds.scheme: unknown fold scheme 'iterativ'; did you mean 'iterative'"),
    ],
)  # fmt: skip
def test_a_wrong_competition_is_told_before_any_image_is_read(
    folds: dict[str, Any], problem: str
) -> None:
    (said,) = check_competition(competition_of(**folds))
    assert said.startswith("competition toy: ") and problem in said
    assert check_competition(competition_of(scheme="iterative", n_repeats=2)) == []


def test_groups_are_looked_for_where_folds_are_made_on_the_way(make_toy) -> None:
    toy = make_toy(folds={"scheme": "stratified_group", "group": "auto", "n_splits": 2})
    one, other = (toy.data / "images" / f"t{i:03d}.png" for i in (1, 7))
    other.write_bytes(one.read_bytes())
    (toy.data / "masks" / "t007.png").write_bytes((toy.data / "masks" / "t001.png").read_bytes())
    cache = open_cache(toy.workspace.cache, toy.competition, toy.records.train)
    said: list[str] = []
    table = ensure_folds(toy.workspace, toy.competition, toy.records, cache, said.append)
    assert table.fold[1] == table.fold[7] and table.group[1] == table.group[7] != ""
    assert said[0].startswith("groups: ") and said[-1].startswith("folds: ")
    assert ensure_folds(toy.workspace, toy.competition, toy.records, cache, said.append) == table
