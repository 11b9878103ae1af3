"""JSON lines of polygons (HuBMAP vasculature 2023): one image a line, with its objects' outlines.

    {"id": "0006ff2aa7cd", "annotations": [{"type": "glomerulus", "coordinates": [[[x, y], ...]]}]}

Other spellings of the same keys are taken; what is not understood is refused with its line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

IMAGE_KEYS = ("file_name", "filename", "image", "image_id", "id")
LIST_KEYS = ("annotations", "polygons", "objects", "shapes")
CLASS_KEYS = ("type", "label", "class", "category", "name")
POINT_KEYS = ("coordinates", "points", "polygon", "segmentation")
LONGEST_LINE = 64 << 20  # bytes that are looked at to see what a file holds

Rings = tuple[np.ndarray, ...]  # (N, 2) float64 x and y of the corners; inside by the even-odd rule


@dataclass(frozen=True)
class Line:
    """One image: its name, size (0: not said) and objects as (class, rings)."""

    name: str
    height: int
    width: int
    objects: tuple[tuple[str, Rings], ...]


def looks_like_lines(path: Path) -> bool:
    """True for a file of JSON lines whose first is an image with polygons or without any."""
    try:
        with path.open("rb") as file:
            first = file.readline(LONGEST_LINE)
        _line(json.loads(first))
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return False
    return True


def read_lines(path: Path) -> list[Line]:
    """Read every line; blank ones are skipped.

    Raises:
        ValueError: a line that is no JSON or not such an image, naming its number.
        OSError: unreadable.
    """
    found = []
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                found.append(_line(json.loads(text)))
            except KeyError as error:
                raise ValueError(f"line {number}: no {error.args[0]}") from error
            except (ValueError, TypeError, OverflowError, RecursionError) as error:
                raise ValueError(f"line {number}: {str(error)[:200]}") from error
    return found


def _line(value: Any) -> Line:
    if not isinstance(value, dict):
        raise ValueError("expected an object with an image and its polygons")
    listed = _of(value, LIST_KEYS, "list of objects")
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise ValueError("the objects are no list of objects")
    name = _of(value, IMAGE_KEYS, "image")
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise ValueError("the image's name is no text")
    objects = []
    for one in listed:
        said = _of(one, CLASS_KEYS, "class") if any(key in one for key in CLASS_KEYS) else "object"
        if not isinstance(said, str | int):
            raise ValueError("a class that is no text")
        objects += [(str(said), rings) for rings in _polygons(_of(one, POINT_KEYS, "outline"))]
    height, width = (int(value.get(key) or 0) for key in ("height", "width"))
    return Line(str(name), height, width, tuple(objects))


def _of(value: Mapping[str, Any], keys: tuple[str, ...], what: str) -> Any:
    for key in keys:
        if key in value:
            return value[key]
    raise KeyError(
        f"{what}: expected one of the keys {', '.join(keys)}, got {', '.join(value)[:80]}"
    )


def _polygons(said: Any) -> list[Rings]:
    """Corners flat, as pairs, as rings of pairs, or as polygons of rings."""
    depth, inner = 0, said
    while isinstance(inner, list) and inner:
        depth, inner = depth + 1, inner[0]
    if depth == 1:
        return [(_ring(np.array(said, np.float64).reshape(-1, 2)),)]
    if depth == 2:
        return [(_ring(said),)]
    if depth == 3:
        return [tuple(map(_ring, said))]
    if depth == 4:
        return [tuple(map(_ring, rings)) for rings in said]
    raise ValueError("an outline without corners")


def _ring(points: Any) -> np.ndarray:
    ring = np.array(points, np.float64)
    if ring.ndim != 2 or ring.shape[1] != 2 or len(ring) < 3:
        raise ValueError("an outline needs x, y of 3 corners or more")
    return ring
