"""Ids as tables spell them: with _ for /, and as the beginning of others."""

from __future__ import annotations

from comp.data.sources.meta_ids import rows_of, say_prefix
from comp.data.sources.spelled import spelled_as, spelled_with_underscores


def test_underscores_stand_for_slashes_where_no_two_ids_meet() -> None:
    assert spelled_with_underscores(["a/b", "c"]) == {"a_b": "a/b", "c": "c"}
    assert spelled_with_underscores(["a/b_c", "a_b/c"]) == {}
    assert spelled_with_underscores(["a", "b"]) == {}


def test_ids_as_they_are_come_first() -> None:
    assert spelled_as(["a/b", "c/d"], ["a_b", "c_d"]) == {"a/b": "a_b", "c/d": "c_d"}
    assert spelled_as(["a/b", "c/d"], ["a/b", "c_d"]) == {"a/b": "a/b", "c/d": "c/d"}


def test_rows_by_prefix_end_where_a_word_ends() -> None:
    cells = ["vid1", "vid10", "vid1_b"]
    ids = ["vid1_f0", "vid10_f0", "vid1_b_f0", "vid1", "vid2_f0", "vid100"]
    assert rows_of(ids, cells, "prefix") == {
        "vid1_f0": 0, "vid10_f0": 1, "vid1_b_f0": 2, "vid1": 0
    }  # fmt: skip
    assert rows_of(ids, cells) == {"vid1": 0}


def test_the_next_step_is_said_where_all_ids_begin_so() -> None:
    assert say_prefix(["v1_a", "v2_a"], ["v1", "v2"], "p.csv") == (
        "; all ids begin with those of p.csv: set data.meta_ids: prefix"
    )
    assert say_prefix(["v1_a", "w"], ["v1"], "p.csv") == ""
