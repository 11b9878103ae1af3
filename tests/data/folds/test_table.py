"""The folds file: read back as written, and refused when it is not what was written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.data.folds.table import FoldTable, check_table, read_folds, write_folds
from comp.errors import FoldsError
from comp.files import Workspace

IDS = ("a", "b", 'c, "quoted"', "d é", "e", "f")
TABLE = FoldTable(
    IDS, (0, 1, 0, 1, -1, -2), ("", "", "", "g", "", ""), ("s",) * 6, "kfold", 3, 2, ("a note",)
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path, "toy")
    write_folds(workspace, TABLE)
    return workspace


def test_round_trip(workspace: Workspace) -> None:
    table = read_folds(workspace, IDS)
    assert table == TABLE and table.hash == TABLE.hash
    card = json.loads(workspace.folds_json.read_text())
    assert card == {
        "scheme": "kfold", "seed": 3, "n_splits": 2, "n_images": 6, "hash": TABLE.hash, "notes": ["a note"],
    }  # fmt: skip
    assert workspace.folds_csv.read_text().startswith("image_id,fold,group,stratum\na,0,,s\n")


def test_windows_line_ends_and_a_byte_order_mark_are_harmless(workspace: Workspace) -> None:
    text = workspace.folds_csv.read_text()
    workspace.folds_csv.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read_folds(workspace, IDS) == TABLE


def test_who_trains_and_who_is_scored() -> None:
    assert TABLE.validation(0) == [0, 2]
    assert TABLE.training(0) == [1, 3, 4]
    assert TABLE.training(1) == [0, 2, 4]
    assert TABLE.validation(-2) == [5]


@given(st.permutations(range(6)))
def test_hash_is_of_ids_and_folds(order: list[int]) -> None:
    moved = replace(TABLE, fold=tuple(TABLE.fold[i] for i in order))
    assert (moved.hash == TABLE.hash) == (moved.fold == TABLE.fold)
    assert replace(TABLE, seed=9, stratum=("t",) * 6).hash == TABLE.hash


def test_other_images_are_refused_with_names_and_counts(workspace: Workspace) -> None:
    new = [f"n{i}" for i in range(7)]
    with pytest.raises(FoldsError) as caught:
        read_folds(workspace, [*IDS[1:], *new])
    assert str(caught.value) == (
        "folds/toy.csv: 7 images of the data are not in it: n0, n1, n2, n3, n4 (and 2 more); "
        "1 of its ids have no image: a; make it anew with `comp folds --force`"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("a,0,", "a,1,", r"its ids and folds hash to \w+, but toy.json says \w+: one of them was changed"),
        ("b,1,,s\n", "a,1,,s\n", "1 ids are repeated: a; make it anew"),
        ("b,1,", "b,2,", "fold 2; expected -2, -1 or 0..1"),
        ("b,1,", "b,x,", "row 3: expected id, whole fold, group, stratum, got"),
        ("b,1,,s", "b,1", "row 3: expected id, whole fold, group, stratum"),
        ("image_id,fold", "id,fold", "expected the columns image_id,fold,group,stratum, got id,fold,group,stratum"),
        ("b,1,,", "b,0,g,", r"1 groups lie in more than one fold, which leaks: g \(folds 0, 1\)"),
    ],
)  # fmt: skip
def test_a_file_changed_by_hand_is_refused(
    workspace: Workspace, old: str, new: str, message: str
) -> None:
    text = workspace.folds_csv.read_text()
    assert old in text
    workspace.folds_csv.write_text(text.replace(old, new, 1))
    with pytest.raises(FoldsError, match=message):
        read_folds(workspace, IDS)


def test_no_file_no_card_no_json(workspace: Workspace) -> None:
    workspace.folds_json.write_text('{"scheme": "kfold"}')
    with pytest.raises(FoldsError, match=r"toy\.json: missing or wrong: 'seed'; make it anew"):
        read_folds(workspace, IDS)
    workspace.folds_json.write_text("{")
    with pytest.raises(FoldsError, match="cannot read"):
        read_folds(workspace, IDS)
    workspace.folds_json.unlink()
    with pytest.raises(FoldsError, match=r"missing file: .*toy\.json"):
        read_folds(workspace, IDS)
    workspace.folds_csv.unlink()
    with pytest.raises(
        FoldsError, match=r"no folds at folds/toy\.csv: make them with `comp folds`"
    ):
        read_folds(workspace, IDS)


def test_empty_folds_and_nothing_to_train_on() -> None:
    with pytest.raises(FoldsError, match="here: fold 2 of 3 is empty; use fewer folds"):
        check_table(replace(TABLE, n_splits=3), "here")
    with pytest.raises(FoldsError, match="here: fold 0 leaves nothing to train on"):
        check_table(replace(TABLE, fold=(0,) * 6, n_splits=1), "here")


def test_unsorted_ids_are_refused(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "toy")
    write_folds(workspace, replace(TABLE, ids=(IDS[1], IDS[0], *IDS[2:])))
    with pytest.raises(FoldsError, match="ids are not sorted"):
        read_folds(workspace, IDS)


REPEATED = replace(
    TABLE, fold=(0, 1, 0, 1, 1, 0), n_splits=2, repeats=((2, 3, 3, 2, 3, 2), (5, 4, 4, 5, 4, 5))
)
IN_TIME = replace(TABLE, fold=(-1, 0, 0, 1, 1, 1), left_out=((), (), (), (0,), (0,), (0, 1)))


@pytest.mark.parametrize(
    "table", [REPEATED, IN_TIME, replace(REPEATED, left_out=((1, 4), *((),) * 5))]
)
def test_repeats_and_what_is_left_out_are_written_and_read(
    tmp_path: Path, table: FoldTable
) -> None:
    workspace = Workspace(tmp_path, "toy")
    write_folds(workspace, table)
    back = read_folds(workspace, IDS)
    assert back == table and back.notes == table.notes and back.hash == table.hash != TABLE.hash


def test_folds_of_repeats_are_numbered_on(tmp_path: Path) -> None:
    assert (REPEATED.n_repeats, REPEATED.n_folds) == (3, 6)
    assert REPEATED.validation(2) == [0, 3, 5] and REPEATED.training(2) == [1, 2, 4]
    assert REPEATED.validation(5) == [0, 3, 5] and REPEATED.training(5) == [1, 2, 4]
    assert REPEATED.validation(-2) == []
    write_folds(Workspace(tmp_path, "toy"), REPEATED)
    rows = (tmp_path / "folds" / "toy.csv").read_text().splitlines()
    assert rows[:2] == ["image_id,fold,group,stratum,repeats", "a,0,,s,2 5"]
    card = json.loads((tmp_path / "folds" / "toy.json").read_text())
    assert card["n_repeats"] == 3 and card["n_splits"] == 2


def test_who_is_left_out_of_training() -> None:
    assert IN_TIME.training(0) == [0] and IN_TIME.validation(0) == [1, 2]
    assert IN_TIME.training(1) == [0, 1, 2]


def test_the_hash_is_also_of_repeats_and_of_what_is_left_out() -> None:
    tables = [
        REPEATED,
        replace(REPEATED, repeats=REPEATED.repeats[:1]),
        replace(REPEATED, repeats=()),
        IN_TIME,
        replace(IN_TIME, left_out=()),
    ]
    assert len({table.hash for table in tables}) == 5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("a,0,,s,2 5", "a,0,,s,2", "n_repeats 3, but the rows have 2, 3|missing or wrong: n_repeats 3"),
        ("a,0,,s,2 5", "a,0,,s,2 x", "row 2: expected id, whole fold, group, stratum, repeats, got"),
        ("a,0,,s,2 5", "a,0,,s,3 5", r"its ids and folds hash to \w+"),
        ("a,0,,s,2 5", "a,0,,s,1 5", r"fold 1; expected -2, -1 or 2\.\.3"),
        ("a,0,,s,2 5", "a,0,,s,-1 5", "repeat 2 holds other images out"),
        ("stratum,repeats", "stratum,again", "expected the columns image_id,fold,group,stratum, got image_id"),
        ("b,1,,s", "b,1,g,s", r"1 groups lie in more than one fold, which leaks: g \(folds 2, 3\)"),
    ],
)  # fmt: skip
def test_repeats_changed_by_hand_are_refused(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    workspace = Workspace(tmp_path, "toy")
    write_folds(workspace, REPEATED)
    text = workspace.folds_csv.read_text()
    assert old in text
    workspace.folds_csv.write_text(text.replace(old, new, 1))
    with pytest.raises(FoldsError, match=message):
        read_folds(workspace, IDS)


def test_left_out_of_a_fold_that_is_not_there_is_refused() -> None:
    with pytest.raises(FoldsError, match=r"here: left out of fold 7; expected 0\.\.1"):
        check_table(replace(IN_TIME, left_out=((7,), *IN_TIME.left_out[1:])), "here")
    with pytest.raises(FoldsError, match="here: fold 0 leaves nothing to train on"):
        check_table(replace(IN_TIME, left_out=((0,), *IN_TIME.left_out[1:])), "here")


def test_notes_make_no_other_table() -> None:
    assert replace(TABLE, notes=("another",)) == TABLE
