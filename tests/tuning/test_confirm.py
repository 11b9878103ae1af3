"""Whether tuning gained anything: the choice, the seeds, the verdict and how often it is wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.tune import HELD, Noisy, how_often_real, whole_study
from comp.tuning.confirm import choose_candidates, confirm_seeds, judge
from comp.tuning.rows import COMPLETE, FAIL, PRUNED, Row


def row(index: int, value: float | None, state: str = COMPLETE, **more: Any) -> Row:
    params = more.pop("params", {"lr": index})
    values = None if value is None else [value]
    return Row(index, index, state, params, values, 1, {}, {}, more.pop("over", {}))


ROWS = [
    row(0, 0.70),
    row(1, 0.71),
    row(2, 0.73),
    row(3, 0.73, params={"lr": 2}),  # the parameters of trial 2 once more
    row(4, 0.74, params={"lr": 0}),  # the untuned config's
    row(5, None, FAIL),
    row(6, 0.90, PRUNED),
    row(7, 0.80, over={"seconds": 3.0}),
    row(8, math.nan),
    row(9, 0.73),
]


def test_the_best_are_chosen_once_each() -> None:
    assert choose_candidates(ROWS, 2) == [2, 9]
    assert choose_candidates(ROWS, 9) == [2, 9, 1]
    assert choose_candidates(ROWS, 2, greater_is_better=False) == [1, 2]
    assert choose_candidates(ROWS[:1], 3) == []


def test_seeds_are_new_and_more_begin_with_fewer() -> None:
    seeds = confirm_seeds(7, 5)
    assert len({*seeds, 7}) == 6 and all(0 <= seed < 2**31 for seed in seeds)
    assert confirm_seeds(7, 3) == seeds[:3] and confirm_seeds(8, 3) != seeds[:3]


def test_one_candidate_on_one_fold_is_a_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(0.7, 0.01, (6, 1))
    candidate = base + rng.normal(0.01, 0.01, (6, 1))
    verdict = judge(base, {3: candidate}, folds=[2])
    wanted = stats.ttest_rel(candidate[:, 0], base[:, 0], alternative="greater")
    assert verdict.p == pytest.approx(wanted.pvalue)
    assert verdict.error == pytest.approx(np.std(candidate - base, ddof=1) / math.sqrt(6))
    assert verdict.gain == pytest.approx(np.mean(candidate - base))
    thrice = judge(base, {3: candidate}, folds=[2], n_tried=3)
    assert thrice.p == pytest.approx(min(1, 3 * wanted.pvalue))


def test_what_pairs_share_widens_the_error() -> None:
    """A gain of one fold alone: pairs by themselves would call it real."""
    rng = np.random.default_rng(1)
    base = rng.normal(0.7, 0.001, (4, 3))
    candidate = base + np.array([0.1, 0.0, 0.0]) + rng.normal(0, 0.001, (4, 3))
    pairs = stats.ttest_1samp((candidate - base).ravel(), 0, alternative="greater").pvalue
    assert pairs < 0.025
    for scores in ((base, candidate), (base.T, candidate.T)):  # of one seed alone, likewise
        verdict = judge(scores[0], {1: scores[1]}, folds=range(scores[0].shape[1]))
        assert not verdict.real and verdict.error == pytest.approx(0.1 / 3, rel=0.1)


def test_one_noisy_candidate_has_its_own_error() -> None:
    """Quiet configs beside it must not lend it theirs."""
    rng = np.random.default_rng(2)
    quiet = [rng.normal(0.7, 0.0001, (3, 3)) for _ in range(3)]
    wild = rng.normal(0.7, 0.03, (3, 3))
    verdict = judge(quiet[0], {1: quiet[1], 2: quiet[2], 3: wild}, folds=HELD)
    assert verdict.gains[3][1] >= np.std(wild - quiet[0], ddof=1) / 3
    assert verdict.gains[1][1] > 0.001  # the pooled one: careful with all


@given(st.integers(0, 10_000), st.floats(-5, 5), st.floats(0.01, 100))
@settings(max_examples=30, deadline=None)
def test_neither_offset_nor_scale_nor_direction_matters(
    seed: int, offset: float, scale: float
) -> None:
    scores = np.random.default_rng(seed).standard_normal((3, 3, 2))
    plain = judge(scores[0], {1: scores[1], 2: scores[2]}, folds=[0, 1])
    moved = offset - scale * scores
    other = judge(moved[0], {1: moved[1], 2: moved[2]}, folds=[0, 1], greater_is_better=False)
    assert (plain.real, plain.candidate) == (other.real, other.candidate)
    assert other.p == pytest.approx(plain.p, rel=1e-6)
    assert other.gain == pytest.approx(scale * plain.gain, rel=1e-6, abs=1e-9)


BASE = np.array([[0.70, 0.72, 0.71], [0.71, 0.72, 0.70], [0.70, 0.73, 0.71]])
BETTER = BASE + np.array([[0.050, 0.051, 0.049], [0.049, 0.052, 0.050], [0.051, 0.050, 0.051]])


def test_the_sentence_says_everything() -> None:
    real = judge(BASE, {4: BETTER, 7: BASE - 0.01}, folds=HELD, tuned_folds=(0, 1))
    assert real.real and real.candidate == 4 and set(real.gains) == {4, 7}
    assert real.sentence.startswith(
        "trial 4, the best of 2 run again, is 0.0503 +- 0.0003 better than the untuned config on "
        "folds 2, 3, 4 with 3 new seeds: real (p = "
    )
    assert real.baseline == pytest.approx(BASE.mean())
    assert real.scores[4] == pytest.approx(BETTER.mean())
    noise = judge(BASE, {4: BASE[::-1] + 0.001}, folds=HELD).sentence
    assert noise.startswith("not real: trial 4 is 0.0010 +- 0.0")
    assert "noise alone does as much too often (p = 0." in noise and "0.025 is allowed" in noise
    worse = judge(BASE, {4: 2 * BASE - BETTER}, folds=HELD)
    assert "not real: trial 4 is 0.0503 +- 0.0003 worse than the untuned config" in worse.sentence
    tuned = judge(BASE, {4: BETTER}, folds=HELD, tuned_folds=(0, 2)).sentence
    assert "3 new seeds (tuned on 2: other images may gain less): real" in tuned
    every = judge(BASE, {4: BETTER}, folds=HELD, tuned_folds=range(5)).sentence
    assert "(tuned on all of them: other images may gain less)" in every
    alone = judge(BASE[:, :1], {4: BETTER[:, :1]}, folds=[2]).sentence
    assert "on fold 2 with 3 new seeds (one fold says nothing of others)" in alone


def test_failures_are_left_out_and_counted() -> None:
    holed = BETTER.copy()
    holed[1, 1] = np.nan
    verdict = judge(BASE, {4: BETTER, 7: holed}, folds=HELD)
    assert verdict.failed == (7,) and verdict.candidate == 4 and "the best of 2" in verdict.sentence
    assert verdict.sentence.endswith("; trial 7 failed with a new seed")
    assert verdict.p == pytest.approx(2 * judge(BASE, {4: BETTER}, folds=HELD).p)
    nothing = judge(BASE, {7: holed, 8: holed}, folds=HELD)
    assert not nothing.real and nothing.candidate is None and nothing.failed == (7, 8)
    assert "no candidate has a score on every fold with every new seed" in nothing.sentence


def test_a_seed_that_failed_untuned_counts_for_nobody() -> None:
    base = BASE.copy()
    base[0, 2] = np.nan
    verdict = judge(base, {4: BETTER}, folds=HELD)
    assert "with 2 new seeds" in verdict.sentence
    assert verdict.gain == pytest.approx((BETTER - BASE)[1:].mean())
    lost = judge(base[:1], {4: BETTER[:1]}, folds=HELD)
    assert not lost.real and math.isnan(lost.gain)
    assert "the untuned config has no new seed with a score on every fold" in lost.sentence


def test_one_score_tells_nothing() -> None:
    verdict = judge(BASE[:1, :1], {4: BETTER[:1, :1]}, folds=[2])
    assert not verdict.real and verdict.p == 1.0
    assert "confirm with more seeds or more folds" in verdict.sentence


def test_scores_without_noise() -> None:
    flat = np.full((3, 3), 0.7)
    same = judge(flat, {4: flat, 5: flat.copy()}, folds=HELD)
    assert not same.real and "scores exactly as the untuned config" in same.sentence
    assert judge(flat, {4: flat + 0.1}, folds=HELD).real  # nine pairs of nine
    few = judge(flat[:, :1], {4: flat[:, :1] + 0.1}, folds=[2])
    assert not few.real and "too few scores to do without" in few.sentence
    assert not judge(flat, {4: flat - 0.1}, folds=HELD).real


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"baseline: expected \(S, 2\), got \(3, 3\)"):
        judge(BASE, {1: BETTER}, folds=[0, 1])
    with pytest.raises(ValueError, match=r"trial 1: expected \(3, 3\), got \(2, 3\)"):
        judge(BASE, {1: BETTER[:2]}, folds=HELD)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"of_fold": 1.0},
        {"of_seed": 0.7},
        {"of_fold": 0.7, "of_seed": 0.7},
        {"spread": (2.0, 1.0, 1.0, 1.0)},
        {"spread": (1.0, 3.0, 1.0, 1.0)},
    ],
    ids=str,
)
def test_false_alarms_are_rare(how: dict[str, Any]) -> None:
    assert how_often_real(400, 3, 3, 3, **how) <= 0.025


def test_nothing_to_gain_is_said_to_be_nothing() -> None:
    real = [whole_study(Noisy(), seed)[1].real for seed in range(20)]
    assert sum(real) <= 2


def test_a_planted_optimum_is_found_and_real() -> None:
    """Four times a training's noise between the untuned config and the best."""
    planted = Noisy(gain=0.02, noise=0.005)
    found = 0
    for seed in range(20):
        rows, verdict = whole_study(planted, seed)
        if verdict.real and verdict.candidate is not None:
            found += planted.truth(rows[verdict.candidate].params) > 0.5 * planted.gain
    assert found >= 18
