"""Test probabilities are of the test images as they are now, or it is said what changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comp.errors import RunMismatchError
from comp.store import ProbsWriter, quantise
from comp.store.predicted import open_test_probs, what_changed

IDS = ("a", "b")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with ProbsWriter(tmp_path / "fold1" / "test.none") as writer:
        for image_id in IDS:
            writer.append(image_id, quantise(np.zeros((1, 3, 4))))
        writer.commit()
    return tmp_path / "fold1"


def result(**more: Any) -> dict[str, Any]:
    return {"fold": 1, "test_hash": "ids", "files": {"test.none.npy": {}}, **more}


def test_what_changed() -> None:
    new, old = result(test_content="x"), result()
    assert what_changed(new, "ids", "x") is None and what_changed(old, "ids", "x") is None
    assert what_changed(old, "ids", None) is None
    for said in (new, old):
        assert what_changed(said, "others", "x") == "there are other test images"
    assert what_changed(new, "ids", "y") == "test images changed (content x, now y)"
    assert what_changed(result(test_content=None), "ids", None) is None
    assert (
        what_changed(result(test_hash="", test_content=None), "ids", "x")
        == "its test images are not predicted"
    )


def test_what_fits_is_opened(folder: Path) -> None:
    asked: list[str] = []

    def content() -> str:
        asked.append("asked")
        return "x"

    probs = open_test_probs(folder, "none", result(test_content="x"), IDS, content, "run 'net'")
    assert probs.ids == list(IDS) and asked == ["asked"]
    open_test_probs(folder, "none", result(), IDS, content, "run 'net'")
    assert asked == ["asked"]  # nothing to compare with: no pixel is read


@pytest.mark.parametrize(
    ("views", "ids", "content", "said"),
    [
        ("d4", IDS, "x", "has no test probabilities of fold 1 in the views 'd4'; run its `comp cv` again, now"),
        ("none", ("a", "c"), "x", ": fold1/test.none.npy is not of the test images; missing 1: c; unknown 1: b; run"),
        ("none", IDS, "y", "changed since they were predicted (content x, now y); put them back, or run its `comp cv`"),
    ],
)  # fmt: skip
def test_what_does_not_is_refused(
    folder: Path, views: str, ids: tuple[str, ...], content: str, said: str
) -> None:
    with pytest.raises(RunMismatchError) as caught:
        open_test_probs(
            folder, views, result(test_content="x"), ids, lambda: content, "run 'net'", ", then E"
        )
    assert str(caught.value).startswith("run 'net'") and said in str(caught.value)
    assert "run its `comp cv` again, " in str(caught.value)
    assert str(caught.value).endswith(", then E")
