"""What a prediction of a run costs: seconds an image, as measured when its folds were predicted."""

from __future__ import annotations

from typing import Any

from comp.store.probs import read_csv
from comp.store.runs import Run

SECONDS = "seconds_views"  # key of result.json: views -> seconds an image


def seconds_an_image(run: Run, views: str) -> float | None:
    """Seconds of one fold's model for one image in one set of views, mean over the folds.

    Folds made before views were timed one by one tell only the time of all: it is the price where one set
    was stored.

    Returns:
        None where it is not known: several sets in one time, or probabilities that came from elsewhere.
    """
    found = [_of_fold(run, fold, result, views) for fold, result in run.folds.items()]
    known = [price for price in found if price is not None]
    return round(sum(known) / len(known), 6) if known and len(known) == len(found) else None


def _of_fold(run: Run, fold: int, result: dict[str, Any], views: str) -> float | None:
    measured = (result.get(SECONDS) or {}).get(views)
    if measured is not None:
        return float(measured)
    whole = result.get("seconds_predict")
    if whole is None or list(result["views"]) != [views]:
        return None
    indices = [f"{kind}.{views}.csv" for kind in ("oof", "test", "heldout")]
    folder = run.dir / f"fold{fold}"
    n_images = sum(len(read_csv(folder / name)) for name in indices if name in result["files"])
    return float(whole) / n_images if n_images else None
