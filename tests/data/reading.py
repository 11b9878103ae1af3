"""What the tests of reading share: a drawn picture, a competition of any rule, saving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from comp.config import Competition, check
from comp.data.sources.labels import to_labels

RNG = np.random.default_rng(1)
RGB = RNG.integers(0, 256, (20, 31, 3), dtype=np.uint8)
GREY = RGB[..., 0].copy()


def competition(task: str = "binary", classes: int = 1, **more: Any) -> Competition:
    keys = ("mask_", "scale", "max_pixels", "channels")
    data = {k: more.pop(k) for k in list(more) if k.startswith(keys)}
    values = {
        "name": "t",
        "task": task,
        "classes": [f"c{k}" for k in range(classes)],
        "data": {"root": ".", "train": [{"images": "{id}.png", "masks": "m/{id}.png"}], **data},
        **more,
    }
    return check(Competition, values, "test")


def save(path: Path, pixels: np.ndarray, **kwargs: Any) -> Path:
    Image.fromarray(pixels).save(path, **kwargs)
    return path


def data_of(**more: Any) -> Any:
    return competition(**more).data


def labels_of(values: np.ndarray, **kwargs: Any) -> np.ndarray:
    return to_labels(np.asarray(values), competition(**kwargs), Path("m.png"))
