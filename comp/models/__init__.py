"""Networks, losses, optimizers, schedules and test-time augmentation: torch begins here.

The public names are loaded when first asked for; importing the package alone imports neither torch nor smp.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from comp.models.build import ARCHITECTURES, build_model
    from comp.models.check import check_model
    from comp.models.losses import LOSSES, Target, WeightedLoss, build_loss, make_target
    from comp.models.optim import build_optimizer
    from comp.models.schedule import SCHEDULES, Schedule, build_schedule
    from comp.models.segmenter import Segmenter, n_parameters
    from comp.models.tta import TTA, predict_views

WHERE = {
    "ARCHITECTURES": "build",
    "LOSSES": "losses",
    "SCHEDULES": "schedule",
    "TTA": "tta",
    "Schedule": "schedule",
    "Segmenter": "segmenter",
    "Target": "losses",
    "WeightedLoss": "losses",
    "build_loss": "losses",
    "build_model": "build",
    "build_optimizer": "optim",
    "build_schedule": "schedule",
    "check_model": "check",
    "make_target": "losses",
    "n_parameters": "segmenter",
    "predict_views": "tta",
}
__all__ = [
    "ARCHITECTURES", "LOSSES", "SCHEDULES", "TTA", "Schedule", "Segmenter", "Target", "WeightedLoss",
    "build_loss", "build_model", "build_optimizer", "build_schedule", "check_model", "make_target",
    "n_parameters", "predict_views",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"comp.models.{WHERE[name]}"), name)
