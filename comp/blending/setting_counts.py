"""Counts of one blend under many settings of clean-up, each image summed once.

Parts that stay or go are counted where they lie, with no mask drawn for a setting; only rules that reshape
parts draw one. Every count is what `blend_counts` gives for that setting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from comp.blending.blend import (
    Source,
    bands_of,
    blend_counts,
    blend_image,
    blend_presence,
    count_bands,
    reader,
    weighted_sum,
)
from comp.blending.search import Weights
from comp.blending.settings import Setting
from comp.config import IGNORE
from comp.masks.cleaner import CONNECTIVITY, is_empty
from comp.masks.cleanup import remove_small
from comp.masks.components import Parts, find_parts, kernels, parts_of_runs
from comp.masks.decide import level
from comp.masks.rle import runs_of
from comp.masks.shapes import fill_holes, largest, open_close, pixels_under
from comp.masks.stream import RunStream


def setting_counts(
    source: Source, images: np.ndarray, weights: Weights, settings: Sequence[Setting]
) -> np.ndarray:
    """Count a blend decided and cleaned by each setting.

    Returns:
        (len(settings), n, K, 4) int64: tp, fp, fn, tn.
    """
    counts = np.zeros((len(settings), len(images), source.n_classes, 4), np.int64)
    joint = [s for s, setting in enumerate(settings) if setting.rules.exclusive]
    apart = [s for s in range(len(settings)) if s not in set(joint)]
    for s in joint:
        one = settings[s]
        counts[s] = blend_counts(
            source, images, weights, one.thresholds, one.min_area_px, one.rules
        )
    some = [settings[s] for s in apart]
    for row, image in enumerate(images if some else ()):
        count = _refilled if source.task == "multiclass" else _by_planes
        counts[apart, row] = count(source, int(image), weights, some)
    return counts


def _refilled(
    source: Source, image: int, weights: Weights, settings: Sequence[Setting]
) -> np.ndarray:
    """(S, K, 4) of a multiclass image, whose small parts take the class around them."""
    mask, labels = blend_image(source, image, weights, None), source.labels(image)
    found: dict[int, np.ndarray] = {}
    cleaned = np.empty_like(mask)
    for setting in settings:
        area = setting.min_area_px
        if area not in found:
            whole = remove_small(mask, source.task, area, CONNECTIVITY, cleaned)
            found[area] = count_bands(whole, labels, source.task, source.n_classes)
    return np.stack([found[setting.min_area_px] for setting in settings])


def _by_planes(
    source: Source, image: int, weights: Weights, settings: Sequence[Setting]
) -> np.ndarray:
    """(S, K, 4) of an image whose planes are cleaned each by itself."""
    labels = source.labels(image)
    height, width = labels.shape[-2:]
    asked = any(setting.rules.presence for setting in settings)
    presence = blend_presence(source, image, weights) if asked else None
    runs = _runs(source, image, weights, settings)
    rows = []
    for k, truth in enumerate(labels.reshape(-1, height, width)):
        said = None if presence is None else float(presence[k])
        rows.append(_Plane(truth, runs[k], said).counts(k, settings))
        runs[k] = {}  # memory of one plane at a time, from here on
    return np.stack(rows, axis=1)


def _runs(
    source: Source, image: int, weights: Weights, settings: Sequence[Setting]
) -> list[dict[float, np.ndarray]]:
    """For each plane: threshold -> runs (R, 2) along the rows of what reaches it."""
    levels: list[set[float]] = [set() for _ in range(source.n_classes)]
    for setting in settings:
        for group in (setting.thresholds, setting.rules.top, setting.rules.sure):
            for k, value in enumerate(group or ()):
                levels[k].add(value)
    read, used = reader(source, image, weights)
    height, width = source.labels(image).shape[-2:]
    whole = source.full * sum(used)
    bands = bands_of((height, width))
    if len(bands) == 1:
        sums = weighted_sum(read(bands[0]), used, source.full)
        return [
            {t: runs_of(plane >= level(t, whole), "row") for t in sorted(levels[k])}
            for k, plane in enumerate(sums)
        ]
    streams = [{t: RunStream(height, width, "row") for t in sorted(some)} for some in levels]
    for rows in bands:
        sums = weighted_sum(read(rows), used, source.full)
        for plane, some in zip(sums, streams, strict=True):
            for t, stream in some.items():
                stream.add(plane >= level(t, whole))
    return [{t: stream.runs() for t, stream in some.items()} for some in streams]


@dataclass
class _Plane:
    """One plane of one image: what of it was found is kept while its settings are counted."""

    truth: np.ndarray  # (H, W) uint8
    runs: dict[float, np.ndarray]
    presence: float | None
    parts: dict[float, Parts] = field(default_factory=dict)
    below: dict[float, np.ndarray] = field(default_factory=dict)
    cores: dict[tuple[float, float], np.ndarray] = field(default_factory=dict)
    shaped: dict[tuple[object, ...], tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def counts(self, k: int, settings: Sequence[Setting]) -> np.ndarray:
        """(S, 4) int64 of plane k."""
        parted = [self.truth[rows] for rows in bands_of(self.truth.shape)]
        ignored = sum(int(np.count_nonzero(part == IGNORE)) for part in parted)
        marked = sum(int(np.count_nonzero(part)) for part in parted)
        positive, negative = marked - ignored, self.truth.size - marked
        rows = []
        for setting in settings:
            wrong, hit = self._foreground(k, setting)
            rows.append((hit, wrong, positive - hit, negative - wrong))
        return np.asarray(rows, np.int64)

    def _foreground(self, k: int, setting: Setting) -> tuple[int, int]:
        """Pixels of the cleaned plane of label 0, of label 1."""
        assert setting.thresholds is not None
        rules, threshold = setting.rules, setting.thresholds[k]
        n_sure = 0 if rules.sure is None else int(self.runs[rules.sure[k]][:, 1].sum())
        if is_empty(rules, n_sure, self.presence):
            return 0, 0
        parts, below = self._labelled(threshold)
        stay = np.ones(parts.n, bool)
        if rules.top is not None:
            stay = self._core(threshold, rules.top[k]) >= rules.core_px
        if rules.reshapes:
            top = None if rules.top is None else rules.top[k]
            key = (threshold, top, rules.core_px, rules.open_px, rules.close_px, rules.fill_px)
            if key not in self.shaped:
                self.shaped[key] = self._reshaped(parts, stay, setting)
            found, under = self.shaped[key]
        else:
            found, under = parts.areas[stay], below[stay]
        kept = (found >= setting.min_area_px) & largest(found, rules.keep)
        wrong, hit = under[kept].sum(axis=0).tolist()
        return wrong, hit

    def _labelled(self, threshold: float) -> tuple[Parts, np.ndarray]:
        if threshold not in self.parts:
            parts = parts_of_runs(self.runs[threshold], self.truth.shape[1], CONNECTIVITY)
            self.parts[threshold], self.below[threshold] = parts, parts.counts(self.truth)
        return self.parts[threshold], self.below[threshold]

    def _core(self, threshold: float, top: float) -> np.ndarray:
        if (threshold, top) not in self.cores:
            parts = self.parts[threshold]
            self.cores[threshold, top] = pixels_under(parts, self.runs[top])
        return self.cores[threshold, top]

    def _reshaped(
        self, parts: Parts, stay: np.ndarray, setting: Setting
    ) -> tuple[np.ndarray, np.ndarray]:
        """Areas and counts of the parts of the plane after the rules that reshape it."""
        plane = np.zeros(self.truth.shape, np.uint8)
        painted = np.where(stay, np.int16(1), np.int16(-1))
        kernels().paint_runs(plane.reshape(-1), parts.runs, painted[parts.numbers])
        open_close(plane, setting.rules.open_px, setting.rules.close_px)
        fill_holes(plane, setting.rules.fill_px)
        found = find_parts(plane, CONNECTIVITY)
        return found.areas, found.counts(self.truth)
