"""Groups from the map: GeoTIFF footprints that overlap or touch, or square blocks of a large mosaic.

The tags are read from the header by tifffile; no other library is needed. Coordinates are those of the
file's reference system; images of different systems never share a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from comp.data.leaks.ground import Footprint, Ground
from comp.data.leaks.guesses import Guess
from comp.data.leaks.unions import Unions

__all__ = ["Footprint", "Ground", "guess_by_place", "read_footprint"]

CRS_KEYS = (
    "ProjectedCSTypeGeoKey",
    "GeographicTypeGeoKey",
    "PCSCitationGeoKey",
    "GTCitationGeoKey",
)
ROWS = 256  # footprints compared with all others at once
BLOCKS = (4, 3, 2, 1)  # blocks a fold that are tried, where images of two blocks share ground,
MOST_PURGED = 0.2  # for at most so much of a fold's training images to be left out for it


def read_footprint(path: Path) -> Footprint | None:
    """Read the box of a GeoTIFF without decoding it; None: no tif, or no reference system in it."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page: Any = file.pages[0]
            tags = page.geotiff_tags
            height, width = int(page.imagelength), int(page.imagewidth)
            crs = next((f"{k} {_plain(tags[k])}" for k in CRS_KEYS if tags.get(k)), None)
            box = _box(tags, height, width)
    except Exception:  # decoders raise anything on broken files; those are the scan's to report
        return None
    if crs is None or box is None or not np.isfinite(box).all():
        return None
    return Footprint(crs, *box)


def _plain(value: Any) -> str:
    return str(getattr(value, "value", value))


def _box(tags: dict[str, Any], height: int, width: int) -> tuple[float, ...] | None:
    """(left, bottom, right, top, pixel) from a scale and a tie point, or from a matrix."""
    corners = np.array([(0, 0), (width, 0), (0, height), (width, height)], float)
    if "ModelPixelScale" in tags and "ModelTiepoint" in tags:
        sx, sy = tags["ModelPixelScale"][:2]
        i, j, _, x, y = tags["ModelTiepoint"][:5]
        at = np.stack([x + (corners[:, 0] - i) * sx, y - (corners[:, 1] - j) * sy], axis=1)
    elif "ModelTransformation" in tags:
        m = np.asarray(tags["ModelTransformation"], float).reshape(4, 4)
        at = corners @ m[:2, :2].T + m[:2, 3]
        sx = float(np.hypot(m[0, 0], m[1, 0]))
    else:
        return None
    (left, bottom), (right, top) = at.min(axis=0), at.max(axis=0)
    return left, bottom, right, top, abs(float(sx))


def guess_by_place(
    footprints: Sequence[Footprint | None],
    n_splits: int,
    links: Sequence[tuple[int, int]] = (),
) -> Guess | None:
    """Group images by where they lie.

    Footprints that overlap or touch form a group. Where the largest holds more than one fold's share, its
    images are put into blocks, so many that every fold gets four or more. Where images of two blocks would
    share ground, the blocks are fewer and larger, so that fewer images lie at their edges: those share
    ground with another block, and are for the folds to leave out.

    Args:
        links: pairs of images that share a group whatever the map says.

    Returns:
        None where fewer than half of the images have a place.
    """
    known = [i for i, print_ in enumerate(footprints) if print_ is not None]
    if len(known) < 2 or 2 * len(known) < len(footprints):
        return None
    ground = Ground.of(footprints).part(known)
    root = _touching(ground.box, ground.systems)
    counts = np.bincount(root, minlength=len(known))
    lumps = np.flatnonzero(counts > len(footprints) / n_splits).tolist()
    what = "blocks of the map" if lumps else "footprints that overlap or touch"
    names = [f"place {known[r]}" for r in root.tolist()]
    everyone = range(len(known))
    overlapping = bool(lumps) and bool((ground.shared(everyone, everyone)[0] > 0).any())
    groups: list[str] = []
    for per_fold in BLOCKS if overlapping else BLOCKS[:1]:
        named = _cut(names, root, lumps, ground, per_fold * n_splits, overlapping)
        tried = [""] * len(footprints)
        for i, name in zip(known, named, strict=True):
            tried[i] = name
        if groups and _n_units(tried, links) < n_splits:
            break
        groups = tried
        if overlapping and _purged(named, ground, n_splits) <= MOST_PURGED:
            break
    n_groups = len(set(groups) - {""})
    if n_groups < n_splits:
        why = f"{n_groups} places cannot fill {n_splits} folds"
        return Guess("map", what, tuple(groups), None, False, why)
    why = "the files say where they lie"
    return Guess("map", what, tuple(groups), None, True, why)


