"""Model + images -> probabilities at each image's own size: the ONE way, for validation, OOF and test.

`crop` models see the image at native scale, padded to the encoder's stride and cut back; `resize` models
see it resized, and their probabilities are brought back to the original size. Large images go through
overlapping windows, and come back in bands of rows.
"""

from comp.predict.images import (
    Band,
    OnLogits,
    Place,
    batches_by_size,
    predict_bands,
    to_size,
)
from comp.predict.windows import BLENDS, Grid, make_grid, window_of

__all__ = [
    "BLENDS",
    "Band",
    "Grid",
    "OnLogits",
    "Place",
    "batches_by_size",
    "make_grid",
    "predict_bands",
    "to_size",
    "window_of",
]
