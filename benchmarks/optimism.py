"""How far each estimate of an ensemble is from its score on fresh data: python benchmarks/optimism.py

Members are drawn: the distance to the edge of a drawn object plus blurred noise, some of it shared, stored as
uint8. Each repeat fits on a few images as `comp ensemble` does, and scores what was fitted on many fresh
ones. Prints how far each estimate is off, mean over the repeats, and how often identical members get equal
weights.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from comp.blending.blend import Source
from comp.blending.crossfit import Fit, cross_fit, fit_counts
from comp.blending.parts import make_parts
from comp.metrics.scores import score_counts

METRIC = "dice_image_mean"
FRESH = 300


@dataclass(frozen=True)
class Drawing:
    """What is drawn.

    Args:
        size_px: of an image's side.
        blur_px: sigma of the noise, in pixels.
        noise: of a member, in pixels of distance to the edge.
        shared: of all members alike, in the same unit.
        bias: spread of how much too large or small a member draws its objects, in pixels.
        copies: all members are one.
    """

    n_members: int = 16
    size_px: int = 48
    blur_px: float = 6.0
    noise: float = 3.5
    shared: float = 1.0
    bias: float = 0.3
    copies: bool = False


def draw(rng: np.random.Generator, n_images: int, drawing: Drawing, biases: np.ndarray) -> Source:
    """Images of one round object each, and what every member says of them."""
    side = drawing.size_px
    grid = np.mgrid[:side, :side]
    labels, planes = [], []
    for _ in range(n_images):
        centre = rng.uniform(side * 0.35, side * 0.65, 2)
        radius = rng.uniform(side * 0.2, side * 0.3)
        inside = radius - np.hypot(*(grid - centre[:, None, None]))  # pixels from the edge
        labels.append((inside >= 0).astype(np.uint8))
        common = drawing.shared * blurred(rng, drawing)
        said = []
        for bias in biases:
            own = 0.0 if drawing.copies else bias + drawing.noise * blurred(rng, drawing)
            probs = 1 / (1 + np.exp(-(inside + common + own) / 2))
            said.append(np.rint(255 * probs).astype(np.uint8)[None])
        planes.append(said)
    return Source(
        "binary", 1, 255, n_images, len(biases), lambda i, c: planes[i][c], lambda i: labels[i]
    )


def blurred(rng: np.random.Generator, drawing: Drawing) -> np.ndarray:
    """Noise (size, size) of standard deviation 1, smooth over `blur_px`."""
    side, far = drawing.size_px, int(3 * drawing.blur_px)
    raw = rng.normal(size=(side + 2 * far, side + 2 * far))
    smooth = cv2.GaussianBlur(raw, (0, 0), drawing.blur_px)[far:-far, far:-far]
    return np.asarray(smooth * (2 * drawing.blur_px * np.sqrt(np.pi)))


@dataclass(frozen=True)
class Repeat:
    """Scores of one drawing: estimated, and on fresh images; `fit` is what was chosen on all images."""

    as_fitted: float
    cross_fitted: float
    uniform: float
    fresh: float
    fresh_uniform: float
    fit: Fit
    seconds: float


def repeat(
    seed: int, n_images: int, drawing: Drawing, methods: Sequence[str], n_fresh: int = FRESH
) -> list[Repeat]:
    """Draw, fit by each method, estimate, and score on fresh images of the same members."""
    rng = np.random.default_rng((seed, n_images))
    biases = drawing.bias * rng.normal(size=drawing.n_members)
    source = draw(rng, n_images, drawing, biases)
    fresh = draw(rng, n_fresh, drawing, biases)
    members = [[c] for c in range(drawing.n_members)]
    parts = make_parts(np.zeros(n_images, int))

    def on_fresh(fit: Fit) -> float:
        return score_counts(METRIC, fit_counts(fresh, np.arange(n_fresh), fit))

    found = []
    for method in methods:
        started = time.thread_time()
        result = cross_fit(source, members, parts, METRIC, method)
        seconds = time.thread_time() - started
        assert result.cross_fitted is not None
        tables = result.as_fitted, result.cross_fitted, result.uniform
        scores = [score_counts(METRIC, counts) for counts in tables]
        fresh_scores = on_fresh(result.fit), on_fresh(result.uniform_fit)
        found.append(Repeat(*scores, *fresh_scores, result.fit, seconds))
    return found


def off(repeats: Sequence[Repeat], estimate: str, truth: str = "fresh") -> tuple[float, float]:
    """Mean of estimate minus truth over repeats, and its standard error, in points."""
    gaps = [100 * (getattr(r, estimate) - getattr(r, truth)) for r in repeats]
    return float(np.mean(gaps)), float(np.std(gaps, ddof=1) / np.sqrt(len(gaps)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--images", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--methods", nargs="+", default=["auto", "coordinate", "greedy"])
    parser.add_argument("--noise", type=float, default=Drawing.noise)
    args = parser.parse_args()
    drawing = Drawing(noise=args.noise)
    print(f"{METRIC}, {args.repeats} repeats, {FRESH} fresh images, {drawing}")
    print("points that an estimate is above the score on fresh images, mean +- standard error\n")
    print(
        "images  method      as fitted      cross-fitted   uniform        fresh: fitted uniform  s"
    )
    for n_images in args.images:
        every = [repeat(s, n_images, drawing, args.methods) for s in range(args.repeats)]
        for method, found in zip(args.methods, zip(*every, strict=True), strict=True):
            gaps = [off(found, "as_fitted"), off(found, "cross_fitted")]
            gaps.append(off(found, "uniform", "fresh_uniform"))
            said = "  ".join(f"{mean:+5.2f} +- {error:.2f}" for mean, error in gaps)
            fresh = [
                100 * np.mean([getattr(r, k) for r in found]) for k in ("fresh", "fresh_uniform")
            ]
            seconds = np.median([r.seconds for r in found])
            print(
                f"{n_images:6d}  {method:10}  {said}  {fresh[0]:13.2f} {fresh[1]:7.2f}  {seconds:.1f}",
                flush=True,
            )
    copies = replace(drawing, copies=True)
    fits = [one.fit for s in range(5) for one in repeat(s, 20, copies, args.methods, 2)]
    equal = sum(len(set(fit.weights)) == 1 for fit in fits)
    print(f"\nidentical members: uniform weights in {equal} of {len(fits)} fits")


if __name__ == "__main__":
    main()
