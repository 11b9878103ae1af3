"""Groups from the map: GeoTIFF footprints that overlap or touch, or square blocks of a large mosaic.

The tags are read from the header by tifffile; no other library is needed. Coordinates are those of the
file's reference system; images of different systems never share a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from comp.data.leaks.guesses import Guess
from comp.data.leaks.unions import Unions

CRS_KEYS = (
    "ProjectedCSTypeGeoKey",
    "GeographicTypeGeoKey",
    "PCSCitationGeoKey",
    "GTCitationGeoKey",
)
ROWS = 1024  # footprints compared with all others at once


@dataclass(frozen=True)
class Footprint:
    """Where an image lies: its reference system and box, in the system's units."""

    crs: str
    left: float
    bottom: float
    right: float
    top: float
    pixel: float


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


def guess_by_place(footprints: Sequence[Footprint | None], n_splits: int) -> Guess | None:
    """Group images by where they lie.

    Footprints that overlap or touch form a group. Where the largest holds more than one fold's share,
    its images are put into square blocks, so many that every fold gets four or more.

    Returns:
        None where fewer than half of the images have a place.
    """
    known = [i for i, print_ in enumerate(footprints) if print_ is not None]
    if len(known) < 2 or 2 * len(known) < len(footprints):
        return None
    prints = [p for p in footprints if p is not None]
    box = np.array([(p.left, p.bottom, p.right, p.top, p.pixel) for p in prints])
    systems = np.unique([p.crs for p in prints], return_inverse=True)[1]
    root = _touching(box, systems)
    counts = np.bincount(root, minlength=len(known))
    what = "footprints that overlap or touch"
    names = [f"place {known[r]}" for r in root.tolist()]
    if counts.max() > len(footprints) / n_splits:
        what = "square blocks of the map"
        for r in np.flatnonzero(counts > len(footprints) / n_splits).tolist():
            members = np.flatnonzero(root == r)
            share = -(-4 * n_splits * len(members) // len(known))
            for i, cell in zip(members.tolist(), _cells(box[members], share), strict=True):
                names[i] = f"place {known[r]} block {cell}"
    groups = [""] * len(footprints)
    for i, name in zip(known, names, strict=True):
        groups[i] = name
    n_groups = len(set(names))
    if n_groups < n_splits:
        why = f"{n_groups} places cannot fill {n_splits} folds"
        return Guess("map", what, tuple(groups), None, False, why)
    why = "the files say where they lie"
    return Guess("map", what, tuple(groups), None, True, why)


def _touching(box: np.ndarray, systems: np.ndarray) -> np.ndarray:
    """(n,) the smallest member of each connected set of boxes; a gap of one pixel still touches."""
    unions = Unions(len(box))
    left, bottom, right, top, pixel = box.T
    for start in range(0, len(box), ROWS):
        rows = slice(start, start + ROWS)
        gap = np.maximum(pixel[rows, None], pixel[None, :])
        near = (left[rows, None] <= right + gap) & (left <= right[rows, None] + gap)
        near &= (bottom[rows, None] <= top + gap) & (bottom <= top[rows, None] + gap)
        near &= systems[rows, None] == systems[None, :]
        for i, j in np.argwhere(near).tolist():
            if start + i < j:
                unions.join(start + i, j)
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
