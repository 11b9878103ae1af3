"""Held-out labels cannot reach the fit they are scored with; parts, standard errors, the honest rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.blending.blend import Source, blend_counts
from comp.blending.choice import Gain, choose
from comp.blending.crossfit import best_views, cross_fit, make_parts, paired_error
from comp.blending.summary import describe_parts, make_scores, say_limits
from comp.metrics.scores import image_scores, score_counts

METRIC = "iou_image_mean"


def turned(source, images):
    """The same source, with the labels of some images turned upside down and left to right."""

    def labels(image):
        found = source.labels(image)
        return found[..., ::-1, ::-1] if image in images else found

    return replace(source, labels=labels)


@pytest.mark.parametrize(
    ("task", "n_classes"), [("binary", 1), ("multilabel", 2), ("multiclass", 3)]
)
def test_labels_of_a_part_do_not_reach_its_fit(make_source, task, n_classes):
    source = make_source(task, n_classes, n_images=9, noises=(0.4, 0.8, 1.2))
    parts = np.arange(9) % 3
    members = [[0, 1], [2]]
    honest = cross_fit(source, members, parts, METRIC)
    for part in range(3):
        other = cross_fit(
            turned(source, set(np.flatnonzero(parts == part))), members, parts, METRIC
        )
        assert other.part_fits[part] == honest.part_fits[part]
        assert other.part_uniforms[part] == honest.part_uniforms[part]
        assert other.part_singles[part] == honest.part_singles[part]
    assert any(other.part_fits[p] != honest.part_fits[p] for p in (0, 1)) or other.fit != honest.fit


def test_counts_follow_from_the_fits(make_source):
    source = make_source(n_images=8)
    parts = np.arange(8) % 4
    result = cross_fit(source, [[0], [1], [2]], parts, METRIC)
    assert result.cross_fitted is not None
    for part, fit in result.part_fits.items():
        held = np.flatnonzero(parts == part)
        counts = blend_counts(source, held, fit.weights, fit.thresholds, fit.min_area_px, fit.rules)
        assert (result.cross_fitted[held] == counts).all()
    uniform = blend_counts(source, range(8), (1, 1, 1), (0.5,))
    assert (result.uniform == uniform).all() and (result.uniform_as_fitted == uniform).all()
    for part, fit in result.part_singles.items():
        held = parts == part
        assert (result.single[held] == result.singles[fit.columns[0]][held]).all()
    assert score_counts(METRIC, result.as_fitted) >= score_counts(METRIC, uniform)
    alone = [score_counts(METRIC, counts) for counts in result.singles]
    assert result.single_fit.columns == (int(np.argmax(alone)),)
    assert (result.single_as_fitted == result.singles[int(np.argmax(alone))]).all()


def right_on(*images_of_columns):
    """Each column is the truth on its own images and the opposite on the others."""
    truth = np.zeros((8, 8), np.uint8)
    truth[:, :4] = 1

    def planes(image, column):
        right = image in images_of_columns[column]
        return (255 * (truth if right else 1 - truth))[None].astype(np.uint8)

    return Source("binary", 1, 255, 4, len(images_of_columns), planes, lambda image: truth)


def test_the_best_single_is_chosen_without_the_part_it_is_scored_on():
    result = cross_fit(right_on({0, 1}, {2, 3}), [[0], [1]], np.array([0, 0, 1, 1]), METRIC)
    assert {part: fit.columns for part, fit in result.part_singles.items()} == {0: (1,), 1: (0,)}
    assert score_counts(METRIC, result.single) == 0
    assert score_counts(METRIC, result.single_as_fitted) == 0.5
    assert result.single_fit.columns == (0,)
    notes = " ".join(say_limits(result, [[0], [1]], ["a", "b"]))
    assert "best single is a, but without each part in turn it is b, a" in notes


def test_views_of_uniform_are_chosen_without_the_part_they_are_scored_on():
    source = right_on({0, 1}, {2, 3}, set())
    members = [[0, 1], [2]]
    result = cross_fit(source, members, np.array([0, 0, 1, 1]), METRIC)
    assert result.uniform_fit.columns == (0, 2)
    assert {p: f.columns for p, f in result.part_uniforms.items()} == {0: (1, 2), 1: (0, 2)}
    swapped = np.concatenate(
        [
            blend_counts(source, [0, 1], (0, 1, 1), (0.5,)),
            blend_counts(source, [2, 3], (1, 0, 1), (0.5,)),
        ]
    )
    assert (result.uniform == swapped).all()
    assert not (result.uniform == result.uniform_as_fitted).all()


def test_what_is_used_is_scored_on_parts_it_was_not_chosen_on():
    result = cross_fit(right_on({0, 1}, {2, 3}), [[0, 1]], np.array([0, 0, 1, 1]), METRIC)
    choice = choose(result, METRIC, ["a", "b"])
    scores = make_scores(result, choice, METRIC, ["m", "m"], ["roof"])
    assert choice.kind == "single" and choice.fit == result.single_fit
    assert scores.used == scores.best_single == scores.uniform == 0
    assert scores.best_single_as_fitted == scores.uniform_as_fitted == 0.5
    assert scores.per_class == {"roof": 0}
    assert scores.heldout is None


def test_views_are_chosen_within_the_fit(make_source):
    source = make_source(noises=(2.0, 0.2, 1.0))
    result = cross_fit(source, [[0, 1], [2]], np.arange(6) % 2, METRIC)
    assert result.fit.columns == (1, 2) and result.fit.weights[0] == 0
    assert best_views([[0], [1, 2]], result.singles, METRIC) == (0, 1)


def test_without_clean_up_nothing_is_removed(make_source):
    result = cross_fit(make_source(size=40), [[0], [1]], np.arange(6) % 2, METRIC, clean_up=False)
    assert result.fit.min_area_px == 0


def test_one_part_has_no_cross_fitted_number(make_source):
    source = make_source(n_images=3)
    result = cross_fit(source, [[0], [1], [2]], np.zeros(3, int), METRIC)
    assert result.cross_fitted is None and result.part_fits == result.part_singles == {}
    assert (result.single == result.single_as_fitted).all()
    choice = choose(result, METRIC, ["a", "b", "c"])
    assert choice.kind in ("uniform", "single")
    assert "nothing could be held out" in choice.reason
    assert "nothing is cross-fitted" in " ".join(say_limits(result, [[0]], ["a", "b", "c"]))
    assert make_scores(result, choice, METRIC, ["a", "b", "c"], ["roof"]).cross_fitted is None


def test_a_small_pool_is_said(make_source):
    source = make_source(n_images=12)
    result = cross_fit(source, [[0], [1], [2]], np.arange(12) % 2, METRIC, max_entries=2000)
    assert result.n_searched < 12
    assert f"held {result.n_searched} of 12 images" in " ".join(say_limits(result, [[0]], ["a"]))
    assert result.as_fitted.shape[0] == 12


@pytest.mark.parametrize(("n", "n_parts"), [(1, 1), (3, 3), (5, 5), (23, 5)])
def test_one_fold_is_cut_into_parts(n, n_parts):
    parts = make_parts(np.zeros(n, int))
    assert sorted(set(parts)) == list(range(n_parts))
    sizes = np.bincount(parts)
    assert sizes.max() - sizes.min() <= 1
    assert (parts == make_parts(np.zeros(n, int))).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=40))
def test_groups_stay_together(groups):
    parts = make_parts(np.zeros(len(groups), int), groups)
    assert len(set(zip(groups, parts, strict=True))) == len(set(groups))
    assert len(set(parts)) == min(5, len(set(groups)))


def test_several_folds_are_the_parts():
    assert list(make_parts(np.array([4, 1, 4, 2]), ["a"] * 4)) == [2, 0, 2, 1]


def counts_of(rng, n):
    return rng.integers(1, 50, (n, 1, 4)).astype(np.int64)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40))
def test_error_of_an_image_mean_is_the_textbook_one(seed, n):
    rng = np.random.default_rng(seed)
    a, b = counts_of(rng, n), counts_of(rng, n)
    differences = (image_scores(a)["iou"] - image_scores(b)["iou"])[:, 0]
    expected = differences.std(ddof=1) / np.sqrt(n)
    assert paired_error(METRIC, a, b) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_error_is_wider_when_groups_are_alike():
    rng = np.random.default_rng(0)
    a, b = (np.repeat(counts_of(rng, 10), 10, axis=0) for _ in range(2))
    groups = [str(i // 10) for i in range(100)]
    assert paired_error(METRIC, a, b, groups) > 2 * paired_error(METRIC, a, b)


def test_error_needs_two_units_and_is_bounded_in_work():
    rng = np.random.default_rng(0)
    assert paired_error(METRIC, counts_of(rng, 1), counts_of(rng, 1)) == float("inf")
    assert paired_error(METRIC, counts_of(rng, 4), counts_of(rng, 4), ["g"] * 4) == float("inf")
    a, b = counts_of(rng, 3000), counts_of(rng, 3000)
    differences = (image_scores(a)["iou"] - image_scores(b)["iou"])[:, 0]
    plain = differences.std(ddof=1) / np.sqrt(3000)
    assert paired_error(METRIC, a, b) == pytest.approx(plain, rel=0.25)


def with_scores(make_source, cross, uniform, single, n=40):
    """A result whose three answers have these image-mean IoUs, with some spread."""
    result = cross_fit(make_source(n_images=2), [[0], [1], [2]], np.arange(2), METRIC)
    rng = np.random.default_rng(0)
    noise = rng.integers(-20, 21, (3, n))

    def counts(score, extra):
        tp = np.clip(int(1000 * score) + extra, 0, 1000)
        return np.stack([tp, 1000 - tp, 0 * tp, 0 * tp], axis=-1)[:, None, :].astype(np.int64)

    return replace(
        result,
        cross_fitted=counts(cross, noise[0]),
        uniform=counts(uniform, noise[1]),
        single=counts(single, noise[2]),
        single_fit=replace(result.single_fit, columns=(0,)),
    )


@pytest.mark.parametrize(
    ("cross", "uniform", "single", "kind", "said"),
    [
        (0.9, 0.8, 0.7, "fitted", "at least one standard error"),
        (0.8, 0.8, 0.7, "uniform", "over uniform: not one standard error better"),
        (0.7, 0.8, 0.7, "uniform", "the simpler one is used"),
        (0.8, 0.8, 0.8, "single", "not one standard error better"),
        (0.7, 0.6, 0.8, "single", "at threshold 0.5 is used"),
    ],
)
def test_the_simpler_one_is_used_unless_the_gain_is_clear(
    make_source, cross, uniform, single, kind, said
):
    result = with_scores(make_source, cross, uniform, single)
    choice = choose(result, METRIC, ["a", "b", "c"])
    assert choice.kind == kind
    assert said in choice.reason
    fits = {"fitted": result.fit, "uniform": result.uniform_fit, "single": result.single_fit}
    assert choice.fit == fits[kind]


def test_a_gain_must_be_positive_and_its_error_finite():
    assert Gain(0.1, 0.1).clear and Gain(0.1, 0.0).clear
    assert not Gain(0.0, 0.0).clear and not Gain(0.1, float("inf")).clear
    assert not Gain(-0.1, 0.01).clear


def test_parts_are_described_by_fold_or_number(make_source):
    source = make_source(n_images=4)
    folds = np.array([7, 7, 9, 9])
    result = cross_fit(source, [[0], [1], [2]], make_parts(folds), METRIC)
    rows = describe_parts(result, folds, ["a", "b", "c"], METRIC)
    assert [row["name"] for row in rows] == ["fold 7", "fold 9"]
    assert all(row["n_images"] == 2 and 0 <= row["score"] <= 1 for row in rows)
    rows = describe_parts(result, np.zeros(4), ["a", "b", "c"], METRIC)
    assert [row["name"] for row in rows] == ["part 1", "part 2"]
