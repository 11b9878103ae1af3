"""The sample competition: aerial tiles with roofs, drawn on first use, and the floor a model must beat."""

from comp.demo.baseline import threshold_baseline
from comp.demo.drawing import draw_demo, ensure_demo, key_path

__all__ = ["draw_demo", "ensure_demo", "key_path", "threshold_baseline"]
