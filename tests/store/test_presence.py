"""Answers of an auxiliary classifier: windows, bands, the file, and how well they order images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from comp.errors import DataError
from comp.store.presence import (
    Presence,
    PresenceWriter,
    presence_file,
    presence_scores,
    read_presence,
)


def test_the_highest_window_and_band_stay(tmp_path: Path) -> None:
    writer = PresenceWriter(2)
    writer.say(7, np.array([0.2, 0.9], np.float32))
    writer.say(7, np.array([0.6, 0.1], np.float32))
    writer.say(3, np.array([0.5, 0.5], np.float32))
    writer.see(7, np.full((2, 3, 4), 0.25, np.float32))
    writer.see(7, np.array([[[0.75]], [[0.125]]], np.float32))
    writer.see(3, np.zeros((2, 1, 1), np.float32))
    writer.see(9, np.ones((2, 1, 1), np.float32))  # nobody spoke of it
    path = writer.commit(presence_file(tmp_path, "oof", "none"), {7: "b", 3: "007"}, ("x", "y"))
    assert path == tmp_path / "oof.none.presence.csv"
    assert path is not None
    said = read_presence(path, 2)
    assert said.ids == ("b", "007")
    assert said.presence.tolist() == pytest.approx(np.array([[0.6, 0.9], [0.5, 0.5]]))
    assert said.peak.tolist() == [[0.75, 0.25], [0.0, 0.0]]


def test_without_a_word_there_is_no_file(tmp_path: Path) -> None:
    writer = PresenceWriter(1)
    writer.see(0, np.ones((1, 2, 2), np.float32))
    assert writer.commit(tmp_path / "x.csv", {0: "a"}, ("x",)) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_id,class,presence,peak\na,x,0.1,0.2\n", "1 rows are not a multiple of 2 classes"),
        (
            "image_id,class,presence,peak\na,x,much,0.2\na,y,1,1\n",
            "not a table of image_id, class, presence, peak",
        ),
        ("image_id,class\na,x\na,y\n", "not a table of image_id, class, presence, peak"),
    ],
)
def test_a_damaged_table_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "oof.none.presence.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_presence(path, 2)


def test_scores_are_areas_under_the_curve_and_none_where_there_is_nothing_to_order() -> None:
    values = np.array([[0.9, 0.5], [0.8, 0.5], [0.3, 0.5], [0.1, 0.5]], np.float32)
    present = np.array([[1, 1], [0, 1], [1, 1], [0, 1]], bool)
    scores = presence_scores(Presence(tuple("abcd"), values, 1 - values), present)
    assert scores["auc"] == [0.75, None]
    assert scores["peak_auc"] == [0.25, None]
    assert scores["share"] == [0.5, 1.0]
