"""The mark of a tuned config in the report of its run: which folds its values were chosen on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comp.plots.tables import cell, count_of


def selected_on(cv: Mapping[str, Any]) -> str:
    """Say on which folds the config of a run was chosen, and what the others say; "" for an untuned one.

    Args:
        cv: the value of cv.json.
    """
    said = cv.get("tuned")
    if not said:
        return ""
    study = f"study {said['study']}, {count_of(said['trials'], 'trial')}"
    chosen = _list(said["folds"])
    if not said["same_folds"]:
        return (
            f"selected on other folds ({study}): its folds {chosen} were of folds file "
            f"{said['folds_hash']}, these are of {cv['folds_hash']}; every image may have had a part in "
            "the choice, so every score may flatter"
        )
    text = f"selected on these folds: {chosen} ({study}): their scores flatter"
    if said["unused"]:
        n, done = len(said["unused"]), said["unused_done"]
        chosen_again = [fold for fold in said["unused"] if fold in said.get("confirmed", ())]
        where = "in the search" if chosen_again else "for tuning"
        text += f"; not used {where}: fold{'s' * (n > 1)} {_list(said['unused'])}"
        text += "" if done == n else f" ({done} of {n} done)"
        text += f", mean {cell(said['unused_mean'])}" if done else ""
        if chosen_again:
            text += f" (the best of the confirmed trials was chosen on {_list(chosen_again)})"
    else:
        text += "; no fold is free of the choice"
    if said["again"]:
        text += f"; folds {_list(said['again'])} hold the same images again"
    return text


def _list(folds: list[int]) -> str:
    return ", ".join(map(str, folds))