def _cut(
    names: Sequence[str],
    root: np.ndarray,
    lumps: Sequence[int],
    ground: Ground,
    n_blocks: int,
    overlapping: bool,
) -> list[str]:
    """The names with every lump cut into its share of about `n_blocks` blocks."""
    cut = list(names)
    for r in lumps:
        members = np.flatnonzero(root == r)
        share = -(-n_blocks * len(members) // len(names))
        blocks = (_halves if overlapping else _cells)(ground.box[members], share)
        for i, block in zip(members.tolist(), blocks, strict=True):
            cut[i] = f"{names[i]} block {block}"
    return cut


def _n_units(groups: Sequence[str], links: Sequence[tuple[int, int]]) -> int:
    """Groups that are left once links have joined some, images without one counted."""
    unions = Unions(len(groups))
    unions.join_equal(groups)
    for i, j in links:
        unions.join(i, j)
    return len(np.unique(unions.labels()))


def _purged(names: Sequence[str], ground: Ground, n_splits: int) -> float:
    """About the share of a fold's training images that share ground with those of its own blocks."""
    block = np.unique(np.array(names), return_inverse=True)[1]
    outside = 0
    for b in range(int(block.max()) + 1):
        others, own = np.flatnonzero(block != b).tolist(), np.flatnonzero(block == b).tolist()
        outside += int((ground.shared(others, own)[0] > 0).sum())
    return outside / n_splits / (len(names) * (1 - 1 / max(2, n_splits)))


def _touching(box: np.ndarray, systems: np.ndarray) -> np.ndarray:
    """(n,) the smallest member of each connected set of boxes; a gap of one pixel still touches."""
    unions = Unions(len(box))
    order = np.argsort(box[:, 0], kind="stable")  # neighbours in one block
    reach = 2 * box[:, 4].max()
    for start in range(0, len(box), ROWS):
        rows = order[start : start + ROWS]
        low, high = box[rows, :2].min(axis=0) - reach, box[rows, 2:4].max(axis=0) + reach
        others = np.flatnonzero(((box[:, :2] <= high) & (box[:, 2:4] >= low)).all(axis=1))
        left, bottom, right, top, pixel = box[others].T
        own = box[rows][:, :, None]
        gap = np.maximum(own[:, 4], pixel)
        near = (own[:, 0] <= right + gap) & (left <= own[:, 2] + gap)
        near &= (own[:, 1] <= top + gap) & (bottom <= own[:, 3] + gap)
        near &= systems[rows][:, None] == systems[others]
        near &= rows[:, None] < others
        for i, j in np.argwhere(near).tolist():
            unions.join(int(rows[i]), int(others[j]))
    return unions.labels()


def _cells(box: np.ndarray, n_cells: int) -> list[str]:
    """The square block of each box's centre; at least `n_cells` of them hold one, if they can."""
    centre = np.stack([(box[:, 0] + box[:, 2]) / 2, (box[:, 1] + box[:, 3]) / 2], axis=1)
    low = centre.min(axis=0)
    extent = centre.max(axis=0) - low
    smallest = float(np.median(box[:, 2] - box[:, 0]))
    side = float(np.sqrt(max(extent[0], smallest) * max(extent[1], smallest) / n_cells))
    for _ in range(8):
        at = np.floor((centre - low) / side).astype(int)
        if len(np.unique(at, axis=0)) >= n_cells or side <= smallest:
            break
        side *= 0.8
    return [f"{y}-{x}" for x, y in at.tolist()]


def _halves(box: np.ndarray, n: int) -> list[str]:
    """The block of each box: its images halved again and again, across the longer side, into `n` of a size.

    A cut runs between two rows or columns of boxes, not through one.
    """
    at = np.stack([box[:, 0] + box[:, 2], box[:, 1] + box[:, 3]], axis=1) / 2
    at = np.round((at - at.min(axis=0)) / max(float(np.median(box[:, 4])), 1e-12))
    block = np.zeros(len(box), np.int64)
    waiting = [(np.arange(len(box)), n, 0)]
    while waiting:
        members, parts, first = waiting.pop()
        block[members] = first
        extent = np.ptp(at[members], axis=0)
        if parts < 2 or not extent.any():
            continue
        along = at[members, int(extent.argmax())]
        places, counts = np.unique(along, return_counts=True)
        ends = np.cumsum(counts)[:-1]
        border = int(np.abs(ends - len(members) * (parts // 2) / parts).argmin())
        low = along <= places[border]
        waiting.append((members[low], parts // 2, first))
        waiting.append((members[~low], parts - parts // 2, first + parts // 2))
    return [str(number) for number in block.tolist()]
