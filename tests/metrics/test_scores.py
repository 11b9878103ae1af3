"""Scores by hand, against scikit-learn, and what holds for every metric of the table."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn import metrics as oracle

from comp.errors import ConfigError, DataError
from comp.metrics.counts import count_image
from comp.metrics.scores import METRICS, Metric, image_scores, per_class, score_counts

COUNTS = npst.arrays(
    np.int64,
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.just(4)),
    elements=st.integers(0, 50),
)
MINE = Metric("mine", False, "errors", lambda c: float(c[:, :, 1:3].sum()))


def of(*images: list[list[int]]) -> np.ndarray:
    return np.array(images, dtype=np.int64)


HALF = of([[2, 0, 3, 15]], [[0, 0, 0, 20]], [[1, 0, 0, 19]])  # the odd set's ok_half_right


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("iou_image_mean", (2 / 5 + 1 + 1) / 3),
        ("dice_image_mean", (4 / 7 + 1 + 1) / 3),
        ("iou_dataset", 3 / 6),
        ("dice_dataset", 6 / 9),
        ("f1_dataset", 6 / 9),
        ("iou_dataset_macro", 3 / 6),
        ("dice_dataset_macro", 6 / 9),
        ("iou_with_background", (3 / 6 + 54 / 57) / 2),
        ("pixel_accuracy", 57 / 60),
        ("precision_dataset", 1.0),
        ("recall_dataset", 3 / 6),
    ],
)
def test_by_hand(name: str, value: float) -> None:
    assert score_counts(name, HALF) == pytest.approx(value, abs=1e-15)


def test_absent_classes_are_skipped_by_macro_and_told_apart_by_class() -> None:
    counts = of([[4, 0, 4, 8], [0, 0, 0, 16], [0, 2, 0, 14]])
    assert score_counts("iou_dataset_macro", counts) == pytest.approx((0.5 + 0.0) / 2)
    assert per_class("iou_dataset_macro", counts) == [0.5, None, 0.0]
    assert score_counts("iou_dataset_macro", of([[0, 0, 0, 16]])) == 1.0
    assert score_counts("iou_image_mean", counts) == pytest.approx((0.5 + 1 + 0) / 3)


@pytest.mark.parametrize(
    ("name", "nothing", "only_found", "only_there"),
    [
        ("iou_image_mean", 1, 0, 0),
        ("dice_image_mean", 1, 0, 0),
        ("iou_dataset", 1, 0, 0),
        ("dice_dataset", 1, 0, 0),
        ("f1_dataset", 1, 0, 0),
        ("precision_dataset", 1, 0, 0),
        ("recall_dataset", 1, 0, 0),
    ],
)
def test_empty_rules(name: str, nothing: float, only_found: float, only_there: float) -> None:
    assert score_counts(name, of([[0, 0, 0, 9]])) == nothing
    assert score_counts(name, of([[0, 3, 0, 6]])) == only_found
    assert score_counts(name, of([[0, 0, 3, 6]])) == only_there


def test_against_scikit_learn() -> None:
    rng = np.random.default_rng(7)
    truth, decided = rng.integers(0, 4, (2, 3, 12, 11)).astype(np.uint8)
    counts = np.stack(
        [count_image(d, t, "multiclass", 4) for d, t in zip(decided, truth, strict=True)]
    )
    flat = truth.ravel(), decided.ravel()
    pairs = {
        "iou_dataset": oracle.jaccard_score(*flat, average="micro"),
        "iou_dataset_macro": oracle.jaccard_score(*flat, average="macro"),
        "dice_dataset": oracle.f1_score(*flat, average="micro"),
        "dice_dataset_macro": oracle.f1_score(*flat, average="macro"),
        "precision_dataset": oracle.precision_score(*flat, average="micro"),
        "recall_dataset": oracle.recall_score(*flat, average="micro"),
        "pixel_accuracy": oracle.accuracy_score(*flat),
        "iou_image_mean": np.mean(
            [
                oracle.jaccard_score(t.ravel(), d.ravel(), average=None, labels=range(4)).mean()
                for t, d in zip(truth, decided, strict=True)
            ]
        ),
    }
    for name, value in pairs.items():
        assert score_counts(name, counts) == pytest.approx(value, abs=1e-12), name


def test_pixel_accuracy_of_classes_leaves_unlabelled_pixels_of_a_key_out() -> None:
    """A key without rows for ignored pixels must give the accuracy that labels with 255 give."""
    rng = np.random.default_rng(2)
    decided = rng.integers(0, 3, (10, 10)).astype(np.uint8)
    truth = rng.integers(0, 3, (10, 10)).astype(np.uint8)
    truth[:2] = 255
    exact = score_counts("pixel_accuracy", count_image(decided, truth, "multiclass", 3)[None])
    planes = np.stack([truth == k for k in range(3)]).astype(np.uint8)
    given = np.stack([decided == k for k in range(3)]).astype(np.uint8)
    from_key = score_counts("pixel_accuracy", count_image(given, planes, "multilabel", 3)[None])
    assert from_key == pytest.approx(exact) == pytest.approx((decided == truth)[2:].mean())


def test_pixel_accuracy_of_labels_that_share_pixels_counts_every_decision() -> None:
    counts = of([[4, 0, 0, 0], [1, 1, 2, 0]])
    assert score_counts("pixel_accuracy", counts) == pytest.approx(5 / 8)


@pytest.mark.parametrize("name", sorted(METRICS))
@given(counts=COUNTS)
def test_every_metric_is_a_share_and_does_not_care_for_the_order(
    name: str, counts: np.ndarray
) -> None:
    value = score_counts(name, counts)
    assert isinstance(value, float) and 0 <= value <= 1 and math.isfinite(value)
    assert score_counts(name, counts[::-1]) == pytest.approx(value, abs=1e-12)
    classes = per_class(name, counts)
    assert len(classes) == counts.shape[1]
    assert all(v is None or 0 <= v <= 1 for v in classes)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_metric_is_told(name: str) -> None:
    metric = METRICS[name]
    assert metric.name == name and metric.greater_is_better
    assert len(metric.doc) > 40
    perfect, wrong = of([[5, 0, 0, 5]], [[3, 0, 0, 7]]), of([[0, 5, 5, 0]], [[0, 5, 5, 0]])
    assert score_counts(name, perfect) == 1.0
    assert score_counts(name, wrong) == 0.0


def test_image_scores() -> None:
    scores = image_scores(HALF)
    assert set(scores) == {"iou", "dice", "precision", "recall"}
    np.testing.assert_allclose(scores["iou"], [[0.4], [1], [1]])
    np.testing.assert_allclose(scores["recall"], [[0.4], [1], [1]])
    assert scores["dice"].dtype == np.float64


def test_large_counts_do_not_overflow() -> None:
    big = of([[1 << 60, 0, 1 << 60, 0]], [[1 << 60, 0, 1 << 60, 0]])
    assert score_counts("iou_image_mean", big) == 0.5


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (np.zeros((0, 1, 4), np.int64), "no image to score"),
        (np.zeros((3, 4), np.int64), r"\(images, classes, 4\) integers, got \(3, 4\)"),
        (np.zeros((3, 1, 4)), "float64"),
        (np.full((1, 1, 4), -1), "negative number of pixels"),
    ],
)
def test_counts_that_are_none_are_refused(counts: np.ndarray, said: str) -> None:
    with pytest.raises(DataError, match=said):
        score_counts("iou_dataset", counts)


def test_names_are_looked_up() -> None:
    with pytest.raises(ConfigError, match="unknown metric 'iou_imagemean'; did you mean"):
        score_counts("iou_imagemean", HALF)
    with pytest.raises(ConfigError, match=r"expected a comp.metrics.scores.Metric, got type"):
        score_counts("collections:OrderedDict", HALF)


def test_the_users_own_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("my_metric")
    module.MINE = MINE  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_metric", module)
    assert score_counts("my_metric:MINE", HALF) == 3.0
