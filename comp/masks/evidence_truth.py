"""What masks say of the convention of their codes: which readings draw the same pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from comp.masks.evidence import READINGS, Codes, Reading, Unit, runs_as, settled
from comp.masks.evidence_strings import Told
from comp.masks.rle import runs_of, shared_pixels, union

MISFIT = 0.5  # a reading that errs by more of the mask's pixels than this does not fit at all
NEAR = 0.1  # and one that errs by less than this nearly fits
"""Shares of the mask's pixels."""


def errors_of(codes: Codes, units: Sequence[Unit]) -> tuple[np.ndarray, np.ndarray]:
    """Count the pixels in which each reading differs from the masks.

    Returns:
        errors: (N, len(READINGS)) float64 by image, inf where the reading is impossible.
        area: (N,) int64 pixels of the images' masks, -1 for an image without a mask or whose codes
        were not looked at.
    """
    images: dict[str, int] = {}
    rows = [images.setdefault(unit.image_id, len(images)) for unit in units]
    errors = np.zeros((codes.n_images, len(READINGS)))
    area = np.full(codes.n_images, -1, np.int64)
    begin = np.searchsorted(codes.unit, np.arange(len(units) + 1))
    tables = {key: runs_as(codes, *key) for key in {(r.kind, r.base) for r in READINGS}}
    spans = {
        key: np.searchsorted(runs.cell, np.arange(len(codes) + 1)) for key, runs in tables.items()
    }
    for u, unit in enumerate(units):
        if unit.truth is None or not codes.read[u]:
            continue
        truth = {o: runs_of(unit.truth, o) for o in ("column", "row")}
        hidden = {
            o: runs_of(unit.ignored, o)
            for o in ("column", "row")
            if unit.ignored is not None and unit.ignored.any()
        }
        n_truth = int(truth["row"][:, 1].sum())
        area[rows[u]] = max(area[rows[u]], 0) + n_truth
        cells = slice(begin[u], begin[u + 1])
        for r, (kind, order, base) in enumerate(READINGS):
            runs, span = tables[kind, base], spans[kind, base]
            if not runs.legal[cells].all():
                errors[rows[u], r] = np.inf
                continue
            part = slice(span[cells.start], span[cells.stop])
            mine = union([np.stack([runs.start[part], (runs.end - runs.start)[part]], axis=1)])
            drawn = int(mine[:, 1].sum())
            if order in hidden:
                drawn -= shared_pixels(mine, hidden[order])
            errors[rows[u], r] += n_truth + drawn - 2 * shared_pixels(mine, truth[order])
    return errors, area


def truth_votes(
    codes: Codes, units: Sequence[Unit]
) -> tuple[Told, dict[Reading, int], dict[Reading, int], int]:
    """Let every image vote by its mask.

    Returns:
        what is settled; reading -> images that it draws exactly; reading -> images that it draws
        nearly or exactly; number of images with a mask that is not empty.
    """
    errors, area = errors_of(codes, units)
    seen = area > 0
    errors, area = errors[seen], area[seen]
    exact = {r: int((errors[:, i] == 0).sum()) for i, r in enumerate(READINGS)}
    near = {r: int((errors[:, i] <= NEAR * area).sum()) for i, r in enumerate(READINGS)}
    fits = errors.min(axis=1, initial=np.inf) <= MISFIT * area
    votes: dict[str, Counter] = {}
    for name in ("kind", "order", "base"):
        votes[name] = Counter()
        sides = list(dict.fromkeys(getattr(r, name) for r in READINGS))
        best = {
            side: errors[:, [getattr(r, name) == side for r in READINGS]].min(
                axis=1, initial=np.inf
            )
            for side in sides
        }
        for side in sides:
            rest = np.minimum.reduce([best[other] for other in sides if other != side])
            votes[name][side] = int((fits & (best[side] * 2 < rest)).sum())
        votes[name] = +votes[name]
    kind, order, base = (settled(votes[name]) for name in ("kind", "order", "base"))
    notes = []
    if not len(area):
        notes.append("every mask is empty")
    elif not fits.any():
        notes.append("no reading draws the masks of any image")
    elif order is None and not votes["order"]:
        notes.append("order: the masks are symmetric, or single runs that both orders draw alike")
    return (
        Told(kind, order, base, {k: dict(v) for k, v in votes.items()}, notes),
        exact,
        near,
        len(area),
    )
