"""Which scores a report shows beside the competition's own metric."""

from __future__ import annotations

from comp.config import Competition

REPORTED = {
    "binary": (
        "iou_image_mean",
        "dice_image_mean",
        "iou_dataset",
        "iou_with_background",
        "pixel_accuracy",
    ),
    "multiclass": ("iou_dataset_macro", "dice_dataset_macro", "pixel_accuracy"),
    "multilabel": ("iou_dataset_macro", "dice_dataset_macro", "pixel_accuracy"),
}


def reported_metrics(competition: Competition) -> tuple[str, ...]:
    """The competition's metric first, then the usual ones of its task."""
    usual = REPORTED[competition.task]
    return (competition.metric_name, *(m for m in usual if m != competition.metric_name))
