"""What the tests of large images share: small ones that are large everywhere."""

from __future__ import annotations

import pytest

from comp.data.cache import bands as cache_bands
from comp.data.cache import cache as cache_module
from comp.data.cache import channel_stats as channel_module
from comp.data.cache import label_bands
from comp.data.images import png_rows, tif_rows
from comp.data.sources import label_rows


def make_large(monkeypatch: pytest.MonkeyPatch, limit: int = 41 * 56) -> None:
    """Images of more pixels than that are large everywhere, and bands are a few rows."""
    for module in (tif_rows, png_rows, cache_bands, cache_module, label_bands, channel_module):
        monkeypatch.setattr(module, "LARGE_PIXELS", limit)
    for module in (tif_rows, png_rows, cache_bands):
        monkeypatch.setattr(module, "BAND_BYTES", 2000)
    for module in (label_rows, label_bands):
        monkeypatch.setattr(module, "BAND_PIXELS", 500)
